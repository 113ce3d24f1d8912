"""Pin a local folder under a model's name: its files go into the hub cache as if the hub had sent them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pinformers._errors import PinError
from pinformers.ipfs.unixfs import FileDag, hash_file
from pinformers.pinning.adoption import keep_blocks
from pinformers.pinning.cards import read_card
from pinformers.pinning.catalog import Catalog, after, read_ref
from pinformers.pinning.checking import check_file, mend
from pinformers.pinning.clones import Looks, settled
from pinformers.pinning.pin import Pin, PinnedFile, check_path, check_repo, check_revision, commit_of, pointer_id
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.removal import take_back
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.times import now
from pinformers.sources.embedded import EmbeddedSource, LocalFile

# What git and huggingface_hub keep in a folder for themselves.
SKIPPED = {".git", ".cache", "__pycache__"}
_LFS_SUFFIXES = frozenset(
    [
        ".7z",
        ".arrow",
        ".bin",
        ".bz2",
        ".ckpt",
        ".ftz",
        ".gguf",
        ".gz",
        ".h5",
        ".joblib",
        ".lfs",
        ".mlmodel",
        ".model",
        ".msgpack",
        ".npy",
        ".npz",
        ".onnx",
        ".ot",
        ".parquet",
        ".pb",
        ".pickle",
        ".pkl",
        ".pt",
        ".pth",
        ".rar",
        ".safetensors",
        ".tar",
        ".tflite",
        ".tgz",
        ".wasm",
        ".xz",
        ".zip",
        ".zst",
    ]
)
_LFS_FROM = 10 << 20

Progress = Callable[[int], None]


class _Hashed(NamedTuple):
    """The files of a folder, and how those looked before that had been left alone."""

    dags: Mapping[str, FileDag]
    looks: Mapping[str, Looks | None]


def pin_folder(
    resolver: Resolver, folder: Path, repo: str, revision: str = "main", progress: Progress | None = None
) -> PinnedRepo:
    """Pin ``folder`` as ``repo`` at ``revision``.

    A folder has no hub commit, so its commit is the first 40 hex digits of its root CID's digest: equal folders have
    equal commits everywhere. The files are copied and checked once more, since a folder may change; where the file
    system makes clones, as XFS and Btrfs do, a file that has been left alone is cloned, which takes no room.
    """
    check_repo(repo)
    check_revision(revision)
    chunking, paths = resolver.policy.chunking, _paths(folder)
    looks = {path: settled(folder / path) for path in paths}
    dags = {
        path: hash_file(folder / path, git=not _is_lfs(path, size), progress=progress, chunking=chunking)
        for path, size in ((path, (folder / path).stat().st_size) for path in paths)
    }
    pin = _committed(folder, repo, dags)
    with resolver.catalog.alone(pin):
        known = resolver.catalog.pin(repo, pin.commit)
        try:
            pinned = _bring(resolver, pin, folder, _Hashed(dags, looks), revision, progress)
            # Last, so that the name never stands for half a model.
            pinned.settle()
            check_whole(resolver.catalog, pin)
            noted = after(resolver.catalog.ref(repo, revision), read_ref(pinned.cache.ref_path(revision)))
            resolver.catalog.set_ref(repo, revision, pin.commit, noted=noted)
        except BaseException:
            # Half a model is worth nothing, and a full disk wants its bytes back; what was pinned before stays.
            if known is None:
                take_back(resolver.catalog, pin)
            raise
    return resolver.bind(pinned.pin, revision, resolver.sources)


def check_whole(catalog: Catalog, pin: Pin) -> None:
    """Raise PinError, and leave nothing, where somebody removed a pin that was being brought."""
    found = catalog.pin(pin.repo, pin.commit, pin.repo_type)
    if found is None or not set(pin.files) <= set(found.files):
        # By somebody who had waited for the lock long enough.
        take_back(catalog, pin)
        raise PinError(pin.repo, "it was removed while it was being pinned; pin it again")


def _committed(folder: Path, repo: str, dags: dict[str, FileDag]) -> Pin:
    files = {path: pinned_file(path, dag) for path, dag in dags.items()}
    info = read_card(folder / "README.md")
    draft = Pin(repo=repo, commit="", files=files, listed=True, info=info, origin="folder", pinned_at=now())
    return draft._replace(commit=commit_of(draft.directory().cid))


def _bring(
    resolver: Resolver, pin: Pin, folder: Path, hashed: _Hashed, revision: str, progress: Progress | None
) -> PinnedRepo:
    dags = hashed.dags
    source = EmbeddedSource(lambda: [_local(folder / path, dag) for path, dag in dags.items()], name="folder")
    pinned = resolver.bind(resolver.catalog.add(pin), revision, [source])
    # Before the first byte: what a killed process had no time to note, nobody would ever delete.
    pinned.intend(dags)
    for path, dag in dags.items():
        keep_blocks(resolver.catalog, dag.cid, dag.nodes)
        state = pinned.state(path)
        if state == "changed":
            # What lies there under this name may be right all the same; if not, here are the right bytes.
            finding = check_file(resolver.catalog, pinned.pin, pinned.cache, path)
            if finding.state != "good":
                mend(resolver, finding, [source])
        elif state == "missing":
            pinned.copy(path, folder / path, hashed.looks[path])
        if progress is not None:
            progress(dag.size)
    return pinned


def _local(path: Path, dag: FileDag) -> LocalFile:
    return LocalFile(path, dag.cid, dag.size, lambda: dag.nodes)


def _paths(folder: Path) -> list[str]:
    if not folder.is_dir():
        what = "it is a file" if folder.is_file() else "there is no such folder"
        raise PinError(str(folder), f"{what}; give a model's folder, or a hub name like org/model")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    paths = [path.relative_to(folder) for path in found]
    names = [check_path(path.as_posix()) for path in paths if not SKIPPED.intersection(path.parts)]
    if not names:
        raise PinError(str(folder), "the folder holds no file; give a model's folder")
    return names


def pinned_file(path: str, dag: FileDag) -> PinnedFile:
    """Describe a hashed file as the hub would: by its name and size it is an LFS file or not."""
    if _is_lfs(path, dag.size):
        hub = {
            "size": dag.size,
            "blob_id": pointer_id(dag.sha256, dag.size),
            "lfs_sha256": dag.sha256,
            "lfs_size": dag.size,
        }
    else:
        hub = {"size": dag.size, "blob_id": dag.git_blob}
    return PinnedFile(dag.size, str(dag.cid), dag.dag_size, dag.sha256, hub)


def _is_lfs(path: str, size: int) -> bool:
    return Path(path).suffix in _LFS_SUFFIXES or size > _LFS_FROM
