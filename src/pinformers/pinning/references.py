"""Models that have no hub name: what ``ipfs://CID``, ``/ipfs/CID``, ``ipfs/CID`` and ``ipns://KEY`` stand for."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pinformers._errors import BadCID, BadContent, PinError, PinformersError, SourceError
from pinformers.ipfs.cid import CID, DAG_PB, RAW, SHA2_256, Block
from pinformers.ipfs.dag import list_directory, read_block, walk_directory
from pinformers.ipfs.dagpb import MAX_BLOCK, parse_node
from pinformers.pinning.adoption import keep_blocks
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.ledger import Ledger
from pinformers.pinning.pin import Hub, Pin, PinnedFile, check_path, commit_of
from pinformers.pinning.pinned import Means, PinnedRepo
from pinformers.pinning.records import read_json, write_json
from pinformers.pinning.times import now
from pinformers.sources.base import Chain, Source

ResolveName = Callable[[str], CID]
"""Tells what an IPNS name points to now, verified; raises PinformersError where it cannot."""

# A load asks a dozen times for one name, and must not be given two models.
NAME_SECONDS = 60.0
_SINGLE = (".gguf",)
_FORM = re.compile(r"(ipfs|ipns)://(.*)|/(ipfs|ipns)/(.*)|(ipfs)/(.*)", re.DOTALL)
_KEY = re.compile(r"[A-Za-z0-9]+")


class Reference(NamedTuple):
    """A name by content or by key: ``name`` is the CID or the IPNS name, ``path`` leads on from there."""

    text: str
    scheme: Literal["ipfs", "ipns"]
    name: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """Read a reference; None for what is none, and PinError for what was meant as one and cannot be used."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        scheme, rest = [part for part in match.groups() if part is not None]
        name, _, path = rest.partition("/")
        path = path.rstrip("/")
        if scheme == "ipns":
            _check_key(text, name)
            return cls(text, "ipns", name, check_path(path) if path else "")
        try:
            cid = CID.parse(name)
        except BadCID as exc:
            if not text.startswith("ipfs://"):
                # A folder that is not there, or a repo of somebody who is called "ipfs".
                return None
            raise PinError(text, str(exc)) from exc
        _check_kind(text, cid)
        return cls(text, "ipfs", name, check_path(path) if path else "")

    @property
    def start(self) -> str:
        """One text for all the ways to write it, its path left out."""
        return repo_name(CID.parse(self.name)) if self.scheme == "ipfs" else f"ipns/{self.name}"


def _check_key(text: str, name: str) -> None:
    if "." in name:
        raise PinError(text, "a domain's IPFS record (DNSLink) is signed by nobody; give the IPNS key or the CID")
    if not _KEY.fullmatch(name):
        raise PinError(text, "this is no IPNS name; one looks like ipns://k51... and is the hash of a key")


def _check_kind(text: str, cid: CID) -> None:
    if cid.hash_code != SHA2_256 or cid.codec not in (DAG_PB, RAW):
        raise PinError(text, "only a folder or file of UnixFS with a sha2-256 hash can be loaded by its CID")


def repo_name(cid: CID) -> str:
    """Return the name under which the files of a CID lie in a hub cache, as if they were a repo's."""
    return f"ipfs/{_v1(cid)}"


class References:
    """The pins of references; what leads from a reference to its CID is recorded, so that it is asked for once.

    ``resolve_name`` is what is known about IPNS here.
    """

    def __init__(
        self, catalog: Catalog, sources: Sequence[Source], ledger: Ledger, resolve_name: ResolveName | None = None
    ) -> None:
        self._catalog, self._sources, self._ledger, self._resolve_name = catalog, sources, ledger, resolve_name
        # One for each name: who waits for a source that stalls must not hold up what lies on this disk.
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._names: dict[str, tuple[float, CID]] = {}
        self._made: dict[str, Pin] = {}
        self._alone: dict[str, PinnedFile] = {}

    def known(self, reference: Reference) -> Pin | None:
        """Return the pin that is here already, without a question to anybody."""
        cid = self._recalled(reference.start) if reference.scheme == "ipns" else CID.parse(reference.name)
        if cid is not None and reference.path:
            cid = self._recalled(_below(cid, reference.path))
        return self._pinned(cid) if cid is not None else None

    def pin(self, reference: Reference, names: Sequence[str] = (), *, local: bool = False) -> Pin:
        """Return the pin of a reference, made at its first use; ``local`` asks this machine's sources alone.

        A CID that is one file stands for those of ``names`` that can be loaded alone. Raises PinError.
        """
        known = self.known(reference) if reference.scheme == "ipfs" else None
        if known is not None and not self._unnamed(known, names):
            return known
        with self._locks[reference.start]:
            walk = Walk(Chain([source for source in self._sources if not local or getattr(source, "local", False)]))
            try:
                cid = self._target(reference, walk, local)
                _check_kind(reference.text, cid)
                return self._named(self._pinned(cid) or self._add(cid, walk), names)
            except SourceError as exc:
                where = "nothing on this machine has it" if local else "no source delivers it"
                raise PinError(reference.text, f"{where} ({walk.chain.tried or exc.reason})") from exc
            except BadContent as exc:
                raise PinError(reference.text, f"it cannot be loaded: {exc}") from exc

    # -- from a reference to a CID ----------------------------------------------------------------------------

    def _target(self, reference: Reference, walk: Walk, local: bool) -> CID:
        cid = CID.parse(reference.name) if reference.scheme == "ipfs" else self._resolve(reference, local)
        if not reference.path:
            return cid
        # What lies below a CID never changes.
        key = _below(cid, reference.path)
        found = self._recalled(key)
        if found is None:
            found = walk.down(cid, reference)
            self._recall(key, found)
        return found

    def _resolve(self, reference: Reference, local: bool) -> CID:
        """Return what a key points to: asked once a minute, and where nobody answers, what it was before."""
        key = reference.start
        asked, cid = self._names.get(key, (0.0, None))
        if cid is not None and time.monotonic() - asked < NAME_SECONDS:
            return cid
        earlier, why = self._recalled(key), "only this machine may be asked"
        if not local and self._resolve_name is None:
            why = "nothing here resolves IPNS names"
        elif not local and self._resolve_name is not None:
            try:
                cid = self._resolve_name(reference.name)
            except (PinformersError, OSError) as exc:
                why = str(exc).rstrip(".")
            else:
                self._recall(key, cid)
                self._names[key] = time.monotonic(), cid
                return cid
        if earlier is None:
            raise PinError(reference.text, f"what it points to is not known: {why}")
        self._ledger.warn_once(key, "%s is what it was when it was last resolved, %s: %s.", key, earlier, why)
        if not local:
            # Who was not asked may still say something newer.
            self._names[key] = time.monotonic(), earlier
        return earlier

    def _recall_path(self, key: str) -> Path:
        return self._catalog.state_dir / "references" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def _recalled(self, key: str) -> CID | None:
        value = read_json(self._recall_path(key)) or {}
        try:
            return CID.parse(value["cid"]) if value.get("reference") == key else None
        except (BadCID, KeyError, TypeError, AttributeError):
            return None

    def _recall(self, key: str, cid: CID) -> None:
        try:
            write_json(self._recall_path(key), {"reference": key, "cid": str(cid), "seen_at": now()})
        except OSError as exc:
            self._unwritable(exc)

    # -- from a CID to its pin --------------------------------------------------------------------------------

    def _pinned(self, cid: CID) -> Pin | None:
        repo, commit = repo_name(cid), commit_of(cid)
        pin = self._catalog.pin(repo, commit) or self._made.get(repo)
        # One that is not listed was removed while a load brought files: it says no more than those.
        return pin if pin is not None and _ours(pin) and pin.listed else None

    def _add(self, cid: CID, walk: Walk) -> Pin:
        pin = walk.pin(cid)
        if walk.alone is not None:
            # It has no name yet: what has none is not recorded.
            self._alone[pin.repo] = walk.alone
            return pin
        return self._record(pin, tuple(walk.folders.values()))

    def _record(self, pin: Pin, nodes: tuple[Block, ...] = ()) -> Pin:
        try:
            said = self._catalog.pin(pin.repo, pin.commit)
            if said is not None and not _ours(said):
                self._catalog.remove(said)
            keep_blocks(self._catalog, CID.parse(pin.root_cid), nodes)
            added = self._catalog.add(pin)
            self._catalog.set_ref(pin.repo, "main", pin.commit)
        except OSError as exc:
            self._unwritable(exc)
            added = self._made[pin.repo] = pin
        return added

    def _named(self, pin: Pin, names: Sequence[str]) -> Pin:
        """Let a pin that is one file have it under each name that is asked for and can be loaded alone."""
        files = self._unnamed(pin, names)
        return self._record(pin._replace(files={**pin.files, **files})) if files else pin

    def _unnamed(self, pin: Pin, names: Sequence[str]) -> dict[str, PinnedFile]:
        held = (file for file in pin.files.values() if file.cid == pin.root_cid)
        alone = next(held, self._alone.get(pin.repo))
        loadable = [name for name in names if name.endswith(_SINGLE) and name not in pin.files]
        return {} if alone is None else dict.fromkeys(loadable, alone)

    def _unwritable(self, exc: OSError) -> None:
        place = str(self._catalog.state_dir)
        self._ledger.warn_once(place, "%s cannot be written, so less is remembered: %s.", place, exc)


class Walk:
    """Look through folders of others, keeping their verified blocks."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.folders: dict[CID, Block] = {}
        self.alone: PinnedFile | None = None

    def down(self, cid: CID, reference: Reference) -> CID:
        """Follow the reference's path from ``cid``."""
        for name in reference.path.split("/") if reference.path else ():
            found = list_directory(cid, self.chain.fetch)
            if name not in found:
                held = ", ".join(sorted(found)[:8]) or "nothing"
                raise PinError(reference.text, f"the folder {cid} holds no {name!r}; it holds {held}")
            cid = found[name].cid
        return cid

    def pin(self, cid: CID) -> Pin:
        """Describe all that a CID holds."""
        files = dict(self._files(cid))
        if not files and self.alone is None:
            raise PinError(str(cid), "the folder is empty")
        return Pin(
            repo=repo_name(cid),
            commit=commit_of(cid),
            files=files,
            listed=True,
            origin="ipfs",
            pinned_at=now(),
            root_cid=str(cid),
        )

    def _files(self, cid: CID) -> Iterator[tuple[str, PinnedFile]]:
        root = parse_node(cid, read_block(cid, self._noted))
        if root.kind in ("raw", "file"):
            self.alone = _file(cid, root.file_size)
            return
        for path, child, size in walk_directory(cid, self._noted):
            if child.codec == RAW and not 0 < size <= MAX_BLOCK:
                # Some programs write no size into the links of a folder.
                size = len(read_block(child, self._noted))
            yield check_path(path), _file(child, size)

    def _noted(self, cid: CID) -> bytes:
        if cid in self.folders:
            return self.folders[cid].data
        block = self.chain.fetch(cid)
        if cid.codec == DAG_PB and len(block) <= MAX_BLOCK and parse_node(cid, block).kind in ("directory", "shard"):
            self.folders[cid] = Block(cid, block)
        return block


class ReferredRepo(PinnedRepo):
    """A pin that somebody asked for by its ``reference``: what its CID does not hold is nowhere."""

    def __init__(self, pin: Pin, means: Means, cache: RepoCache, reference: str) -> None:
        super().__init__(pin, means, cache, "main")
        self.reference = reference

    def entry(self, path: str) -> Hub | None:
        """What is known of ``path``; its CID stands for the blob id, of which it is as good a tag."""
        found, file = super().entry(path), self.pin.files.get(path)
        return found if file is None or found is None else {"blob_id": file.cid, **found}

    def _fall_back(self, path: str, why: str) -> bool:
        raise PinError(f"{self.reference}/{path}", f"it cannot be loaded: {why}")


def _ours(pin: Pin) -> bool:
    """Whether a pin was read out of its CID here: what a shared catalog says of a CID is not what the CID says."""
    return pin.origin == "ipfs" and not pin.learned


def _file(cid: CID, size: int) -> PinnedFile:
    alone = cid.codec == RAW and cid.hash_code == SHA2_256
    return PinnedFile(size, str(cid), size if alone else 0, cid.digest.hex() if alone else "", {"size": size})


def _below(cid: CID, path: str) -> str:
    return f"{repo_name(cid)}/{path}"


def _v1(cid: CID) -> CID:
    return CID(1, cid.codec, cid.hash_code, cid.digest)
