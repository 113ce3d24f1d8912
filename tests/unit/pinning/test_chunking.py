"""Files cut at their tensors, in every room that hashes them again, cuts them anew or hands them on."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

from hub_stub import HubStub
from ipfs_data import MemoryStore
from pin_rooms import REPO, MemorySource, fill_cache, make_resolver, write_folder
from pinformers._composition import embedded
from pinformers._errors import PinError
from pinformers.ipfs import CID, V0_2015, Profile, hash_file, leaves, read_file, write_car
from pinformers.ipfs.dagpb import parse_node
from pinformers.pinning import adoption
from pinformers.pinning.adoption import Adoption, Facts, Watch, kept_dag
from pinformers.pinning.archive import export_model
from pinformers.pinning.cache import PART, RepoCache
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.checking import check, repair
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.lookup import Found, Lookup
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.recorder import Job, Recorder
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.unpacking import Parcel, import_model
from tensor_files import layers, safetensors_file

WEIGHTS = "model.safetensors"
FILES = {"config.json": b"{}", WEIGHTS: safetensors_file(layers(3)), "other.bin": bytes(3 << 20)}


def cid_of(chunking: str, folder: Path) -> str:
    return str(hash_file(write_folder(folder, FILES) / WEIGHTS, chunking=chunking).cid)  # type: ignore[arg-type]


@pytest.fixture
def cids(tmp_path: Path) -> dict[str, str]:
    """The CID of the weights in each cut."""
    return {chunking: cid_of(chunking, tmp_path / "cids") for chunking in ("fixed", "tensors")}


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    return make_resolver(tmp_path, chunking="tensors")


@pytest.fixture
def pinned(resolver: Resolver, tmp_path: Path) -> PinnedRepo:
    return pin_folder(resolver, write_folder(tmp_path / "folder", FILES), REPO)


def weights(pinned: PinnedRepo) -> Path:
    return pinned.cache.file(pinned.commit, WEIGHTS)


def touch(pinned: PinnedRepo) -> None:
    for path in FILES:
        os.utime(pinned.cache.file(pinned.commit, path), ns=(1, 1))


def spoil(pinned: PinnedRepo) -> None:
    target = weights(pinned).resolve()
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.write_bytes(content)


def findings(resolver: Resolver, pin: Pin) -> dict[str, str]:
    return {finding.path: finding.state for finding in check(resolver.catalog, pin)}


def served(resolver: Resolver, cid: str) -> bytes:
    """The file as another machine gets it out of the embedded store."""
    return b"".join(read_file(CID.parse(cid), embedded(resolver.catalog).block))


GOOD = dict.fromkeys(FILES, "good")


def test_the_default_is_what_ipfs_add_gives(tmp_path: Path, cids: dict[str, str]) -> None:
    pin = pin_folder(make_resolver(tmp_path), write_folder(tmp_path / "folder", FILES), REPO).pin
    assert pin.files[WEIGHTS].cid == cids["fixed"] != cids["tensors"]


def test_only_safetensors_files_are_cut_otherwise(pinned: PinnedRepo, tmp_path: Path, cids: dict[str, str]) -> None:
    other = hash_file(tmp_path / "folder" / "other.bin")
    assert pinned.pin.files["other.bin"].cid == str(other.cid)
    assert pinned.pin.files[WEIGHTS].cid == cids["tensors"]


def test_all_blocks_are_served_out_of_the_file(resolver: Resolver, pinned: PinnedRepo) -> None:
    assert served(resolver, pinned.pin.files[WEIGHTS].cid) == FILES[WEIGHTS]


@pytest.mark.parametrize("chunking", ["fixed", "tensors"])
@pytest.mark.parametrize("now", ["fixed", "tensors"])
def test_a_pin_keeps_its_cut_whatever_the_setting_says_now(tmp_path: Path, chunking: str, now: str) -> None:
    pinned = pin_folder(make_resolver(tmp_path, chunking=chunking), write_folder(tmp_path / "folder", FILES), REPO)
    other = make_resolver(tmp_path, chunking=now)
    touch(pinned)
    assert findings(other, pinned.pin) == GOOD
    touch(pinned)
    found = other.find(REPO, None)
    assert found is not None and found.deliver(list(FILES)) and found.pin == pinned.pin
    assert served(other, pinned.pin.files[WEIGHTS].cid) == FILES[WEIGHTS]


def test_a_file_that_looks_new_is_hashed_once(pinned: PinnedRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    plain = adoption.hash_file
    monkeypatch.setattr(adoption, "hash_file", lambda path, **how: hashed.append(path) or plain(path, **how))
    touch(pinned)
    assert pinned.deliver(list(FILES))
    assert len(hashed) == len(set(hashed)) == len(FILES)


def test_blocks_that_were_lost_are_made_again(resolver: Resolver, pinned: PinnedRepo) -> None:
    path = resolver.catalog.dag_path(pinned.pin.files[WEIGHTS].cid)
    kept = path.read_bytes()
    path.unlink()
    assert findings(resolver, pinned.pin) == GOOD
    assert path.read_bytes() == kept


def test_spoiled_bytes_are_found_and_repaired(resolver: Resolver, pinned: PinnedRepo, tmp_path: Path) -> None:
    spoil(pinned)
    assert not pinned.deliver([WEIGHTS])
    (bad,) = (finding for finding in check(resolver.catalog, pinned.pin) if finding.state != "good")
    assert (bad.path, bad.state) == (WEIGHTS, "bad")
    elsewhere = make_resolver(tmp_path / "elsewhere", chunking="tensors")
    pin_folder(elsewhere, tmp_path / "folder", REPO)
    assert repair(resolver, bad, [embedded(elsewhere.catalog)]) == "embedded"
    assert weights(pinned).read_bytes() == FILES[WEIGHTS]


@pytest.mark.parametrize("dags", ["kept", "lost"])
def test_what_the_hub_sent_is_recognised(
    dags: str, pinned: PinnedRepo, resolver: Resolver, hub: HubStub, tmp_path: Path
) -> None:
    """Others named the CID, as a lockfile does, and the bytes came by another way: nothing says here how it is cut."""
    commit = fill_cache(hub, tmp_path / "hub", FILES)
    said = pinned.pin._replace(commit=commit, origin="hub", learned="pinformers.lock")
    resolver.catalog.add(said)
    if dags == "lost":
        shutil.rmtree(resolver.catalog.state_dir / "dags")
    confirm = Adoption(resolver.catalog, RepoCache(str(tmp_path / "hub"), REPO), Pin(REPO, commit)).confirm
    assert {path: confirm(path) is not None for path in FILES} == dict.fromkeys(FILES, True)
    assert kept_dag(resolver.catalog, said.files[WEIGHTS])[0]


@pytest.mark.parametrize("came", ["block by block", "by another way"])
def test_without_its_blocks_a_file_cut_by_others_is_known_by_the_sha256_that_was_computed_here(
    came: str, tmp_path: Path
) -> None:
    store = MemoryStore()
    dag = store.add_file(FILES["other.bin"], Profile(chunk=1 << 18, width=174))
    pin = Pin(REPO, "c" * 40, {"other.bin": PinnedFile(dag.size, str(dag.cid), 0, "")}, listed=True)
    resolver = make_resolver(tmp_path)
    leaves_of = (link.cid for link in parse_node(dag.cid, store(dag.cid)).links)
    blocks = {cid: store(cid) for cid in (dag.cid, *leaves_of)}
    held = resolver.bind(resolver.catalog.add(pin), "main", [MemorySource(blocks)])
    target = held.cache.file(pin.commit, "other.bin")
    if came == "block by block":
        assert held.deliver(["other.bin"])
        shutil.rmtree(resolver.catalog.state_dir / "dags")
    else:
        # Its sha256 is others' word alone.
        said = pin.files["other.bin"]._replace(sha256=dag.sha256)
        resolver.catalog.add(pin.of_files({"other.bin": said}))
        target.parent.mkdir(parents=True)
        target.write_bytes(FILES["other.bin"])
    os.utime(target.resolve(), (1, 1))
    again = make_resolver(tmp_path)
    known = again.catalog.pin(REPO, pin.commit)
    assert known is not None and known.files["other.bin"].sha256 == dag.sha256
    assert again.bind(known, "main", []).deliver(["other.bin"]) == (came == "block by block")


def test_a_lie_about_the_size_of_its_blocks_misleads_nobody(
    pinned: PinnedRepo, resolver: Resolver, hub: HubStub
) -> None:
    cache = pinned.cache
    commit = fill_cache(hub, Path(cache.cache_dir), FILES)
    said = pinned.pin.files[WEIGHTS]._replace(dag_size=0)
    shutil.rmtree(resolver.catalog.state_dir / "dags")
    resolver.catalog.add(Pin(REPO, commit, {WEIGHTS: said}))
    assert Adoption(resolver.catalog, cache, Pin(REPO, commit)).confirm(WEIGHTS) is not None
    assert kept_dag(resolver.catalog, said)[0]


def test_recording_beside_a_load_cuts_as_the_setting_says(hub: HubStub, tmp_path: Path, cids: dict[str, str]) -> None:
    commit = fill_cache(hub, tmp_path / "hub", FILES)
    catalog = Catalog(tmp_path / "pinformers")
    recorder = Recorder(catalog, chunking="tensors")
    try:
        recorder.add(Job(REPO, "model", commit, str(tmp_path / "hub"), {}, Facts()))
        assert recorder.flush(30)
    finally:
        recorder.close()
    pin = catalog.pin(REPO, commit)
    assert pin is not None and pin.files[WEIGHTS].cid == cids["tensors"]
    again = Adoption(catalog, RepoCache(str(tmp_path / "hub"), REPO), Pin(REPO, commit)).run(Facts(), Watch())
    assert again.files[WEIGHTS].cid == cids["tensors"]


def test_the_resolver_s_recorder_has_the_setting(resolver: Resolver, hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "hub", FILES)
    path = tmp_path / "hub" / "models--org--model" / "snapshots" / commit / WEIGHTS
    resolver.seen(REPO, None, [str(path)], repo_type="model")
    try:
        assert resolver.recorder.flush(30)
    finally:
        resolver.recorder.close()
    pin = resolver.catalog.pin(REPO, commit)
    assert pin is not None and pin.files[WEIGHTS].cid == str(hash_file(path, chunking="tensors").cid)


def test_it_travels_in_a_car_of_ours(resolver: Resolver, pinned: PinnedRepo, tmp_path: Path) -> None:
    out = io.BytesIO()
    export_model(resolver.catalog, pinned, out)
    out.seek(0)
    there = make_resolver(tmp_path / "there")
    done = import_model(there, Parcel("model.car", out))
    assert done.pinned.pin.root == pinned.pin.root
    assert findings(there, done.pinned.pin) == GOOD


@pytest.mark.parametrize("profile", [V0_2015, Profile(chunk=100_000, width=5)])
def test_a_car_of_others_is_cut_as_a_folder_of_ours(
    profile: Profile, resolver: Resolver, pinned: PinnedRepo, tmp_path: Path
) -> None:
    store, out = MemoryStore(), io.BytesIO()
    folder = store.add_folder(FILES, profile)
    write_car(out, [folder.cid], [*folder.nodes, *store.everything()])
    out.seek(0)
    there = make_resolver(tmp_path / "there", chunking="tensors")
    done = import_model(there, Parcel("folder.car", out, REPO))
    assert done.pinned.pin.root == pinned.pin.root
    assert served(there, pinned.pin.files[WEIGHTS].cid) == FILES[WEIGHTS]


def test_a_fetch_that_was_cut_short_goes_on_from_its_leaves(
    pinned: PinnedRepo, tmp_path: Path, resolver: Resolver
) -> None:
    source = embedded(resolver.catalog)
    root = CID.parse(pinned.pin.files[WEIGHTS].cid)
    found = list(leaves(root, source.block))
    half = MemorySource({root: source.block(root)} | {leaf.cid: source.block(leaf.cid) for leaf in found[:4]})
    there = make_resolver(tmp_path / "there", sources=("embedded",))
    first = there.bind(pinned.pin, "main", [half])
    with pytest.raises(PinError):
        first.put(WEIGHTS)
    (part,) = Path(first.cache.folder).glob(f"**/*{PART}")
    assert found[3].offset <= part.stat().st_size <= found[4].offset
    whole = MemorySource({leaf.cid: source.block(leaf.cid) for leaf in found[3:]})
    there.bind(pinned.pin, "main", [whole]).put(WEIGHTS)
    assert first.cache.file(pinned.commit, WEIGHTS).read_bytes() == FILES[WEIGHTS]


class _Shelf:
    def __init__(self, pin: Pin) -> None:
        self._pin, self.label = pin, "elsewhere"

    def find(self, repo: str, revision: str) -> Found | Pin | None:
        return Found(self._pin, self.label, "it says so", 0)


def test_a_catalog_that_cuts_in_another_way_names_the_same_bytes(tmp_path: Path, cids: dict[str, str]) -> None:
    catalog = Catalog(tmp_path / "pinformers")
    size = len(FILES[WEIGHTS])
    dag = hash_file(tmp_path / "cids" / WEIGHTS)
    ours = adoption.PinnedFile(size, cids["fixed"], dag.dag_size, dag.sha256)
    theirs = ours._replace(cid=cids["tensors"])
    catalog.add(Pin(REPO, "c" * 40, {WEIGHTS: ours}))
    lookup = Lookup(catalog, shelves=lambda: [_Shelf(Pin(REPO, "c" * 40, {WEIGHTS: theirs}))])  # type: ignore[list-item]
    found = lookup.shared(REPO, "main")
    assert found is not None and found.files == {WEIGHTS: ours} and not lookup.failures
