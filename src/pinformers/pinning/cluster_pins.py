"""The pin set of an IPFS Cluster as a catalog.

What is pinned there is a folder of two entries: ``model``, the model's own root, and ``pin.json``, our record of it. So
the record is replicated with the model, and `ipfs ls` and `ipfs cat` show both. The metadata of the pin says which
model, commit and revisions it stands for; the cluster takes that from its trusted peers alone. All else is verified.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pinformers._errors import BadContent, PinError, PinformersError, SourceError
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.dag import Fetch, list_directory, read_file
from pinformers.ipfs.unixfs import Directory, Entry, FileHasher, build_directory
from pinformers.pinning.access import for_others
from pinformers.pinning.lookup import Found
from pinformers.pinning.pin import Pin
from pinformers.pinning.records import MALFORMED
from pinformers.pinning.shared_tree import foreign_pin
from pinformers.pinning.times import iso, moment
from pinformers.sources.cluster import ClusterNode, ClusterPin, Replication

MARK = "pinformers"
RECORD = "pin.json"
MODEL = "model"
_FORMAT = "1"
_REF = "ref-"
# The pin set of a fleet changes by the hour, and a process asks for the same few models again and again, once for each
# file. So a failure counts as long as an answer: a peer that is silent would cost each of them its patience.
_FRESH = 60.0
_RECORD_SIZE = 64 << 20
# A peer refuses requests whose headers, the query among them, pass 4 KiB.
_MAX_REFS = 16
_logger = logging.getLogger("pinformers")


class Blocks(Protocol):
    """A daemon that takes blocks."""

    def import_car(self, blocks: Iterable[Block], roots: Sequence[CID], /) -> object:
        """Store blocks."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model in the cluster: the folder that is pinned, and when (ns) each revision was seen at its commit."""

    cid: CID
    repo: str
    commit: str
    complete: bool
    pinned_ns: int
    seen: Mapping[str, int]

    @classmethod
    def read(cls, pin: ClusterPin) -> Offer | None:
        """Read the metadata of a pin; None where it is not ours."""
        said = pin.metadata
        if said.get(MARK) != _FORMAT or "repo" not in said or "commit" not in said:
            return None
        refs = ((key.removeprefix(_REF), _from_iso(when)) for key, when in said.items() if key.startswith(_REF))
        seen = {revision: when for revision, when in refs if when}
        complete = said.get("complete") == "yes"
        return cls(pin.cid, said["repo"], said["commit"], complete, _from_iso(pin.timestamp), seen)


class ClusterShelf:
    """The models that a cluster has pinned; ``fetch`` gets blocks from whoever has them."""

    def __init__(self, node: ClusterNode, fetch: Fetch) -> None:
        self.node, self._fetch = node, fetch
        self._lock = threading.Lock()
        self._offers: tuple[float, list[Offer] | SourceError] | None = None
        self._pins: dict[CID, Pin | tuple[float, SourceError]] = {}

    @property
    def label(self) -> str:
        """What ``explain`` calls it."""
        return self.node.name

    def find(self, repo: str, revision: str) -> Found | None:
        """Return the pin of a commit, or that at which a branch or tag was seen last; None where it has neither.

        Raises SourceError where the cluster, or its blocks, cannot be reached, PinError or BadContent for a record
        that is not what it should be.
        """
        offers = [offer for offer in self.offers() if offer.repo == repo]
        chosen = [offer for offer in offers if offer.commit == revision]
        if not chosen:
            seen = [offer for offer in offers if revision in offer.seen]
            # An older commit is no answer where the newest one cannot be read.
            newest = max(seen, key=lambda offer: offer.seen[revision], default=None)
            chosen = [offer for offer in seen if newest is not None and offer.commit == newest.commit]
        if not chosen:
            return None
        chosen.sort(key=lambda offer: (offer.complete, offer.pinned_ns), reverse=True)
        pin = self._first_readable(chosen)
        seen_ns = max(offer.seen.get(revision, offer.pinned_ns) for offer in chosen)
        return Found(pin, self.label, _how(self.label, revision, pin.commit, seen_ns), min(seen_ns, time.time_ns()))

    def publish(
        self, pin: Pin, revisions: Mapping[str, int], blocks: Blocks, replication: Replication | None = None
    ) -> CID:
        """Have the cluster pin a model whose blocks are with the daemon ``blocks`` by now; returns what it pins.

        ``revisions`` are the branches and tags that were seen at the commit, with the time (ns).
        """
        folder, record = _wrapped(pin)
        blocks.import_car([*folder.nodes, *record, *pin.directory().nodes], [folder.cid])
        self._pins.pop(folder.cid, None)
        pinned = self.node.get(folder.cid)
        known = Offer.read(pinned) if pinned is not None else None
        seen = {**(known.seen if known is not None else {})}
        newer = {revision: when for revision, when in revisions.items() if when > seen.get(revision, 0)}
        if known is None or newer:
            self.node.pin(folder.cid, f"{pin.repo}@{pin.commit}", _metadata(pin, {**seen, **newer}), replication)
            with self._lock:
                self._offers = None
        return folder.cid

    def offers(self) -> list[Offer]:
        """Return every model of the cluster, as of a minute ago at most; raises SourceError as of then, too."""
        # One asks for all threads, and those that wait have its answer, or its failure.
        with self._lock:
            if self._offers is None or time.monotonic() - self._offers[0] > _FRESH:
                found = self._ask()
                self._offers = time.monotonic(), found
            known = self._offers[1]
        if isinstance(known, SourceError):
            raise _again(known)
        return known

    # -- inner ------------------------------------------------------------------------------------------------

    def _ask(self) -> list[Offer] | SourceError:
        try:
            read = (Offer.read(pin) for pin in self.node.pins(MARK))
            return [offer for offer in read if offer is not None]
        except SourceError as exc:
            return _again(exc)

    def _first_readable(self, offers: Sequence[Offer]) -> Pin:
        """Return the first record that can be read and is right; raises what the last one failed with."""
        for offer in offers[:-1]:
            try:
                return self._record(offer)
            except (PinformersError, OSError) as exc:
                _logger.debug("%s: %s is passed over: %s", self.label, offer.cid, exc)
        return self._record(offers[-1])

    def _record(self, offer: Offer) -> Pin:
        known = self._pins.get(offer.cid)
        if isinstance(known, Pin):
            return known
        if known is not None and time.monotonic() - known[0] <= _FRESH:
            raise _again(known[1])
        try:
            self._pins[offer.cid] = pin = self._fetched(offer)
        except SourceError as exc:
            self._pins[offer.cid] = time.monotonic(), _again(exc)
            raise
        return pin

    def _fetched(self, offer: Offer) -> Pin:
        """Fetch the record that is pinned together with a model, and hold it against that model's root."""
        entries = list_directory(offer.cid, self._fetch)
        if RECORD not in entries or MODEL not in entries:
            raise self._wrong(offer, f"is not a folder of {RECORD} and {MODEL}")
        try:
            pin = foreign_pin(json.loads(self._read(offer, entries[RECORD].cid)))
        except MALFORMED as exc:
            # An error of ours for bad content is a ValueError, too, and says more.
            if isinstance(exc, BadContent):
                raise
            raise self._wrong(offer, f"holds a {RECORD} that cannot be read ({exc})") from exc
        if (pin.repo, pin.commit, pin.repo_type) != (offer.repo, offer.commit, "model"):
            raise self._wrong(offer, f"is said to be {offer.repo}@{offer.commit} and is {pin.repo}@{pin.commit}")
        if pin.origin == "ipfs" or pin.directory().cid != entries[MODEL].cid:
            raise self._wrong(offer, f"holds another model than its {RECORD} describes")
        return pin

    def _read(self, offer: Offer, cid: CID) -> bytes:
        content = bytearray()
        for piece in read_file(cid, self._fetch):
            content += piece
            if len(content) > _RECORD_SIZE:
                raise self._wrong(offer, f"holds a {RECORD} of more than {_RECORD_SIZE} bytes")
        return bytes(content)

    def _wrong(self, offer: Offer, what: str) -> PinError:
        return PinError(f"{self.label}: {offer.cid}", f"it {what}; the pin is not used")


def _again(failure: SourceError) -> SourceError:
    # Another one: two threads would write their tracebacks into it, and what is kept would hold all that those hold.
    return type(failure)(*failure.args)


def _wrapped(pin: Pin) -> tuple[Directory, list[Block]]:
    """Build the folder that the cluster pins, and the blocks of the record in it."""
    if pin.origin == "ipfs" or pin.repo_type != "model" or not pin.files:
        raise PinError(pin.repo, "only models that have a name of the hub's form can be published to a cluster")
    # What differs from machine to machine stays out: the same model is the same folder, and one pin.
    value = for_others(pin)._replace(pinned_at="").to_json()
    record = (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    leaves: list[Block] = []
    hasher = FileHasher(leaf=lambda leaf: leaves.append(Block(CID.raw(hashlib.sha256(leaf).digest()), bytes(leaf))))
    hasher.update(record)
    dag, model = hasher.finish(), pin.directory()
    entries = {RECORD: Entry(dag.cid, dag.size, dag.dag_size), MODEL: Entry(model.cid, pin.size, model.dag_size)}
    return build_directory(entries), [*dag.nodes, *leaves]


def _metadata(pin: Pin, seen: Mapping[str, int]) -> dict[str, str]:
    newest = sorted(seen.items(), key=lambda item: item[1], reverse=True)[:_MAX_REFS]
    said = {MARK: _FORMAT, "repo": pin.repo, "commit": pin.commit, "root": pin.root}
    said["complete"] = "yes" if pin.complete else "no"
    return said | {f"{_REF}{revision}": iso(when) for revision, when in newest}


def _how(label: str, revision: str, commit: str, seen_ns: int) -> str:
    if revision == commit:
        return f"{label} has it pinned"
    return f"{label} has it pinned, {revision} was seen at this commit on {iso(seen_ns)}"


def _from_iso(text: str) -> int:
    """Return a time as nanoseconds since the epoch; 0 for what is none."""
    try:
        return moment(text)
    except PinError:
        return 0
