from __future__ import annotations

import errno
import os
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

import pytest
from huggingface_hub import scan_cache_dir, try_to_load_from_cache
from huggingface_hub.utils import WeakFileLock

from hub_stub import HubStub
from pin_rooms import FILES, REPO, fill_cache, tree
from pinformers._errors import SourceError
from pinformers.pinning.cache import PART, RepoCache

COMMIT = "c" * 40
ETAG = "e" * 40


def writes(content: bytes):  # type: ignore[no-untyped-def]
    def fill(out: BinaryIO) -> None:
        out.write(content)

    return fill


@pytest.fixture
def cache(tmp_path: Path) -> RepoCache:
    return RepoCache(str(tmp_path / "hub"), REPO)


def test_what_we_add_huggingface_hub_finds(cache: RepoCache) -> None:
    made = cache.add_file(COMMIT, "sub/a.txt", ETAG, writes(b"abc"))
    made += cache.add_ref("main", COMMIT)
    found = try_to_load_from_cache(REPO, "sub/a.txt", cache_dir=cache.cache_dir)
    assert Path(str(found)).read_bytes() == b"abc"
    assert made == [f"blobs/{ETAG}", f"snapshots/{COMMIT}/sub/a.txt", "refs/main"]
    scan = scan_cache_dir(cache.cache_dir)
    assert not scan.warnings
    (repo,) = scan.repos
    (revision,) = repo.revisions
    assert (repo.repo_id, revision.commit_hash, set(revision.refs)) == (REPO, COMMIT, {"main"})


def test_the_bytes_are_no_more_private_than_what_the_hub_client_writes(cache: RepoCache) -> None:
    umask = os.umask(0o022)
    os.umask(umask)
    cache.add_file(COMMIT, "a.txt", ETAG, writes(b"abc"))
    assert cache.blob(ETAG).stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_layout_is_that_of_a_download(cache: RepoCache, hub: HubStub, tmp_path: Path) -> None:
    commit = fill_cache(hub, tmp_path / "theirs")
    theirs = RepoCache(str(tmp_path / "theirs"), REPO)
    for path, content in FILES.items():
        cache.add_file(commit, path, theirs.etag(commit, path) or "", writes(content))
    cache.add_ref("main", commit)
    if (listing := theirs.tree(commit)) is not None:
        cache.add_tree(commit, listing)
        assert (cache.folder / "trees" / f"{commit}.json").read_bytes() == (
            theirs.folder / "trees" / f"{commit}.json"
        ).read_bytes()
    shape = {name: kind for name, (kind, _) in tree(cache.folder).items()}
    assert shape == {name: kind for name, (kind, _) in tree(theirs.folder).items()}
    links = {name: what for name, (kind, what) in tree(cache.folder).items() if kind == "link"}
    assert links == {name: what for name, (kind, what) in tree(theirs.folder).items() if kind == "link"}


def test_we_wait_for_the_lock_that_huggingface_hub_takes_for_a_blob(cache: RepoCache) -> None:
    # The name that _hf_hub_download_to_cache_dir gives it.
    theirs = Path(cache.cache_dir) / ".locks" / "models--org--model" / f"{ETAG}.lock"
    theirs.parent.mkdir(parents=True)
    done = threading.Event()

    def add() -> None:
        cache.add_file(COMMIT, "a.txt", ETAG, writes(b"ours"))
        done.set()

    with WeakFileLock(theirs):
        thread = threading.Thread(target=add)
        thread.start()
        assert not done.wait(0.3)
        # What the client of the hub brings while we wait is what we then find.
        cache.blob(ETAG).parent.mkdir(parents=True)
        cache.blob(ETAG).write_bytes(b"theirs")
    thread.join(20)
    assert cache.file(COMMIT, "a.txt").read_bytes() == b"theirs"


def test_a_lock_that_nobody_gives_back_is_gone_without(tmp_path: Path) -> None:
    hasty = RepoCache(str(tmp_path / "hub"), REPO, lock_timeout=0.05)
    theirs = Path(hasty.cache_dir) / ".locks" / "models--org--model" / f"{ETAG}.lock"
    theirs.parent.mkdir(parents=True)
    with WeakFileLock(theirs):
        assert hasty.add_file(COMMIT, "a.txt", ETAG, writes(b"abc"))
    assert hasty.file(COMMIT, "a.txt").read_bytes() == b"abc"


def test_nothing_that_is_there_is_replaced(cache: RepoCache) -> None:
    cache.add_file(COMMIT, "a.txt", ETAG, writes(b"first"))
    assert cache.add_file(COMMIT, "a.txt", ETAG, writes(b"second")) == []
    assert cache.add_file("d" * 40, "a.txt", ETAG, writes(b"second")) == [f"snapshots/{'d' * 40}/a.txt"]
    assert cache.file("d" * 40, "a.txt").read_bytes() == b"first"
    cache.add_ref("main", COMMIT)
    assert cache.add_ref("main", "d" * 40) == []
    assert cache.ref_path("main").read_text() == COMMIT


@pytest.mark.parametrize("both_end", [True, False])
def test_two_that_have_the_lock_at_once_write_into_two_files(
    cache: RepoCache, both_end: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody deletes ``.locks``, or two hosts each get the lock of their own."""
    monkeypatch.setattr("pinformers.pinning.cache.lock", lambda *_: nullcontext(True))

    def second(out: BinaryIO) -> None:
        out.truncate(0)
        out.write(b"second")
        if not both_end:
            raise SourceError("x", "down")

    def first(out: BinaryIO) -> None:
        out.write(b"first, ")
        out.flush()
        with suppress(SourceError):
            cache.add_file(COMMIT, "a.txt", ETAG, second)
        out.write(b"whole")

    cache.add_file(COMMIT, "a.txt", ETAG, first)
    assert cache.file(COMMIT, "a.txt").read_bytes() == (b"second" if both_end else b"first, whole")


def test_what_is_about_to_be_made_is_told_before_it_is_there(cache: RepoCache) -> None:
    told: list[str] = []

    def coming(names: list[str]) -> None:
        assert not any(os.path.lexists(cache.folder / name) for name in names)
        told.extend(names)

    made = cache.add_file(COMMIT, "a.txt", ETAG, writes(b"abc"), coming=coming)
    assert told == made == [f"blobs/{ETAG}", f"snapshots/{COMMIT}/a.txt"]
    told.clear()
    assert cache.add_file(COMMIT, "b.txt", ETAG, writes(b"abc"), coming=coming) == told
    assert told == [f"snapshots/{COMMIT}/b.txt"]


def test_a_file_that_comes_in_the_meantime_stays(cache: RepoCache) -> None:
    def late(out: BinaryIO) -> None:
        out.write(b"ours")
        cache.blob(ETAG).write_bytes(b"theirs")

    made = cache.add_file(COMMIT, "a.txt", ETAG, late)
    assert f"blobs/{ETAG}" not in made
    assert cache.file(COMMIT, "a.txt").read_bytes() == b"theirs"


def test_a_write_that_fails_leaves_nothing(cache: RepoCache) -> None:
    def fails(out: BinaryIO) -> None:
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        cache.add_file(COMMIT, "a.txt", ETAG, fails)
    assert not [name for name, (kind, _) in tree(cache.folder).items() if kind != "folder"]


def test_plain_files_where_links_are_not_supported(cache: RepoCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RepoCache, "_links_supported", lambda self: False)
    made = cache.add_file(COMMIT, "sub/a.txt", ETAG, writes(b"abc"))
    assert made == [f"snapshots/{COMMIT}/sub/a.txt"]
    assert not cache.file(COMMIT, "sub/a.txt").is_symlink()
    assert cache.etag(COMMIT, "sub/a.txt") is None
    assert list(cache.files(COMMIT)) == ["sub/a.txt"]


def test_a_link_whose_blob_is_gone_is_made_again(cache: RepoCache) -> None:
    cache.add_file(COMMIT, "a.txt", ETAG, writes(b"abc"))
    cache.blob(ETAG).unlink()
    assert list(cache.files(COMMIT)) == []
    cache.add_file(COMMIT, "a.txt", ETAG, writes(b"abc"))
    assert cache.file(COMMIT, "a.txt").read_bytes() == b"abc"


def test_absence_is_marked_as_the_hub_client_marks_it(cache: RepoCache) -> None:
    from huggingface_hub import _CACHED_NO_EXIST

    assert cache.mark_absent(COMMIT, "no.json") == [f".no_exist/{COMMIT}/no.json"]
    assert cache.mark_absent(COMMIT, "no.json") == []
    assert cache.marked_absent(COMMIT, "no.json")
    found = try_to_load_from_cache(REPO, "no.json", cache_dir=cache.cache_dir, revision=COMMIT)
    assert found is _CACHED_NO_EXIST


@pytest.mark.parametrize("content", ["", "{", '{"format_version": 2, "files": {}}', '{"format_version": 1}'])
def test_a_tree_that_is_not_readable_counts_as_none(cache: RepoCache, content: str) -> None:
    path = cache.folder / "trees" / f"{COMMIT}.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert cache.tree(COMMIT) is None


def test_a_tree_with_a_gap_is_not_left_behind(cache: RepoCache) -> None:
    assert cache.add_tree(COMMIT, {"a": {"size": 1, "blob_id": "x"}, "b": {}}) == []
    assert cache.tree(COMMIT) is None


def test_one_name_for_a_cache_whatever_links_lead_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert RepoCache(str(tmp_path / "link"), REPO).cache_dir == RepoCache(str(tmp_path / "real"), REPO).cache_dir


def test_the_part_of_another_file_is_neither_taken_up_nor_dropped(cache: RepoCache, tmp_path: Path) -> None:
    ours, theirs = (cache.blob(f"{ETAG}{name}{PART}") for name in (".00000000", ".0.01234567"))
    linked = cache.file(COMMIT, f"a.txt.01234567{PART}")
    for part in (ours, theirs, tmp_path / "blob"):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
    linked.parent.mkdir(parents=True)
    # A file of the repo: it has a name like those of ours, and is a link as they never are.
    linked.symlink_to(tmp_path / "blob")
    cache.add_file(COMMIT, "a.txt", ETAG, writes(b"whole"))
    assert [part.exists() for part in (ours, theirs)] == [False, True]
    cache.drop_parts()
    assert [part.exists() for part in (theirs, linked)] == [True, True]


def test_a_full_disk_names_the_file(cache: RepoCache) -> None:
    def fill(_: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError) as caught:
        cache.add_file(COMMIT, "a.txt", ETAG, fill)
    assert caught.value.filename == str(cache.blob(ETAG))
