"""Give a pin to a Kubo daemon, with the CIDs that we computed: without a second copy where that is possible."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pinformers._errors import BadBlock, BlockMismatch, PinError, SourceError, SourceUnavailable
from pinformers.ipfs.cid import CID, IDENTITY, Block
from pinformers.ipfs.dag import Leaf, leaf_block
from pinformers.ipfs.layout import UNIXFS_V1_2025, Balanced, Part
from pinformers.pinning.adoption import folder_nodes, kept_dag
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin, repo_folder
from pinformers.pinning.records import MALFORMED, read_json, signature, write_json

How = Literal["nocopy", "copied", "there"]
_THERE: tuple[How, str] = ("there", "the daemon had its blocks")
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
    def forget_dead(self, cids: Sequence[CID]) -> None: ...
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

    The folder that was published from here before, and that the pin outgrew, is pinned no longer. Raises
    SourceUnavailable where the daemon does not answer, SourceError where it refuses, PinError where a file is not here
    as it was pinned.
    """
    root, name = CID.parse(pin.root), _label(pin)
    before = {cid for cid, label in node.pins(name).items() if label == name}
    sending = _Sending(catalog, pin, node)
    if root in before and sending.known is not None and sending.nothing_moved():
        return sending.known
    done = Published(pin.root, node.url, {path: sending.file(path) for path in sorted(pin.files)})
    node.import_car(folder_nodes(catalog, pin), [root])
    node.pin(root, name)
    # Others that share the daemon may keep other files of the same commit, under the same name.
    for cid in before - {root}:
        if sending.known is not None and str(cid) == sending.known.root:
            node.unpin(cid)
    write_json(_record_path(catalog, pin), done.to_json())
    _logger.info("%s is published as /ipfs/%s by the daemon at %s.", pin.repo, pin.root, node.url)
    return done


class Withdrawal:
    """What a daemon keeps of a pin; looked at before the pin is removed here, and carried out after."""

    def __init__(self, catalog: Catalog, pin: Pin) -> None:
        self.known = published(catalog, pin)
        self._label, self._record = _label(pin), _record_path(catalog, pin)
        self._referred: list[CID] = []
        for path, (how, _) in self.known.files.items() if self.known is not None else ():
            if how == "nocopy" and path in pin.files:
                with contextlib.suppress(BadBlock):
                    self._referred += [leaf.cid for leaf in kept_dag(catalog, pin.files[path])[1]]

    def carry_out(self, node: Node) -> bool:
        """Have ``node`` pin the folder no longer, and its filestore drop the files that are gone.

        What is pinned there under another name stays pinned. Returns False where ``node`` is another daemon; raises
        SourceError where it does not answer or refuses.
        """
        if self.known is None or node.url != self.known.url:
            return False
        root = CID.parse(self.known.root)
        if node.pins(self._label).get(root) == self._label:
            node.unpin(root)
        # Of a block whose file is gone it says that it has it, and then waits for the swarm.
        node.forget_dead(self._referred)
        self._record.unlink(missing_ok=True)
        return True


def _label(pin: Pin) -> str:
    return f"{pin.repo}@{pin.commit}"


def _record_path(catalog: Catalog, pin: Pin) -> Path:
    return catalog.state_dir / "published" / repo_folder(pin.repo, pin.repo_type) / f"{pin.commit}.json"


@dataclass(frozen=True, slots=True)
class _File:
    """A pinned file at ``here`` and the blocks of its DAG: the ``inner`` ones, and where its ``leaves`` lie in it."""

    cid: CID
    here: Path
    inner: Mapping[CID, bytes]
    leaves: Sequence[Leaf]

    @property
    def cids(self) -> list[CID]:
        """Its blocks, the root first."""
        found = dict.fromkeys((self.cid, *self.inner, *(leaf.cid for leaf in self.leaves)))
        return [cid for cid in found if cid.hash_code != IDENTITY]

    def cut_as_ours(self) -> bool:
        """Whether Kubo makes this DAG of the file: files that came by the CID of others may be cut in other ways."""
        chunk, tree = UNIXFS_V1_2025.chunk, Balanced(UNIXFS_V1_2025)
        if not self.leaves or any(leaf.size != chunk for leaf in self.leaves[:-1]) or self.leaves[-1].size > chunk:
            return False
        for leaf in self.leaves:
            tree.add(Part(leaf.cid, leaf.size, leaf.size))
        return tree.finish()[0].cid == self.cid

    def blocks(self) -> Iterator[Block]:
        """Yield the inner blocks and then the leaves, each hashed while it is read; raises PinError for others."""
        yield from (Block(cid, block) for cid, block in self.inner.items())
        with open(self.here, "rb") as stream:
            for leaf in self.leaves:
                stream.seek(leaf.offset)
                piece = stream.read(leaf.size)
                try:
                    block = leaf_block(leaf, piece, self.inner)
                except BlockMismatch as exc:
                    advice = "its bytes are not the blocks that were pinned; `pinformers verify` says more"
                    raise PinError(str(self.here), advice) from exc
                if block is not None:
                    yield Block(leaf.cid, block)


class _Sending:
    """The files of one pin on their way to one daemon."""

    def __init__(self, catalog: Catalog, pin: Pin, node: Node) -> None:
        self._catalog, self._pin, self._node = catalog, pin, node
        known = published(catalog, pin)
        self.known = known if known is not None and known.url == node.url else None
        self._filestore: tuple[Path | None, str] | None = None

    def nothing_moved(self) -> bool:
        """Whether the daemon was told of these very files, and its filestore refers to where they lie now."""
        if self.known is None or self.known.root != self._pin.root or set(self.known.files) != set(self._pin.files):
            return False
        files = self.known.files.items()
        return all(why == _refers(self._here(path)) for path, (how, why) in files if how == "nocopy")

    def file(self, path: str) -> tuple[How, str]:
        """Send one file; returns how, and why so."""
        file = self._file(path)
        lacking = self._lacking(file.cids)
        if not lacking:
            without = "nocopy", _refers(file.here)
            return without if self.known and self.known.files.get(path) == without else _THERE
        parent, why_not = self._taken_below()
        if parent is not None:
            self._node.forget_dead(lacking)
            why_not = self._without_copy(file, parent)
            if not why_not:
                return "nocopy", _refers(file.here)
        self._node.import_car(file.blocks(), [file.cid])
        return "copied", why_not

    def _without_copy(self, file: _File, parent: Path) -> str:
        """Have the filestore refer to a file; returns why it does not."""
        if parent not in file.here.parents:
            return f"the filestore takes only what lies below {parent}, and it lies at {file.here}"
        if not file.cut_as_ours():
            return "`chunking = tensors`, or others whose CID it is, cut it in another way than the filestore does"
        try:
            self._node.add_nocopy(file.here, file.cid)
        except SourceUnavailable:
            raise
        except SourceError as exc:
            return f"the filestore did not take it: {exc.reason.rstrip('.')}"
        if self._node.has(file.leaves[0].cid):
            return ""
        # It takes any path below the repo's parent, whether or not it may read it: that of a daemon with its own user.
        self._node.forget_dead(file.cids)
        return f"the daemon cannot read {file.here}; its user may not, or it sees other folders"

    def _file(self, path: str) -> _File:
        pinned = self._pin.files[path]
        here = self._here(path)
        inner, leaves = kept_dag(self._catalog, pinned)
        try:
            return _File(CID.parse(pinned.cid), here, inner, list(leaves))
        except BadBlock as exc:
            advice = "its inner blocks are not kept; `pinformers verify` makes them again"
            raise PinError(f"{self._pin.repo}/{path}", advice) from exc

    def _here(self, path: str) -> Path:
        for place in self._catalog.places(self._pin):
            target = RepoCache(place.cache_dir, self._pin.repo, self._pin.repo_type).file(self._pin.commit, path)
            looks = signature(target)
            if looks is not None and looks == place.files.get(path):
                # What a link leads to: the filestore follows none.
                return target.resolve()
        subject = f"{self._pin.repo}/{path}"
        if not any(path in place.files for place in self._catalog.places(self._pin)):
            raise PinError(
                subject, f"it is not here, so it is not published; `pinformers pin {self._pin.repo}` brings it"
            )
        raise PinError(subject, "it is not as it was pinned, so it is not published; `pinformers verify` says more")

    def _lacking(self, cids: Sequence[CID]) -> Sequence[CID]:
        """Return the blocks that the daemon has not; all of them where it has not the first, the root."""
        if cids and not self._node.has(cids[0]):
            return cids
        return [cid for cid in cids if not self._node.has(cid)]

    def _taken_below(self) -> tuple[Path | None, str]:
        """Return the folder below which the daemon takes files without a copy, or why it takes none."""
        if self._filestore is None:
            self._filestore = _filestore(self._node)
        return self._filestore


def _refers(here: Path) -> str:
    return f"the filestore refers to {here}"


def _filestore(node: Node) -> tuple[Path | None, str]:
    if not node.local:
        return None, "the daemon runs on another machine"
    if not node.filestore_enabled():
        advice = "`ipfs config --json Experimental.FilestoreEnabled true` and a restart of the daemon save the copy"
        return None, f"its filestore is off; {advice}"
    return node.repo_path().resolve().parent, ""
