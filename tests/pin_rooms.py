"""Small real pin wings for tests: a resolver over folders of the test's own, caches filled by huggingface_hub."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from hub_stub import HubStub
from pinformers._composition import build_resolver
from pinformers._errors import BlockNotFound
from pinformers._settings import Settings
from pinformers.ipfs.cid import CID
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.records import lock
from pinformers.pinning.resolver import Resolver

REPO = "org/model"
FILES: Mapping[str, bytes] = {
    "config.json": b'{"model_type": "bert"}',
    "empty.txt": b"",
    "model.safetensors": bytes(range(256)) * 9000,  # three chunks
    "sub/vocab.txt": b"a\nb\n",
}


def pinned(content: bytes, **hub: Any) -> PinnedFile:
    """Pin a file of one chunk."""
    digest = hashlib.sha256(content)
    return PinnedFile(len(content), str(CID.raw(digest.digest())), len(content), digest.hexdigest(), hub)


PIN = Pin(REPO, "c" * 40, {"a.json": pinned(b"a", blob_id="b" * 40)}, {"big.bin": {"size": 9}}, listed=True)


class MemorySource:
    """A source that holds blocks in a dict, counts what it is asked and can lie."""

    def __init__(self, blocks: Mapping[CID, bytes], name: str = "memory") -> None:
        self.name, self.blocks, self.asked, self.local = name, dict(blocks), 0, True

    def block(self, cid: CID) -> bytes:
        self.asked += 1
        if cid not in self.blocks:
            raise BlockNotFound(self.name, "it was never put here")
        return self.blocks[cid]


def hold_lock(path: str, held: Event, release: Event) -> None:
    """Hold a lock, in a process of its own, from ``held`` to ``release``."""
    with lock(Path(path), 10.0):
        held.set()
        release.wait(10)


def make_resolver(folder: Path, **settings: object) -> Resolver:
    """Return a resolver whose cache and records lie under ``folder``."""
    given = {"cache_dir": folder / "hub", "state_dir": folder / "pinformers", "sources": ("embedded", "hub")} | settings
    return build_resolver(Settings(**given))  # type: ignore[arg-type]


def write_folder(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """Write ``files`` under ``folder``."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def fill_cache(hub: HubStub, cache_dir: Path, files: Mapping[str, bytes] = FILES, paths: Sequence[str] = ()) -> str:
    """Let plain huggingface_hub download ``files`` (or only ``paths``) of REPO; return the commit."""
    commit = hub.add(REPO, dict(files))
    snapshot_download(REPO, endpoint=hub.url, cache_dir=cache_dir, allow_patterns=list(paths) or None)
    hub.reset()
    return commit


def tree(folder: Path) -> dict[str, tuple[str, object]]:
    """Describe every file, link and folder below ``folder`` by what it is, without following links."""
    found: dict[str, tuple[str, object]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_file():
            found[name] = ("file", (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns))
        else:
            found[name] = ("folder", None)
    return found
