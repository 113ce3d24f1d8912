"""What a pin is: a repo at a commit, its root CID, and per file what it must be."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pinformers._errors import PinError
from pinformers.ipfs.cid import CID
from pinformers.ipfs.unixfs import Directory, Entry, build_directory
from pinformers.pinning.records import MALFORMED

FORMAT = 1
Hub = Mapping[str, Any]
Origin = Literal["hub", "folder", "ipfs"]
_ORIGINS: Mapping[str, Origin] = {"folder": "folder", "ipfs": "ipfs"}
_REPO = re.compile(r"[\w.-]+(/[\w.-]+)?")
_UNFIT = re.compile(r"[\\\x00-\x1f\x7f-\x9f]")
# What git calls a commit or a blob by.
OID = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO_TYPES = ("model", "dataset", "space")
_REVISION = re.compile(r"[^\s\\:*?\"<>|\x00-\x1f]+")


def check_path(path: str) -> str:
    """Return ``path`` if it is a plain relative POSIX path; raise PinError otherwise: pins come from other machines."""
    if not is_path(path):
        raise PinError(repr(path), "this is not a relative path inside a model; the pin that names it is not used")
    return path


def is_path(path: str) -> bool:
    """Whether ``path`` is a plain relative POSIX path; one with control characters is none, a terminal obeys them."""
    parts = path.split("/")
    return bool(path) and not _UNFIT.search(path) and not any(part in ("", ".", "..") for part in parts)


def check_repo(repo: str) -> str:
    """Return ``repo`` if it has the hub's form ``name`` or ``org/name``; raise PinError otherwise."""
    # The rules of huggingface_hub's validate_repo_id; "--" would also make two repos share a folder.
    wrong = ".." in repo or "--" in repo or repo.startswith((".", "-")) or repo.endswith((".", "-", ".git"))
    if wrong or len(repo) > 96 or not _REPO.fullmatch(repo):
        raise PinError(repr(repo), "a model is named like 'org/model', in letters, digits, '.', '_' and '-'")
    return repo


def commit_of(cid: CID) -> str:
    """Return the commit that stands for a CID: the first 40 hex digits of its digest."""
    return cid.digest.hex()[:40]


def check_commit(commit: str) -> str:
    """Return ``commit`` if it is 40 hex digits; raise PinError otherwise."""
    if not OID.fullmatch(commit):
        raise PinError(repr(commit), "a commit is 40 hex digits")
    return commit


def check_revision(revision: str) -> str:
    """Return ``revision`` if it can be a git ref; raise PinError otherwise."""
    if not _REVISION.fullmatch(revision) or any(part in ("", ".", "..") for part in revision.split("/")):
        raise PinError(repr(revision), "a revision is a branch, a tag or a commit of 40 hex digits")
    return revision


def pointer_id(sha256: str, size: int) -> str:
    """Return the git blob id of an LFS pointer, by which the hub's tree calls an LFS file (git-lfs spec v1)."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()


def full_name(repo: str, repo_type: str) -> str:
    """Name a repo as the hub's URLs do: ``org/model``, ``datasets/org/rows``, ``spaces/org/app``."""
    return repo if repo_type == "model" else f"{repo_type}s/{repo}"


def parse_name(name: str) -> tuple[str, str]:
    """Return the repo and the repo type that a full name means."""
    kind, _, repo = name.partition("/")
    return (repo, kind.removesuffix("s")) if kind in ("datasets", "spaces") and repo else (name, "model")


@functools.lru_cache(maxsize=1024)
def repo_folder(repo: str, repo_type: str) -> str:
    """Name the folder of a repo as huggingface_hub does: ``models--org--name``."""
    return "--".join([f"{repo_type}s", *check_repo(repo).split("/")])


_NO_WORD: Hub = {}


class PinnedFile(NamedTuple):
    """One file: ``size`` in bytes, its CID, the size of its DAG, its sha256, and what the hub's tree says of it.

    ``sha256`` is empty, and ``dag_size`` 0, while only the CID is known: a file that others added, before it was here.
    ``hub`` has the keys of huggingface_hub's tree cache: size, blob_id, lfs_sha256, lfs_size, xet_hash.
    """

    size: int
    cid: str
    dag_size: int
    sha256: str
    hub: Hub = _NO_WORD

    @property
    def etag(self) -> str | None:
        """The name of its blob in the hub cache: the LFS sha256 or else the git blob id."""
        name = self.hub.get("lfs_sha256") or self.hub.get("blob_id")
        return name if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else None

    def to_json(self) -> dict[str, Any]:
        fields = {"size": self.size, "cid": self.cid, "dag_size": self.dag_size, "sha256": self.sha256}
        return {**fields, "hub": dict(self.hub)} if self.hub else fields

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PinnedFile:
        cid, sha256, hub = str(CID.parse(value["cid"])), str(value["sha256"]), dict(value.get("hub", {}))
        if (sha256 and not _SHA256.fullmatch(sha256)) or hub.get("lfs_sha256", sha256) != sha256:
            # The hub cache trusts a blob that is named by a sha256 to have it.
            raise ValueError(f"{sha256!r} is no sha256, or not the one of the LFS file")
        return cls(int(value["size"]), cid, int(value["dag_size"]), sha256, hub)


def same_bytes(one: PinnedFile, other: PinnedFile) -> bool:
    """Whether two describe the same bytes: by the CID or, where they cut them in different ways, by the sha256."""
    return one.cid == other.cid or "" != one.sha256 == other.sha256


class Pin(NamedTuple):
    """A repo at a commit. ``others`` are paths of the commit that are not pinned (yet).

    ``listed`` says that ``files`` and ``others`` are together all there is: any other path is absent.
    ``info`` is what the hub said of the model: pipeline_tag, library_name, tags. ``learned`` names the lockfile or
    the shared catalog that it came from; a pin made on this machine has none. ``root_cid`` is the CID by which a pin of
    the origin "ipfs" was asked for: its folder, or its one file, in whatever layout others gave it.
    """

    repo: str
    commit: str
    files: Mapping[str, PinnedFile] = {}
    others: Mapping[str, Hub] = {}
    listed: bool = False
    info: Mapping[str, Any] | None = None
    origin: Origin = "hub"
    repo_type: str = "model"
    pinned_at: str = ""
    learned: str = ""
    root_cid: str = ""

    @property
    def name(self) -> str:
        """Its repo, as the hub's URLs name it."""
        return full_name(self.repo, self.repo_type)

    @property
    def listing(self) -> dict[str, Hub] | None:
        """Every path of the commit with the hub's word on it, or None when not all are known."""
        return {**self.others, **{path: file.hub for path, file in self.files.items()}} if self.listed else None

    @property
    def complete(self) -> bool:
        """Whether every file of the commit is pinned."""
        return self.listed and not self.others

    @property
    def size(self) -> int:
        """The bytes of all pinned files."""
        return sum(file.size for file in self.files.values())

    @property
    def root(self) -> str:
        """The CID of the folder of all pinned files."""
        return self.root_cid or str(self.directory().cid)

    @property
    def dags(self) -> frozenset[str]:
        """The CIDs under which inner blocks are kept for this pin."""
        return frozenset({file.cid for file in self.files.values()} | ({self.root_cid} if self.root_cid else set()))

    def of_files(self, files: Mapping[str, PinnedFile]) -> Pin:
        """Return what can be said of it by who knows but ``files``: nothing of the commit's other paths."""
        return self._replace(files=files, others={}, listed=False, info=None)

    def directory(self) -> Directory:
        """Build the UnixFS folder of the pinned files; of a ``root_cid``, `folder_nodes` has the blocks instead."""
        entries = {path: Entry(CID.parse(file.cid), file.size, file.dag_size) for path, file in self.files.items()}
        return build_directory(entries)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "repo": self.repo,
            "repo_type": self.repo_type,
            "commit": self.commit,
            "root": self.root,
            "origin": self.origin,
            "pinned_at": self.pinned_at,
            "learned": self.learned,
            "listed": self.listed,
            "info": dict(self.info) if self.info is not None else None,
            "files": {path: file.to_json() for path, file in sorted(self.files.items())},
            "others": {path: dict(hub) for path, hub in sorted(self.others.items())},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Pin:
        """Read a pin; raise PinError, with one sentence, for anything that is not one."""
        try:
            if value["format"] != FORMAT or value["repo_type"] not in _REPO_TYPES:
                raise ValueError(f"its format is {value['format']!r}, its type {value['repo_type']!r}")
            return cls(
                repo=check_repo(value["repo"]),
                commit=check_commit(value["commit"]),
                files={check_path(path): PinnedFile.from_json(file) for path, file in value["files"].items()},
                others={check_path(path): dict(hub) for path, hub in value["others"].items()},
                listed=bool(value["listed"]),
                info=None if value["info"] is None else dict(value["info"]),
                origin=_ORIGINS.get(value["origin"], "hub"),
                repo_type=str(value["repo_type"]),
                pinned_at=str(value["pinned_at"]),
                learned=str(value.get("learned", "")),
                root_cid=str(CID.parse(value["root"])) if value["origin"] == "ipfs" else "",
            )
        except MALFORMED as exc:
            raise PinError(f"{value.get('repo', 'a pin record')}", f"its pin cannot be read ({exc!r})") from exc


def agree(one: Pin, other: Pin) -> bool:
    """Whether two pins of a commit name the same bytes for every file that both have."""
    return all(same_bytes(one.files[path], other.files[path]) for path in one.files.keys() & other.files.keys())


def only_files(known: Pin, new: Pin) -> bool:
    """Whether ``new`` can say nothing more of a known commit than of its files."""
    return new.info is None and not new.others and new.listed <= known.listed


def joined(known: Pin, new: Mapping[str, PinnedFile]) -> Pin:
    """Return a pin with what is ``new`` of its files; itself where nothing is, however many it has."""
    files = {path: _joined(known.files[path], file) if path in known.files else file for path, file in new.items()}
    files = {path: file for path, file in files.items() if file != known.files.get(path)}
    if not files:
        return known
    others = {path: hub for path, hub in known.others.items() if path not in files}
    return known._replace(files={**known.files, **files}, others=others)


def merge(known: Pin | None, new: Pin) -> Pin:
    """Return ``new`` joined with what was ``known`` of the same commit; a file keeps the CID it was pinned with."""
    if known is not None and only_files(known, new):
        return joined(known, new.files)
    first = known or new
    files = {**new.files, **{path: _joined(file, new.files.get(path)) for path, file in first.files.items()}}
    return Pin(
        repo=first.repo,
        commit=first.commit,
        files=files,
        others={path: hub for path, hub in {**first.others, **new.others}.items() if path not in files},
        listed=first.listed or new.listed,
        info={**(first.info or {}), **new.info} if new.info is not None else first.info,
        origin=first.origin,
        repo_type=first.repo_type,
        pinned_at=first.pinned_at,
        learned=first.learned,
        root_cid=first.root_cid,
    )


def _joined(known: PinnedFile, new: PinnedFile | None) -> PinnedFile:
    if new is None or new.cid != known.cid:
        return known
    hub, sha256 = {**known.hub, **new.hub}, known.sha256 or new.sha256
    return PinnedFile(known.size, known.cid, known.dag_size or new.dag_size, sha256, hub)
