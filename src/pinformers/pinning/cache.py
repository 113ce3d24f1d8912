"""The Hugging Face hub cache, read and added to exactly as huggingface_hub does.

Three layouts: snapshot links into ``blobs/<etag>``; plain files in the snapshot where links are not supported; and
``blobs/<etag>`` being itself a link into the cache-wide store of huggingface_hub 2.4. All read the same through stat.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pinformers._errors import PinError, SourceError
from pinformers.pinning.pin import check_path, check_revision, is_path, repo_folder
from pinformers.pinning.records import (
    MALFORMED,
    cached_path,
    grasp,
    lock,
    naming,
    read_json,
    signature,
    sync,
    write_bytes,
)

Fill = Callable[[BinaryIO], None]
Told = Callable[[list[str]], None]
STAGING = ".pinformers.incomplete"
# A file that is being fetched; what of it was verified is taken up again.
PART = ".part" + STAGING
_RESUMED = "0" * 8
_UNFINISHED = ".incomplete"
_LEFT = re.compile(rf"(.+)\.[0-9a-f]{{8}}(?:\.part)?{re.escape(STAGING)}", re.DOTALL)
_TREE_FORMAT = 1
_TREE_KEYS = ("size", "blob_id", "lfs_sha256", "lfs_size", "xet_hash")


def nobody(_: object) -> None:
    """Be told, and do nothing."""


@functools.lru_cache(maxsize=64)
def _real(cache_dir: str) -> str:
    return os.path.realpath(os.path.abspath(cache_dir))


def normal(cache_dir: str) -> str:
    """Return the one absolute path by which our records call a cache folder, whatever links lead to it."""
    # Only what is relative means another folder in another place.
    return _real(cache_dir if os.path.isabs(cache_dir) else os.path.abspath(os.path.expanduser(cache_dir)))


class RepoCache:
    """One repo's folder in one hub cache. What a method creates it returns, as paths relative to ``folder``."""

    def __init__(self, cache_dir: str, repo: str, repo_type: str = "model", *, lock_timeout: float = 60.0) -> None:
        self.cache_dir = cache_dir = normal(cache_dir)
        self.name = repo_folder(repo, repo_type)
        self.folder = cached_path(cache_dir, self.name)
        self._lock_timeout = lock_timeout

    # -- reading ----------------------------------------------------------------------------------------------

    def file(self, commit: str, path: str) -> Path:
        """Return where a file of a commit lies, or would."""
        return self.folder / "snapshots" / commit / path

    def looks(self, commit: str, path: str) -> tuple[int, int, int] | None:
        """Return size, mtime (ns) and inode of a file of a commit; None where there is none."""
        # Asked about each file of each load: a Path costs more than the question.
        return signature(f"{self.folder}/snapshots/{commit}/{path}")

    def blob(self, etag: str) -> Path:
        """Return where the bytes of an etag lie, or would."""
        return self.folder / "blobs" / etag

    def ref_path(self, revision: str) -> Path:
        """Return the file in which huggingface_hub notes the commit of a branch or tag."""
        return cached_path(self.folder, "refs", check_revision(revision))

    def files(self, commit: str) -> Iterator[str]:
        """Yield the paths of all files that a snapshot holds; a broken link is not one."""
        snapshot = self.folder / "snapshots" / commit
        for path in sorted(snapshot.rglob("*")):
            name = path.relative_to(snapshot).as_posix()
            # The hub has no file of another name, and no record of ours can hold one.
            if is_path(name) and path.is_file() and not name.endswith(_UNFINISHED):
                yield name

    def etag(self, commit: str, path: str) -> str | None:
        """Return the name of the blob that a snapshot's link leads to; None for a plain file."""
        link = self.file(commit, path)
        try:
            target = Path(os.path.normpath(link.parent / os.readlink(link)))
        except OSError:
            return None
        return target.name if target.parent.name == "blobs" else None

    def tree(self, commit: str) -> dict[str, Mapping[str, Any]] | None:
        """Return the hub's listing of a commit, if huggingface_hub (2.4 on) kept it."""
        value = read_json(self._tree_path(commit))
        if value is None or value.get("format_version") != _TREE_FORMAT:
            return None
        try:
            return {check_path(path): dict(entry) for path, entry in value["files"].items()}
        except (PinError, *MALFORMED):
            # As huggingface_hub does: what cannot be read counts as no listing.
            return None

    def marked_absent(self, commit: str, path: str) -> bool:
        """Whether the hub once said that the commit has no such file."""
        return os.path.isfile(os.path.join(self.folder, ".no_exist", commit, path))

    def lacks(self, commit: str, path: str) -> bool:
        """Whether the commit is known to have no such file: the hub said so, or files of a folder lie there."""
        # They may have come a moment ago, and not be recorded yet.
        return self.marked_absent(commit, path) or os.path.isdir(self.file(commit, path))

    # -- adding -----------------------------------------------------------------------------------------------

    def mark_absent(self, commit: str, path: str) -> list[str]:
        """Note, as huggingface_hub does after a 404, that the commit has no such file."""
        if self.marked_absent(commit, check_path(path)):
            return []
        marker = self.folder / ".no_exist" / commit / path
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        (self.folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        return self._made(marker)

    def add_ref(self, revision: str, commit: str, *, ours: bool = False) -> list[str]:
        """Note the commit of a revision; one that is noted stays, unless it is ``ours``."""
        path = self.ref_path(revision)
        if revision == commit or (path.exists() and not ours):
            return []
        write_bytes(path, commit.encode())
        return self._made(path)

    def has_tree(self, commit: str) -> bool:
        """Whether a listing of the commit lies there."""
        return self._tree_path(commit).exists()

    def add_tree(self, commit: str, listing: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Leave the listing that ``snapshot_download`` would have left, where every entry is known."""
        path = self._tree_path(commit)
        if self.has_tree(commit) or not all("size" in entry and "blob_id" in entry for entry in listing.values()):
            return []
        # To the byte what huggingface_hub writes (_tree_cache.py): one line a field, in its order.
        files = {
            name: {key: listing[name][key] for key in _TREE_KEYS if key in listing[name]} for name in sorted(listing)
        }
        write_bytes(path, json.dumps({"format_version": _TREE_FORMAT, "files": files}, indent=1).encode())
        return self._made(path)

    def add_file(
        self,
        commit: str,
        path: str,
        etag: str,
        fill: Fill,
        placed: Told = nobody,
        coming: Told = nobody,
    ) -> list[str]:
        """Put a file in place: ``fill`` writes it, verified, into a private staging file that is then renamed.

        Holds the lock file that huggingface_hub takes for this blob, so that its clients wait and then find the file.
        ``coming`` is told what is about to be created, ``placed`` what was before they find it. Never replaces a file:
        one that is there by then stays, and the caller must look at it again.
        """
        target = self.file(commit, check_path(path))
        links = self._links_supported()
        blob = self.blob(etag) if links else target
        with self._turn(etag, blob) as held:
            if target.exists():
                return []
            made: list[str] = []
            if blob.exists():
                coming(self._made(target))
            else:
                names = [name for each in dict.fromkeys((blob, target)) for name in self._made(each)]
                made += self._made(blob) if self._write(blob, fill, lambda: coming(names), resume=held) else []
            if links:
                made += self._link(target, blob)
            placed(made)
            return made

    def drop_parts(self) -> None:
        """Delete what is left of fetches whose file is in place by now, brought by another hand."""
        for part in self.folder.glob(f"**/*{PART}"):
            name = left_of(part.name)
            # A link is a file of the repo that is called like that.
            if name is not None and not part.is_symlink() and part.with_name(name).exists():
                part.unlink(missing_ok=True)

    # -- inner ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _turn(self, etag: str, target: Path) -> Iterator[bool]:
        """Hold the blob's lock; whoever waits for it waits on while the one who has it makes progress."""
        path = Path(self.cache_dir) / ".locks" / self.name / f"{etag}.lock"
        while True:
            with lock(path, self._lock_timeout) as held:
                if held or not self._grows(target):
                    yield held
                    return

    def _grows(self, target: Path) -> bool:
        # Our parts, and the unfinished downloads of huggingface_hub's client, which ends their names in the same way.
        unfinished = (signature(path) for path in target.parent.glob(f"{glob.escape(target.name)}*{_UNFINISHED}"))
        newest = max((stat[1] for stat in unfinished if stat is not None), default=0)
        return time.time() - newest / 1e9 < self._lock_timeout

    def _write(self, target: Path, fill: Fill, coming: Callable[[], None], *, resume: bool) -> bool:
        """Let ``fill`` write a part, say that it is ``coming``, and give it its name.

        What ``fill`` had verified when it failed is kept.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with naming(target), _part(target, resume=resume) as (part, out):
            try:
                fill(out)
                out.flush()
                sync(out.fileno())
                coming()
                _let_go(out)
                # While it is held: whoever opened it next would write into what has its name by then.
                return _move_new(part, target)
            except BaseException as exc:
                _let_go(out)
                # A source that failed and a Ctrl-C say nothing against the bytes; a full disk wants them back.
                size = (signature(part) or (0,))[0]
                if not size or not isinstance(exc, SourceError | KeyboardInterrupt):
                    part.unlink(missing_ok=True)
                raise

    def _link(self, target: Path, blob: Path) -> list[str]:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():
            # It leads nowhere (the caller has looked): its blob is gone.
            target.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            os.symlink(os.path.relpath(blob, target.parent), target)
            return self._made(target)
        return []

    def _links_supported(self) -> bool:
        # deferred: an import of half a second, and only a write needs it.
        from huggingface_hub.file_download import are_symlinks_supported

        return bool(are_symlinks_supported(self.cache_dir))

    def _tree_path(self, commit: str) -> Path:
        return self.folder / "trees" / f"{commit}.json"

    def _made(self, path: Path) -> list[str]:
        return [path.relative_to(self.folder).as_posix()]


def left_of(name: str) -> str | None:
    """Return the name of the file that was on its way, or set aside, under ``name``; None for what is not called so."""
    match = _LEFT.fullmatch(name)
    return None if match is None else match[1]


def check_room(folder: Path, size: int) -> None:
    """Raise PinError where fewer than ``size`` bytes are free: a few blocks of others may unfold to exabytes."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PinError(str(folder), f"{size} bytes are needed and {free} are free; make room first")


@contextlib.contextmanager
def _part(target: Path, *, resume: bool) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a file beside ``target`` that nobody else is at work on; with ``resume``, what an earlier one left there.

    `gc` sweeps what nobody has touched for an hour.
    """
    if resume:
        # One name that is known, and no search in a folder of ten thousand blobs for each of them.
        part = target.with_name(f"{target.name}.{_RESUMED}{PART}")
        part.touch()
        with open(part, "r+b") as out:
            looks = signature(part)
            # The lock of the blob may not be honoured, or gone: then there is another one at work.
            if grasp(out.fileno()) and looks is not None and looks[2] == os.fstat(out.fileno()).st_ino:
                yield part, out
                return
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PART}")
    with open(part, "x+b") as out:
        yield part, out


def _let_go(out: BinaryIO) -> None:
    """Close a file on the system that gives no open one another name."""
    if os.name == "nt":
        out.close()


def _move_new(staging: Path, target: Path) -> bool:
    """Give ``staging`` its name unless the name is taken; says whether it was free."""
    try:
        os.link(staging, target)
        staging.unlink()
    except FileExistsError:
        staging.unlink(missing_ok=True)
        return False
    except OSError:
        # A file system without hard links: look, then rename. What could come between is the same verified content.
        if target.exists():
            staging.unlink(missing_ok=True)
            return False
        os.replace(staging, target)
    return True
