from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from environment import clean_env
from hub_stub import HubStub
from ipfs_data import hash_folder
from pin_rooms import FILES, REPO, MemorySource, fill_cache, make_resolver, pinned, tree, write_folder
from pinformers._errors import BlockNotFound, PinError
from pinformers.ipfs.cid import CID
from pinformers.ipfs.dag import read_file
from pinformers.pinning import catalog as catalog_module
from pinformers.pinning.adoption import Adoption, Facts, Watch, kept_blocks
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.pin import Pin
from pinformers.pinning.resolver import Resolver


def adopt(resolver: Resolver, commit: str, facts: Facts | None = None, watch: Watch | None = None) -> Pin:
    cache = RepoCache(resolver.default_cache, REPO)
    resolver.catalog.set_ref(REPO, "main", commit)
    return Adoption(resolver.catalog, cache, Pin(REPO, commit)).run(facts or Facts(), watch or Watch())


def test_a_downloaded_model_is_pinned_without_a_request_or_a_copied_byte(hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    before = tree(tmp_path / "hub")
    resolver = make_resolver(tmp_path)
    pin = adopt(resolver, commit)
    assert tree(tmp_path / "hub") == before
    assert hub.requests == []
    assert set(pin.files) == set(FILES)
    assert pin.root == str(hash_folder(write_folder(tmp_path / "plain")).cid)
    pinned = resolver.find(REPO, None)
    assert pinned is not None
    assert pinned.deliver(list(FILES))
    assert resolver.ledger.counts["hits"] == len(FILES)


LAYOUTS = {
    "links": "",
    "plain files": "import huggingface_hub.constants as c; c.HF_HUB_DISABLE_SYMLINKS = True\n"
    "import huggingface_hub.file_download as f; f.are_symlinks_supported = lambda *a, **k: False",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_adopted_in_place(hub: HubStub, tmp_path: Path, layout: str) -> None:
    commit = hub.add(REPO, dict(FILES))
    code = f"{LAYOUTS[layout]}\nfrom huggingface_hub import snapshot_download\nsnapshot_download({REPO!r})"
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url, HF_HUB_CACHE=str(tmp_path / "hub"))
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True, capture_output=True)
    hub.reset()
    before = tree(tmp_path / "hub")
    links = any(kind == "link" for kind, _ in before.values())
    assert links == (layout == "links")
    resolver = make_resolver(tmp_path)
    pin = adopt(resolver, commit)
    assert set(pin.files) == set(FILES)
    assert tree(tmp_path / "hub") == before
    assert hub.requests == []


def test_the_cache_wide_blob_store_is_adopted_in_place(hub: HubStub, tmp_path: Path) -> None:
    shared = pytest.importorskip("huggingface_hub.utils._shared_blobs", reason="huggingface_hub before 2.4")
    commit = fill_cache(hub, tmp_path / "hub")
    cache = RepoCache(str(tmp_path / "hub"), REPO)
    etag = cache.etag(commit, "model.safetensors")
    assert etag is not None
    size = len(FILES["model.safetensors"])
    assert shared.publish_blob_to_shared_store(
        blob_path=str(cache.blob(etag)), xet_hash="ab" * 32, cache_dir=cache.cache_dir, expected_size=size
    )
    assert cache.blob(etag).is_symlink()
    before = tree(tmp_path / "hub")
    resolver = make_resolver(tmp_path)
    pin = adopt(resolver, commit)
    assert pin.files["model.safetensors"].hub["lfs_sha256"] == etag
    assert tree(tmp_path / "hub") == before
    pinned = resolver.find(REPO, None)
    assert pinned is not None
    assert pinned.deliver(["model.safetensors"])


def test_what_the_hub_says_of_a_file_goes_into_the_pin(hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    pin = adopt(make_resolver(tmp_path), commit)
    assert pin.files["model.safetensors"].hub["lfs_sha256"] == pin.files["model.safetensors"].sha256
    assert len(pin.files["config.json"].hub["blob_id"]) == 40
    assert pin.files["config.json"].etag == RepoCache(str(tmp_path / "hub"), REPO).etag(commit, "config.json")


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"])
def test_bytes_that_are_not_what_the_hub_said_are_not_pinned(
    hub: HubStub, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    target = RepoCache(str(tmp_path / "hub"), REPO).file(commit, path).resolve()
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    watch = Watch()
    pin = adopt(make_resolver(tmp_path), commit, watch=watch)
    assert path not in pin.files
    assert list(watch.rejected) == [path]
    assert "the hub says" in watch.rejected[path]
    assert path in caplog.text
    assert set(pin.files) == set(FILES) - {path}


def test_a_size_that_the_listing_contradicts_is_not_pinned(hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    (RepoCache(str(tmp_path / "hub"), REPO).folder / "trees" / f"{commit}.json").unlink(missing_ok=True)
    facts = Facts(listing={"config.json": {"size": 3, "blob_id": "x"}, "sub/vocab.txt": {}})
    watch = Watch()
    pin = adopt(make_resolver(tmp_path), commit, facts, watch)
    assert "config.json" in watch.rejected
    assert pin.listed


def test_hashing_happens_once(hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    resolver = make_resolver(tmp_path)
    read: list[int] = []
    adopt(resolver, commit, watch=Watch(progress=read.append))
    assert sum(read) == sum(map(len, FILES.values()))
    read.clear()
    adopt(make_resolver(tmp_path), commit, watch=Watch(progress=read.append))
    assert read == []


def test_a_stop_loses_one_file_at_most(hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    resolver = make_resolver(tmp_path)
    done: list[int] = []
    watch = Watch(progress=done.append, stop=lambda: len(done) > 1)
    with pytest.raises(InterruptedError):
        adopt(resolver, commit, watch=watch)
    kept = resolver.catalog.pin(REPO, commit)
    assert kept is not None
    assert kept.files
    assert set(adopt(resolver, commit).files) == set(FILES)


def test_the_store_serves_every_block_of_the_pin(hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    resolver = make_resolver(tmp_path)
    pin = adopt(resolver, commit)
    (store,) = resolver.sources
    for path, content in FILES.items():
        assert b"".join(read_file(CID.parse(pin.files[path].cid), store.block)) == content
    for block in pin.directory().nodes:
        assert store.block(block.cid) == block.data
    with pytest.raises(BlockNotFound):
        store.block(CID.raw(b"\0" * 32))


def test_a_changed_file_is_not_served_as_a_block(hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    resolver = make_resolver(tmp_path)
    pin = adopt(resolver, commit)
    cid = CID.parse(pin.files["config.json"].cid)
    (store,) = resolver.sources
    target = RepoCache(str(tmp_path / "hub"), REPO).file(commit, "config.json").resolve()
    stat = target.stat()
    assert store.block(cid) == FILES["config.json"]
    # Same size, same time, same inode: only the bytes tell.
    with open(target, "r+b") as out:
        out.write(b"X")
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(BlockNotFound):
        store.block(cid)


def test_damaged_inner_blocks_are_passed_over(hub: HubStub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    commit = fill_cache(hub, tmp_path / "hub")
    resolver = make_resolver(tmp_path)
    pin = adopt(resolver, commit)
    path = resolver.catalog.dag_path(pin.files["model.safetensors"].cid)
    assert kept_blocks(path)
    path.write_bytes(path.read_bytes()[:-5])
    assert kept_blocks(path) == ()
    assert "passed over" in caplog.text


# -- what one call brings -------------------------------------------------------------------------------------

MANY = {f"row-{number}.json": b"%d" % number for number in range(100)}


@pytest.fixture
def many(tmp_path: Path) -> Pin:
    resolver = make_resolver(tmp_path)
    return resolver.catalog.add(Pin(REPO, "d" * 40, {path: pinned(row) for path, row in MANY.items()}, listed=True))


def rows(pin: Pin, files: Mapping[str, bytes] = MANY) -> MemorySource:
    return MemorySource({CID.parse(pin.files[path].cid): row for path, row in files.items()})


def test_many_small_files_are_recorded_together(many: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    plain = catalog_module.write_json
    monkeypatch.setattr(
        catalog_module, "write_json", lambda path, value: (written.append(path.name), plain(path, value))[1]
    )
    resolver = make_resolver(tmp_path)
    assert resolver.bind(many, "main", [rows(many)]).deliver(list(MANY))
    place = resolver.catalog.place(many, resolver.default_cache)
    assert place.files.keys() == MANY.keys()
    assert {name for name in place.made if name.startswith("snap")} == {f"snapshots/{'d' * 40}/{row}" for row in MANY}
    # One for the first file, the others are lines.
    assert len(written) < 5


def test_what_a_call_brought_before_it_failed_is_recorded(many: Pin, tmp_path: Path) -> None:
    resolver, first = make_resolver(tmp_path, on_miss="error"), list(MANY)[:30]
    source = rows(many, {path: MANY[path] for path in first})
    with pytest.raises(PinError, match="cannot be served"):
        resolver.bind(many, "main", [source]).deliver(list(MANY))
    assert resolver.catalog.place(many, resolver.default_cache).files.keys() == set(first)


def test_another_process_takes_a_file_that_waits_to_be_recorded(many: Pin, tmp_path: Path) -> None:
    served: list[bool] = []

    class Watched(MemorySource):
        def block(self, cid: CID) -> bytes:
            if not served and (found.file(many.commit, "row-0.json")).exists():
                served.append(others.bind(many, "main", []).deliver(["row-0.json"]))
            return super().block(cid)

    resolver, others = make_resolver(tmp_path), make_resolver(tmp_path)
    found = RepoCache(resolver.default_cache, REPO)
    assert resolver.bind(many, "main", [Watched(rows(many).blocks)]).deliver(list(MANY))
    assert set(served) == {True}
    place = resolver.catalog.place(many, resolver.default_cache)
    assert place.files.keys() == MANY.keys()
    assert f"snapshots/{many.commit}/row-0.json" in place.made
