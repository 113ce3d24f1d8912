"""Take what lies in the hub cache into the catalog: hash it once, check it against the hub's own word, record it."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pinformers._errors import BadBlock, BadCar, BlockMismatch
from pinformers.ipfs.car import read_car, write_car
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.dag import Leaf, known_leaves, leaf_block
from pinformers.ipfs.layout import dag_size
from pinformers.ipfs.tensors import Chunking
from pinformers.ipfs.unixfs import FileDag, hash_file
from pinformers.pinning.access import CARD_WORDS
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.pin import Hub, Pin, PinnedFile, pointer_id
from pinformers.pinning.records import Stat, signature, write_bytes
from pinformers.pinning.times import now

_BATCH = 1 << 30
_logger = logging.getLogger("pinformers")


class Facts(NamedTuple):
    """What the hub said of a commit beside its files: the complete ``listing``, and ``info`` of the model."""

    listing: Mapping[str, Hub] | None = None
    info: Mapping[str, Any] | None = None

    def joined(self, other: Facts) -> Facts:
        """Return both, the fuller listing winning entry by entry."""
        listing = self.listing if other.listing is None else other.listing
        if self.listing is not None and other.listing is not None:
            listing = {path: {**self.listing.get(path, {}), **entry} for path, entry in other.listing.items()}
        info = None if self.info is None and other.info is None else {**(self.info or {}), **(other.info or {})}
        return Facts(listing, info)


def model_facts(info: object) -> Facts:
    """Read a ``ModelInfo`` of huggingface_hub: the model's card, and its files as far as they are described."""
    said = {name: getattr(info, name, None) for name in CARD_WORDS}
    said |= {name: word for name in ("private", "gated") if (word := getattr(info, name, None)) is not None}
    listing = {str(sibling.rfilename): tree_entry(sibling) for sibling in getattr(info, "siblings", None) or ()}
    return Facts(listing or None, said)


def tree_entry(entry: object) -> dict[str, Any]:
    """Read a ``RepoFile`` or ``RepoSibling`` of huggingface_hub into the keys of its tree cache."""
    found = {name: getattr(entry, name, None) for name in ("size", "blob_id", "xet_hash")}
    lfs = getattr(entry, "lfs", None)
    if lfs is not None:
        found.update(lfs_sha256=lfs.sha256, lfs_size=lfs.size)
    return {name: value for name, value in found.items() if value is not None}


class Watch:
    """What a long piece of work tells and is told: bytes done, and whether to stop between two chunks."""

    def __init__(self, progress: Callable[[int], None] | None = None, stop: Callable[[], bool] | None = None) -> None:
        self.progress, self.stop = progress, stop
        self.rejected: dict[str, str] = {}


class Batch:
    """Hashed files that wait to be recorded together: the record of a pin is written whole and synced each time."""

    def __init__(self) -> None:
        self.files: dict[str, PinnedFile] = {}
        self.stats: dict[str, Stat] = {}
        self.since = time.monotonic()

    def add(self, path: str, file: PinnedFile, stat: Stat) -> None:
        self.files[path], self.stats[path] = file, stat

    @property
    def due(self) -> bool:
        """Whether it is time: after a second, or as many bytes as take about that long to hash."""
        return time.monotonic() - self.since > 1.0 or sum(file.size for file in self.files.values()) > _BATCH


class Adoption:
    """Adopt one commit in one hub cache; ``chunking`` is for files that no pin names yet.

    ``pin`` says which commit, and what is known of it: it counts where it was not recorded, or `rm` removed it.
    """

    def __init__(self, catalog: Catalog, cache: RepoCache, pin: Pin, chunking: Chunking = "fixed") -> None:
        self._catalog, self._cache, self._pin, self._chunking = catalog, cache, pin, chunking

    def pending(self) -> list[tuple[str, int]]:
        """Return the files that are here and not recorded as they are, with their sizes in bytes."""
        known = self._known()
        place = self._catalog.place(known, self._cache.cache_dir)
        found = ((path, signature(self._cache.file(known.commit, path))) for path in self._cache.files(known.commit))
        return [(path, stat[0]) for path, stat in found if stat is not None and stat != place.files.get(path)]

    def run(self, facts: Facts, watch: Watch) -> Pin:
        """Hash and record what is pending; a stop (InterruptedError) loses the file that is being hashed at most."""
        listing = self._cache.tree(self._pin.commit)
        facts = facts.joined(Facts(listing)) if listing is not None else facts
        pin = self._record({}, {}, facts)
        batch = Batch()
        try:
            for path, _ in self.pending():
                adopted = self._adopt(path, facts, watch)
                if adopted is not None:
                    batch.add(path, *adopted)
                elif path in watch.rejected and path not in pin.files:
                    _logger.warning("%s in %s is not pinned: %s.", path, self._cache.folder, watch.rejected[path])
                if batch.due:
                    self._record(batch.files, batch.stats, facts)
                    batch = Batch()
        finally:
            pin = self._record(batch.files, batch.stats, facts)
        return pin

    def confirm(self, path: str) -> tuple[PinnedFile, Stat] | None:
        """Hash one pinned file that changed its looks or is new; returns it if it is still what the pin says."""
        return self._adopt(path, Facts(), Watch())

    def record(self, path: str, file: PinnedFile, made: Iterable[str] = (), stat: Stat | None = None) -> None:
        """Record a file that was verified, as it looks now or as ``stat`` says, and what was made to place it."""
        looks = stat or signature(self._cache.file(self._pin.commit, path))
        if looks is not None:
            self._record({path: file}, {path: looks}, Facts(), frozenset(made))

    def note_made(self, made: list[str]) -> None:
        """Record what we created in the repo's folder, so that it may be deleted again."""
        if made:
            self._record({}, {}, Facts(), frozenset(made))

    # -- inner ------------------------------------------------------------------------------------------------

    def _known(self, path: str = "") -> Pin:
        """Return the pin as it is recorded, or as it was given where no record has ``path``."""
        pin = self._pin
        known = self._catalog.pin(pin.repo, pin.commit, pin.repo_type)
        return known if known is not None and (path in known.files or path not in pin.files) else pin

    def _adopt(self, path: str, facts: Facts, watch: Watch) -> tuple[PinnedFile, Stat] | None:
        target = self._cache.file(self._pin.commit, path)
        before = signature(target)
        if before is None:
            return None
        if facts.listing is not None and path not in facts.listing:
            watch.rejected[path] = "the hub's listing of this commit does not have it"
            return None
        hub = self._hub_entry(path, before[0], facts)
        # The blob id of an LFS file is that of its pointer, so its bytes need no git hash.
        git = "blob_id" in hub and "lfs_sha256" not in hub
        pin = self._known(path)
        pinned = pin.files.get(path)
        try:
            if pinned is None:
                dag = hash_file(target, git=git, progress=watch.progress, stop=watch.stop, chunking=self._chunking)
            else:
                dag = hash_pinned(self._catalog, pinned, target, watch, git=git)
            problem = _contradiction(dag, hub)
            if problem is None and pinned is not None:
                problem = departure(self._catalog, pin, path, dag, target)
        except FileNotFoundError:
            # Deleted meanwhile: there is nothing to pin, and nothing wrong. Or else a folder of ours is gone.
            if signature(target) is not None:
                raise
            return None
        after = signature(target)
        if after is None:
            return None
        if problem is None and after != before:
            problem = "it changed while it was read"
        if problem is not None:
            watch.rejected[path] = problem
            return None
        if pinned is not None and pinned.cid != str(dag.cid):
            return pinned._replace(sha256=dag.sha256, hub=hub), before
        keep_blocks(self._catalog, dag.cid, dag.nodes)
        return PinnedFile(dag.size, str(dag.cid), dag.dag_size, dag.sha256, hub), before

    def _hub_entry(self, path: str, size: int, facts: Facts) -> Hub:
        known = self._known(path).files.get(path)
        entry = {**(known.hub if known is not None else {}), **(facts.listing or {}).get(path, {})}
        etag = self._cache.etag(self._pin.commit, path)
        if etag is not None and len(etag) == 64:
            entry.setdefault("lfs_sha256", etag)
            entry.setdefault("lfs_size", size)
            # Where the hub said nothing more; that its tree calls it so is what lets a client keep the listing.
            entry.setdefault("blob_id", pointer_id(etag, size))
        elif etag is not None and len(etag) == 40:
            entry.setdefault("blob_id", etag)
        return {"size": size, **entry} if entry else entry

    def _record(
        self,
        files: Mapping[str, PinnedFile],
        stats: Mapping[str, Stat],
        facts: Facts,
        made: frozenset[str] = frozenset(),
    ) -> Pin:
        pin = self._pin._replace(
            files=files,
            others=facts.listing or {},
            listed=facts.listing is not None,
            info=facts.info,
            pinned_at=self._pin.pinned_at or now(),
        )
        place = Place(self._cache.cache_dir, stats, made)
        return self._catalog.add(pin, place)


def _contradiction(dag: FileDag, hub: Hub) -> str | None:
    """Say how the bytes contradict the hub's tree, or nothing when they do not."""
    if "size" in hub and hub["size"] != dag.size:
        return f"it has {dag.size} bytes and the hub says {hub['size']}"
    if hub.get("lfs_sha256"):
        wrong = hub["lfs_sha256"] != dag.sha256
        return f"its sha256 is {dag.sha256} and the hub says {hub['lfs_sha256']}" if wrong else None
    if hub.get("blob_id") and hub["blob_id"] != dag.git_blob:
        return f"its git blob id is {dag.git_blob} and the hub says {hub['blob_id']}"
    return None


def hash_pinned(catalog: Catalog, file: PinnedFile, target: Path, watch: Watch, *, git: bool = False) -> FileDag:
    """Hash a file that should be the pinned one, and cut it as the pin has it where that is a cut of ours."""
    # The size of its blocks tells the cut: leaves that begin with tensors are more than those of a fixed size.
    ours: tuple[Chunking, Chunking] = ("fixed", "tensors")
    first, second = ours if file.dag_size in (0, dag_size(file.size)) else ours[::-1]
    dag = hash_file(target, git=git, progress=watch.progress, stop=watch.stop, chunking=first)
    unlike = str(dag.cid) != file.cid and dag.size == file.size and file.sha256 in ("", dag.sha256)
    if not unlike or catalog.dag_path(file.cid).exists():
        return dag
    # Right by its sha256, and no block is kept here that would tell how it was cut: others said so, the hub sent it.
    again = hash_file(target, git=git, stop=watch.stop, chunking=second)
    return again if str(again.cid) == file.cid else dag


def departure(catalog: Catalog, pin: Pin, path: str, dag: FileDag, target: Path) -> str | None:
    """Say how the bytes hashed at ``target`` are not the pinned file; nothing when they are, in any layout."""
    file = pin.files[path]
    if dag.size != file.size:
        return f"it has {dag.size} bytes and the pin says {file.size}"
    same = str(dag.cid) == file.cid or _laid_out(catalog, file, target)
    if not same and not ("" != file.sha256 == dag.sha256 and _placed(catalog, pin, path)):
        return f"its bytes are {dag.cid} and the pin says {file.cid}"
    wrong = file.sha256 not in ("", dag.sha256)
    return f"its sha256 is {dag.sha256} and the pin says {file.sha256}" if wrong else None


def _placed(catalog: Catalog, pin: Pin, path: str) -> bool:
    """Whether a file was recorded in a cache here: its sha256 is then that of bytes which were what the CID says."""
    return any(path in place.files for place in catalog.places(pin))


def _laid_out(catalog: Catalog, file: PinnedFile, target: Path) -> bool:
    """Whether the bytes at ``target`` are the leaves of a file that others cut in another way, by its kept blocks."""
    inner, leaves = kept_dag(catalog, file)
    try:
        with open(target, "rb") as stream:
            for leaf in leaves:
                stream.seek(leaf.offset)
                leaf_block(leaf, stream.read(leaf.size), inner)
    except (BadBlock, BlockMismatch):
        return False
    return True


def folder_nodes(catalog: Catalog, pin: Pin) -> tuple[Block, ...]:
    """Return the blocks of a pin's folders: built, or kept where the pin was asked for by a CID of others."""
    if not pin.root_cid:
        return pin.directory().nodes
    # Of a pin that is one file, the blocks at this place are the file's own.
    alone = any(file.cid == pin.root_cid for file in pin.files.values())
    return () if alone else kept_blocks(catalog.dag_path(pin.root_cid))


def keep_blocks(catalog: Catalog, cid: CID, nodes: tuple[Block, ...]) -> None:
    """Keep the inner blocks of a DAG as a small CAR; a DAG of one raw block has none."""
    path = catalog.dag_path(str(cid))
    if nodes and not path.exists():
        out = io.BytesIO()
        write_car(out, [cid], nodes)
        write_bytes(path, out.getvalue())


def kept_dag(catalog: Catalog, file: PinnedFile) -> tuple[dict[CID, bytes], Iterator[Leaf]]:
    """Return the inner blocks that are kept of a file, and its leaves, which raise BadBlock where one is not kept."""
    inner = {block.cid: block.data for block in kept_blocks(catalog.dag_path(file.cid))}
    return inner, known_leaves(CID.parse(file.cid), file.size, inner)


def kept_blocks(path: Path) -> tuple[Block, ...]:
    """Return the blocks of such a CAR, verified; none when it is missing or damaged."""
    try:
        with open(path, "rb") as stream:
            return tuple(read_car(stream)[1])
    except FileNotFoundError:
        return ()
    except (BadCar, BlockMismatch) as exc:
        _logger.warning("%s: %s It is passed over; `pinformers verify` writes it again.", path, exc)
        return ()
