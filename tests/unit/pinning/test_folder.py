"""Pinning a folder that ends badly: killed, on a full disk, beside a clock that was set back."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, fill_cache, make_resolver, write_folder
from pinformers._errors import PinError
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.checking import check
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.removal import Eviction, remove_pin
from pinformers.pinning.resolver import Resolver

FULL = OSError(28, "No space left on device")


@pytest.fixture(params=["links", "plain files"])
def resolver(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    links = request.param == "links"
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: links)
    return make_resolver(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "folder")


def left(tmp_path: Path) -> list[str]:
    """Every file of the hub cache and of the records, but for locks."""
    found = (path for top in ("hub", "pinformers") for path in (tmp_path / top).rglob("*"))
    return [str(path) for path in found if path.is_symlink() or (path.is_file() and path.suffix != ".lock")]


def fail(*_: object, **__: object) -> None:
    raise OSError(*FULL.args)


def killed_at(count: int, original: Callable[..., object]) -> Callable[..., object]:
    """Let a process die, as of SIGKILL, when ``original`` has done its work for the ``count``-th time."""
    calls = iter(range(1, count))

    def dying(*args: object, **keywords: object) -> object:
        done = original(*args, **keywords)
        return done if next(calls, None) is not None else os._exit(9)

    return dying


def pin_in_a_child(resolver: Resolver, folder: Path) -> int:
    child = os.fork()
    if child == 0:
        try:
            pin_folder(resolver, folder, REPO)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


DEATHS = [
    (Catalog, "add", 1),
    (RepoCache, "add_file", 1),
    (RepoCache, "add_file", len(FILES)),
    (RepoCache, "add_ref", 1),
    (RepoCache, "add_tree", 1),
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(("owner", "name", "count"), DEATHS)
@pytest.mark.parametrize("looked_at", [True, False])
def test_what_a_killed_process_left_is_named_and_goes(
    resolver: Resolver,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    count: int,
    looked_at: bool,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed_at(count, getattr(owner, name)))
        assert pin_in_a_child(resolver, folder) == 9
    (pin,) = resolver.catalog.pins()
    if looked_at:
        found = list(check(resolver.catalog, pin, default_cache=resolver.default_cache))
        bad = [finding for finding in found if finding.state != "good"]
        assert {finding.path for finding in found} == set(FILES)
        assert all("pin the folder it came from again" in finding.why for finding in bad)
        assert bad or name != "add"
    removal = remove_pin(resolver.catalog, pin)
    assert removal.kept == {}
    assert left(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_pinning_again_after_a_kill_is_whole(
    resolver: Resolver, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RepoCache, "add_file", killed_at(2, RepoCache.add_file))
        assert pin_in_a_child(resolver, folder) == 9
    pin = pin_folder(resolver, folder, REPO).pin
    assert {finding.state for finding in check(resolver.catalog, pin)} == {"good"}
    remove_pin(resolver.catalog, pin)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "where", [(Catalog, "set_ref"), (PinnedRepo, "settle"), (PinnedRepo, "intend"), (PinnedRepo, "copy")]
)
def test_what_fails_leaves_nothing(
    resolver: Resolver, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: tuple[type, str]
) -> None:
    monkeypatch.setattr(*where, fail)
    with pytest.raises(OSError, match="No space left"):
        pin_folder(resolver, folder, REPO)
    assert left(tmp_path) == []


def test_a_folder_that_changes_meanwhile_is_refused(
    resolver: Resolver, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend = PinnedRepo.intend

    def change(pinned: PinnedRepo, paths: Iterable[str]) -> None:
        intend(pinned, paths)
        target = folder / "model.safetensors"
        target.write_bytes(b"x" + target.read_bytes()[1:])

    monkeypatch.setattr(PinnedRepo, "intend", change)
    with pytest.raises(PinError, match=r"model\.safetensors.*changed while it was pinned; pin it again"):
        pin_folder(resolver, folder, REPO)
    assert left(tmp_path) == []


@pytest.fixture
def cloned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A file system that makes clones, out of files that may be new; the inodes of those that it made them of."""
    made: list[int] = []

    def ioctl(out: int, request: int, source: int) -> None:
        assert request == 0x40049409
        made.append(os.fstat(source).st_ino)
        os.pwrite(out, os.pread(source, 1 << 30, 0), 0)

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    monkeypatch.setattr("pinformers.pinning.clones._SETTLED", -(10**9))
    return made


makes_clones = pytest.mark.skipif(sys.platform != "linux", reason="clones are made on Linux")


@makes_clones
def test_what_looks_as_when_it_was_hashed_is_cloned(resolver: Resolver, folder: Path, cloned: list[int]) -> None:
    pinned = pin_folder(resolver, folder, REPO)
    assert sorted(cloned) == sorted((folder / path).stat().st_ino for path in FILES)
    assert {path: pinned.cache.file(pinned.commit, path).read_bytes() for path in FILES} == FILES
    assert {found.state for found in check(resolver.catalog, pinned.pin)} == {"good"}


@makes_clones
@pytest.mark.parametrize("ago", [0, 50])
def test_what_was_written_of_late_is_read_once_more(
    resolver: Resolver, folder: Path, cloned: list[int], monkeypatch: pytest.MonkeyPatch, ago: int
) -> None:
    monkeypatch.setattr("pinformers.pinning.clones._SETTLED", 60 * 10**9)
    for path in FILES:
        # Its bytes are old by its own word; that the word is new, the system says.
        os.utime(folder / path, (time.time() - ago * 1000,) * 2)
    pin_folder(resolver, folder, REPO)
    assert cloned == []


@makes_clones
def test_what_changes_before_it_is_cloned_is_refused(
    resolver: Resolver, folder: Path, tmp_path: Path, cloned: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    intend, target = PinnedRepo.intend, folder / "model.safetensors"

    def change(pinned: PinnedRepo, paths: Iterable[str]) -> None:
        intend(pinned, paths)
        before = target.stat()
        target.write_bytes(b"x" + target.read_bytes()[1:])
        # As of old, but for the time at which that was said.
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))

    monkeypatch.setattr(PinnedRepo, "intend", change)
    with pytest.raises(PinError, match=r"model\.safetensors.*changed while it was pinned; pin it again"):
        pin_folder(resolver, folder, REPO)
    assert left(tmp_path) == []


@makes_clones
@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.ENOSPC])
def test_what_cannot_be_cloned_is_copied(
    resolver: Resolver, folder: Path, cloned: list[int], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def ioctl(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    pinned = pin_folder(resolver, folder, REPO)
    assert {path: pinned.cache.file(pinned.commit, path).read_bytes() for path in FILES} == FILES


def test_a_full_disk_is_one_sentence_with_the_place(
    resolver: Resolver, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(RepoCache, "add_file", fail)
    with pytest.raises(PinError, match=r"hub.*config.json: it cannot be put in place \(No space left on device\)"):
        pin_folder(resolver, folder, REPO)
    # Nobody loads anything here.
    assert "transformers" not in caplog.text


def test_a_folder_pinned_now_wins_over_a_ref_of_tomorrow(resolver: Resolver, folder: Path) -> None:
    """The clock was set back since the hub's client noted the branch."""
    ref = RepoCache(resolver.default_cache, REPO).ref_path("main")
    ref.parent.mkdir(parents=True)
    ref.write_text("d" * 40)
    tomorrow = time.time_ns() + 86400 * 10**9
    os.utime(ref, ns=(tomorrow, tomorrow))
    pin = pin_folder(resolver, folder, REPO).pin
    assert resolver.commit(REPO, None) == pin.commit


def test_a_branch_stays_at_the_folder_whoever_follows_the_hub_later(
    hub: HubStub, resolver: Resolver, folder: Path, tmp_path: Path
) -> None:
    """Plain huggingface_hub has followed a repo of the same name."""
    pin = pin_folder(resolver, folder, REPO).pin
    commit = fill_cache(hub, Path(resolver.default_cache))
    assert resolver.commit(REPO, None) == pin.commit
    assert RepoCache(resolver.default_cache, REPO).ref_path("main").read_text() == commit
    found = tmp_path / "hub" / "models--org--model" / "snapshots" / commit / "config.json"
    resolver.seen(REPO, None, [str(found)], repo_type="model")
    assert resolver.recorder.flush()
    assert resolver.catalog.refs(REPO) == {"main": pin.commit}
    assert resolver.commit(REPO, None) == pin.commit
    # What the hub has is pinned by its commit, and by a command it takes the branch.
    assert resolver.catalog.pin(REPO, commit) is not None
    resolver.catalog.set_ref(REPO, "main", commit)
    assert resolver.commit(REPO, None) == commit


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (None, {"library_name": "transformers"}),
        (
            b"---\npipeline_tag: x\nlibrary_name: y\ntags: [z]\n---\n",
            {"pipeline_tag": "x", "library_name": "y", "tags": ["z"]},
        ),
    ],
)
def test_a_folder_says_what_it_is_by_its_card_and_its_config(
    resolver: Resolver, folder: Path, card: bytes | None, said: dict[str, object]
) -> None:
    config = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 4}
    write_folder(folder, {"config.json": json.dumps(config).encode(), **({"README.md": card} if card else {})})
    pinned = pin_folder(resolver, folder, REPO)
    assert pinned.info == {"config": {"architectures": ["BertModel"], "model_type": "bert"}, **said}


def test_a_pin_is_brought_and_removed_by_one_at_a_time(
    resolver: Resolver, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = Catalog(tmp_path / "pinformers", lock_timeout=0)
    alone: list[bool] = []

    def look(*_: object) -> None:
        for pin in hasty.pins():
            with hasty.alone(pin) as held:
                alone.append(held)

    pin = pin_folder(resolver, folder, REPO, progress=look).pin
    monkeypatch.setattr(Eviction, "run", look)
    remove_pin(resolver.catalog, pin)
    assert len(alone) == len(FILES) + 1
    assert not any(alone)


@pytest.mark.parametrize("known", [True, False])
def test_a_pin_that_is_removed_while_it_is_brought_is_no_half_model(
    resolver: Resolver, folder: Path, tmp_path: Path, known: bool
) -> None:
    hasty = Catalog(tmp_path / "pinformers", lock_timeout=0)
    # Every file is hashed first, then the first one is copied.
    steps = iter(range(len(FILES)))

    def progress(_: int) -> None:
        if next(steps, None) is None:
            for pin in hasty.pins():
                remove_pin(hasty, pin, lock_timeout=0)

    if known:
        pin_folder(resolver, folder, REPO)
    with pytest.raises(PinError, match="it was removed while it was being pinned"):
        pin_folder(resolver, folder, REPO, progress=progress)
    assert left(tmp_path) == []
