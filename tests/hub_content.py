"""What the stand-in hub holds: repositories, commits and blobs, and how the hub's JSON describes them."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

LFS_PATTERNS = ("*.safetensors", "*.bin", "*.model", "*.onnx", "*.h5")
LFS_SIZE = 10 * 1024 * 1024
DATE = "2026-01-02T03:04:05.000Z"


@dataclass(frozen=True)
class Blob:
    """The bytes of one file with the two names that the hub gives them, found once: benchmarks serve big files."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()
        )

    @cached_property
    def oid(self) -> str:
        return git_oid("blob", self.pointer if self.lfs else self.content)

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass(slots=True)
class Repo:
    """One repository: its branches, every commit it ever had, and what its card says."""

    repo_id: str
    card: dict[str, object] = field(default_factory=dict)
    private_token: str | None = None
    gated_token: str | None = None
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)

    def commit(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)


def git_oid(kind: str, content: bytes) -> str:
    """Return git's sha1 name of an object."""
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def is_lfs(path: str, content: bytes, patterns: Sequence[str]) -> bool:
    return len(content) > LFS_SIZE or any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def read_files(files: Path | Mapping[str, bytes | str]) -> dict[str, bytes]:
    if isinstance(files, Mapping):
        return {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    return {path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*") if path.is_file()}


def describe_repo(repo: Repo, commit: str, *, blobs: bool) -> dict[str, object]:
    entries = tree_entries(repo.commits[commit], "", xet=False)
    files = [entry for entry in entries if entry["type"] == "file"]
    return {
        "_id": commit[:24],
        "id": repo.repo_id,
        "modelId": repo.repo_id,
        "author": repo.repo_id.partition("/")[0],
        "sha": commit,
        "lastModified": DATE,
        "createdAt": DATE,
        "private": repo.private_token is not None,
        "gated": "auto" if repo.gated_token is not None else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        **repo.card,
        "siblings": [_sibling(entry, blobs=blobs) for entry in files],
    }


def _sibling(entry: Mapping[str, object], *, blobs: bool) -> dict[str, object]:
    if not blobs:
        return {"rfilename": entry["path"]}
    sibling = {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]}
    if isinstance(lfs := entry.get("lfs"), dict):
        sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
    return sibling


def tree_entries(blobs: Mapping[str, Blob], folder: str, *, xet: bool) -> list[dict[str, object]]:
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    inside = {path: blob for path, blob in sorted(blobs.items()) if path.startswith(prefix)}
    folders: dict[str, str] = {}
    for path, blob in inside.items():
        for parent in list(Path(path[len(prefix) :]).parents)[:-1]:
            name = prefix + parent.as_posix()
            folders[name] = git_oid("tree", f"{folders.get(name, '')}{path}{blob.oid}".encode())
    entries = [{"type": "directory", "oid": oid, "size": 0, "path": path} for path, oid in sorted(folders.items())]
    return entries + [_file_entry(path, blob, xet=xet) for path, blob in inside.items()]


def _file_entry(path: str, blob: Blob, *, xet: bool) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "oid": blob.oid, "size": len(blob.content), "path": path}
    if blob.lfs:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
        if xet:
            entry["xetHash"] = hashlib.blake2b(blob.content, digest_size=32).hexdigest()
    return entry
