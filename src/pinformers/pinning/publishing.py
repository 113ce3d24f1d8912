"""Give a pin to a Kubo daemon, with the CIDs that we computed: without a second copy where that is possible."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pinformers._errors import BlockMismatch, PinError, SourceError, SourceUnavailable
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.dag import leaves
from pinformers.pinning.adoption import folder_nodes, kept_blocks
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin, PinnedFile, repo_folder
from pinformers.pinning.records import MALFORMED, read_json, signature, write_json

How = Literal["nocopy", "copied", "there"]
_logger = logging.getLogger("pinformers")


class Node(Protocol):
    """What is asked of a Kubo daemon."""

    @property
    def url(self) -> str: ...
    @property
    def local(self) -> bool: ...
    def has(self, cid: CID) -> bool: ...
    def filestore_enabled(self) -> bool: ...
    def repo_path(self) -> Path: ...
    def import_car(self, blocks: Iterable[Block], roots: Sequence[CID]) -> None: ...
    def add_nocopy(self, path: Path, expected: CID) -> None: ...
    def pin(self, cid: CID, name: str) -> None: ...
    def unpin(self, cid: CID) -> None: ...
    def pins(self, name: str | None = None) -> Mapping[CID, str]: ...


@dataclass(frozen=True, slots=True)
class Published:
    """The ``root`` that a daemon at ``url`` keeps, and of each file how it got there and why so."""

    root: str
    url: str
    files: Mapping[str, tuple[How, str]]

    def to_json(self) -> dict[str, Any]:
        return {"root": self.root, "url": self.url, "files": {path: list(how) for path, how in self.files.items()}}


def published(catalog: Catalog, pin: Pin) -> Published | None:
    """Return how a pin was published last, or None; a record that cannot be read counts as none."""
    value = read_json(_record_path(catalog, pin))
    try:
        if value is None:
            return None
        files: dict[str, tuple[How, str]] = {str(path): (how[0], str(how[1])) for path, how in value["files"].items()}
        return Published(str(value["root"]), str(value["url"]), files)
    except MALFORMED:
        return None


def publish(catalog: Catalog, pin: Pin, node: Node) -> Published:
    """Have ``node`` keep the folder of a pin's files, pinned as ``org/model@commit``.

    A folder that the pin outgrew is pinned no longer. Raises SourceUnavailable where the daemon does not answer,
    SourceError where it refuses, PinError where a file is not here as it was pinned.
    """
    root, name = CID.parse(pin.root), f"{pin.repo}@{pin.commit}"
    before = {cid: label for cid, label in node.pins(name).items() if label == name}
    known = published(catalog, pin)
    if root in before and known is not None and (known.root, known.url) == (pin.root, node.url):
        return known
    sending = _Sending(catalog, pin, node)
    done = Published(pin.root, node.url, {path: sending.file(path) for path in sorted(pin.files)})
    node.import_car(folder_nodes(catalog, pin), [root])
    node.pin(root, name)
    for old in before:
        if old != root:
            node.unpin(old)
    write_json(_record_path(catalog, pin), done.to_json())
    _logger.info("%s is published as /ipfs/%s by the daemon at %s.", pin.repo, pin.root, node.url)
    return done


def _record_path(catalog: Catalog, pin: Pin) -> Path:
    return catalog.state_dir / "published" / repo_folder(pin.repo, pin.repo_type) / f"{pin.commit}.json"


class _Sending:
    """The files of one pin on their way to one daemon."""

    def __init__(self, catalog: Catalog, pin: Pin, node: Node) -> None:
        self._catalog, self._pin, self._node = catalog, pin, node
        self._parent, self._why_not = _filestore(node)

    def file(self, path: str) -> tuple[How, str]:
        """Send one file; returns how, and why so."""
        file = self._pin.files[path]
        cid = CID.parse(file.cid)
        here = self._here(path)
        nodes = kept_blocks(self._catalog.dag_path(file.cid))
        if self._has_all(cid, file, nodes):
            return "there", "the daemon had its blocks"
        why_not = self._why_not or self._outside(here)
        if not why_not:
            try:
                self._node.add_nocopy(here, cid)
                return "nocopy", f"the filestore refers to {here}"
            except SourceUnavailable:
                raise
            except SourceError as exc:
                why_not = f"the filestore did not take it: {exc.reason.rstrip('.')}"
        self._node.import_car(_blocks(here, file, nodes), [cid])
        return "copied", why_not

    def _here(self, path: str) -> Path:
        for place in self._catalog.places(self._pin):
            target = RepoCache(place.cache_dir, self._pin.repo, self._pin.repo_type).file(self._pin.commit, path)
            looks = signature(target)
            if looks is not None and looks == place.files.get(path):
                # What a link leads to: the filestore follows none.
                return target.resolve()
        advice = "it is not in the cache as it was pinned, so it is not published; `pinformers verify` says more"
        raise PinError(f"{self._pin.repo}/{path}", advice)

    def _outside(self, file: Path) -> str:
        if self._parent is not None and self._parent in file.parents:
            return ""
        return f"the filestore takes only what lies below {self._parent}, and it lies at {file}"

    def _has_all(self, cid: CID, file: PinnedFile, nodes: Sequence[Block]) -> bool:
        if not self._node.has(cid):
            return False
        kept = {block.cid: block.data for block in nodes}
        try:
            return all(self._node.has(leaf.cid) for leaf in leaves(cid, kept.__getitem__, size=file.size))
        except KeyError:
            return False


def _filestore(node: Node) -> tuple[Path | None, str]:
    """Return the folder below which the daemon takes files without a copy, or why it takes none."""
    if not node.local:
        return None, "the daemon runs on another machine"
    if not node.filestore_enabled():
        advice = "`ipfs config --json Experimental.FilestoreEnabled true` and a restart of the daemon save the copy"
        return None, f"its filestore is off; {advice}"
    return node.repo_path().resolve().parent, ""


def _blocks(path: Path, file: PinnedFile, nodes: Sequence[Block]) -> Iterator[Block]:
    """Yield the inner blocks of a file and then its leaves, each hashed while it is read."""
    yield from nodes
    if not file.size and not nodes:
        # An empty file is one empty block, which no leaf names.
        yield Block(CID.parse(file.cid), b"")
    kept = {block.cid: block.data for block in nodes}
    try:
        found = list(leaves(CID.parse(file.cid), kept.__getitem__, size=file.size))
    except KeyError as exc:
        raise PinError(str(path), "its inner blocks are not kept; `pinformers verify` makes them again") from exc
    with open(path, "rb") as stream:
        for leaf in found:
            if leaf.wrapped:
                raise PinError(str(path), "its blocks hold more than its bytes, and were not kept")
            stream.seek(leaf.offset)
            block = stream.read(leaf.size)
            try:
                leaf.cid.verify(block)
            except BlockMismatch as exc:
                raise PinError(str(path), "it changed since it was pinned; `pinformers verify` says more") from exc
            yield Block(leaf.cid, block)
