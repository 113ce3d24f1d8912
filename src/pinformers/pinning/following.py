"""Look models up in followed catalogs: signed records from anywhere, trees read lazily, all of it verified here."""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from pinformers._errors import BadContent, BadRecord, CatalogRefused, PinError, SourceError
from pinformers.ipfs.cid import CID
from pinformers.ipfs.dag import Fetch
from pinformers.ipfs.ipns import IpnsRecord, verify_record
from pinformers.pinning.catalog_blocks import KeptBlocks
from pinformers.pinning.followed import Followed, FollowedList
from pinformers.pinning.lookup import Found
from pinformers.pinning.pin import OID, Pin, check_repo, check_revision
from pinformers.pinning.shared_tree import SharedTree, pinned_ns
from pinformers.pinning.times import day, iso, span
from pinformers.sources.workers import Workers

FetchRecord = Callable[[str], bytes]
"""Delivers the signed record of an IPNS name, true or not; raises SourceError."""

_Answer: TypeAlias = "tuple[IpnsRecord, bytes] | BadRecord | SourceError"

# A record says itself for how long nobody need ask again (Kubo's default is 5 minutes); within these bounds.
LEAST_TTL, MOST_TTL = 60.0, 3600.0
# After a failure nobody waits for the network again so soon.
PAUSE = 60.0
# How long to wait for records at all, and for further ones when a good one is here.
PATIENCE, AFTER_THE_FIRST = 20.0, 2.0
MAX_SENTENCE = 1000
_DEFAULT = "main"
_logger = logging.getLogger("pinformers")


class Following:
    """The followed catalogs under ``folder``, asked in their order of trust.

    ``refusals`` holds, by label, why a catalog or what it said was not believed, or could not be had, the last time.
    A refused record leaves the last good catalog in use, for ``grace`` seconds beyond its expiry.
    """

    def __init__(
        self,
        folder: Path,
        fetch_record: Sequence[FetchRecord],
        fetch_block: Fetch,
        *,
        grace: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.list, self._blocks = FollowedList(folder), KeptBlocks(folder / "blocks", fetch_block)
        self._fetch_record, self._grace, self._now = fetch_record, grace, now
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._away: dict[str, tuple[float, str]] = {}
        self._warned: set[tuple[str, str]] = set()
        self.refusals: dict[str, str] = {}

    # -- lookups ----------------------------------------------------------------------------------------------

    def find(self, repo: str, revision: str) -> Found | None:
        """Return the pin that the first catalog to know it names for a branch, tag or commit."""
        check_repo(repo)
        check_revision(revision)
        return self._first(lambda catalog: catalog.find(repo, revision))

    def _first(self, ask: Callable[[_Catalog], Found | None]) -> Found | None:
        for followed in self.list.all():
            try:
                current = self._fresh(followed)
                if current is not None and current.refusal:
                    # Of another process, it may be, in whose pause nobody asks again.
                    self.refusals.setdefault(current.label, current.refusal)
                catalog = None if current is None else self._open(current)
                found = None if catalog is None else ask(catalog)
            except SourceError as exc:
                if self._now() >= self._away.get(followed.name, (0.0, ""))[0]:
                    self._away[followed.name] = self._now() + PAUSE, exc.reason
                self._refuse(followed.label, f"The catalog {followed.label} cannot be read now: {exc.reason}.")
            except CatalogRefused as exc:
                self._refuse(followed.label, str(exc))
            except (BadContent, PinError) as exc:
                self._refuse(followed.label, str(CatalogRefused(followed.label, str(exc))))
            else:
                if found is not None:
                    return found
        return None

    def _open(self, followed: Followed) -> _Catalog | None:
        last = followed.last()
        if last is None:
            # Its refusal says why.
            return None
        expired = self._now() - last.validity.timestamp()
        if expired > self._grace:
            reason = f"its record expired on {day(last.validity)}, more than {span(self._grace)} ago"
            raise CatalogRefused(followed.label, f"{reason}, and no newer one was found; its owner must publish again")
        until, why = self._away.get(followed.name, (0.0, ""))
        fetch = self._blocks.lookup(why if self._now() < until else "")
        note = f"; its record expired {span(expired)} ago" if expired > 0 else ""
        return _Catalog(followed.label, last, SharedTree(CID.parse(followed.root), fetch), note, self._now())

    def _refuse(self, label: str, sentence: str) -> str:
        # Some of it is a stranger's words, and is going to be printed.
        sentence = "".join(letter if letter.isprintable() else "?" for letter in sentence[:MAX_SENTENCE])
        self.refusals[label] = sentence
        if (label, sentence) not in self._warned:
            self._warned.add((label, sentence))
            _logger.warning("%s", sentence)
        return sentence

    # -- records ----------------------------------------------------------------------------------------------

    def refresh(self, followed: Followed) -> Followed | None:
        """Ask for the record now; return what then stands, None where the catalog is not followed any more."""
        self._away.pop(followed.name, None)
        return self._renew(followed)

    def head(self, followed: Followed) -> dict[str, object]:
        """Return what a catalog says of itself, out of the kept blocks alone; empty where they are not here."""
        try:
            return SharedTree(CID.parse(followed.root), self._blocks.lookup("it is not kept here")).head()
        except (SourceError, PinError, BadContent):
            return {}

    def sweep(self) -> None:
        """Delete the kept blocks that no followed catalog needs."""
        self._blocks.sweep(CID.parse(followed.root) for followed in self.list.all() if followed.root)

    def _fresh(self, followed: Followed) -> Followed | None:
        if not self._due(followed):
            return followed
        with self._locks[followed.name]:
            # Another thread may have asked meanwhile.
            current = self.list.get(followed.name)
            return self._renew(current) if current is not None and self._due(current) else current

    def _due(self, followed: Followed) -> bool:
        # A clock that was set back must not forbid to ask for years.
        return not self._now() < followed.ask_after <= self._now() + MOST_TTL

    def _renew(self, followed: Followed) -> Followed | None:
        try:
            record, root = self._newest(followed)
        except SourceError as exc:
            return self._failed(followed, f"The catalog {followed.label} cannot be renewed now: {exc.reason}.")
        except CatalogRefused as exc:
            return self._failed(followed, str(exc))
        except (BadContent, PinError) as exc:
            return self._failed(followed, str(CatalogRefused(followed.label, str(exc))))
        said, now = verify_record(followed.name, record), self._now()
        ask_after = now + min(max(said.ttl, LEAST_TTL), MOST_TTL)

        def accept(known: Followed) -> Followed:
            self._judge(known, said)
            return dataclasses.replace(
                known, record=record, root=str(root), fetched_at=now, ask_after=ask_after, refusal=""
            )

        try:
            accepted = self.list.update(followed.name, accept)
        except CatalogRefused as exc:
            return self._failed(followed, str(exc))
        self.refusals.pop(followed.label, None)
        return accepted

    def _failed(self, followed: Followed, sentence: str) -> Followed | None:
        refusal, ask_after = self._refuse(followed.label, sentence), self._now() + PAUSE
        return self.list.update(
            followed.name, lambda known: dataclasses.replace(known, ask_after=ask_after, refusal=refusal)
        )

    def _newest(self, followed: Followed) -> tuple[bytes, CID]:
        """Return the newest record that anybody delivers and the folder that it leads to, both checked."""
        valid: list[tuple[IpnsRecord, bytes]] = []
        wrong, silent = list[str](), list[str]()
        for answer in ask_all(self._fetch_record, followed.name, self._now):
            if isinstance(answer, BadRecord):
                wrong.append(answer.reason)
            elif isinstance(answer, SourceError):
                silent.append(f"{answer.source}: {answer.reason}")
            else:
                valid.append(answer)
        if wrong and not valid:
            raise CatalogRefused(followed.label, f"the record that was sent is not its owner's ({wrong[0]})")
        if not valid:
            raise SourceError("of IPNS records", "; ".join(silent) or "no gateway and no daemon is configured")
        said, record = max(valid, key=lambda pair: pair[0].rank)
        last = followed.last()
        self._judge(followed, said)
        if last is not None and last.rank >= said.rank:
            return followed.record, CID.parse(followed.root)
        if last is not None and last.value == said.value:
            return record, CID.parse(followed.root)
        fetch = self._blocks.lookup()
        root = SharedTree.below(said.root, said.path, fetch)
        SharedTree(root, fetch).head()
        return record, root

    def _judge(self, known: Followed, said: IpnsRecord) -> None:
        last = known.last()
        if last is not None and said.sequence < last.sequence:
            back = f"it went back from number {last.sequence} to {said.sequence}"
            raise CatalogRefused(known.label, f"{back}, as when somebody sends an old record again")
        if last is not None and said.sequence == last.sequence and said.value != last.value:
            raise CatalogRefused(known.label, f"two different records have the number {said.sequence}")
        if self._now() - said.validity.timestamp() > self._grace:
            raise CatalogRefused(known.label, f"the record that was sent expired on {day(said.validity)}")


def ask_all(asked: Sequence[FetchRecord], name: str, now: Callable[[], float] = time.time) -> Iterator[_Answer]:
    """Ask everybody at once; yield what comes within the limit of time, each record verified."""
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    workers = Workers("pinformers-record")
    for fetch in asked:
        workers.run(lambda fetch=fetch: answers.put(_ask(fetch, name)))  # type: ignore[misc]
    workers.close()
    deadline = time.monotonic() + PATIENCE
    for _ in asked:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            yield SourceError("the others", "no answer in time")
            return
        if isinstance(answer, tuple) and answer[0].validity.timestamp() > now():
            deadline = min(deadline, time.monotonic() + AFTER_THE_FIRST)
        yield answer


def _ask(fetch: FetchRecord, name: str) -> _Answer:
    try:
        record = fetch(name)
        return verify_record(name, record), record
    except (SourceError, BadRecord) as exc:
        return exc
    except Exception as exc:
        # In a thread nobody would see it, and whoever asked would wait for the whole limit.
        return SourceError(type(exc).__name__, str(exc))


@dataclasses.dataclass(frozen=True, slots=True)
class _Catalog:
    """One catalog as its last good record has it."""

    label: str
    record: IpnsRecord
    tree: SharedTree
    note: str
    now: float

    def find(self, repo: str, revision: str) -> Found | None:
        if OID.fullmatch(revision):
            return self.pinned(repo, revision)
        ref = self.tree.ref(repo, revision)
        if ref is None:
            return self._newest(repo) if revision == _DEFAULT else None
        commit, seen = ref
        pin = self.tree.pin(repo, commit)
        if pin is None:
            raise PinError(f"{repo}@{revision}", f"the catalog names the commit {commit} and has no pin of it")
        how = f"saw {revision} at {commit[:12]} on {iso(seen)}, {span(self.now - seen / 1e9)} ago"
        return self._found(pin, how, seen)

    def pinned(self, repo: str, commit: str) -> Found | None:
        pin = self.tree.pin(repo, commit)
        return None if pin is None else self._found(pin, "pins that commit", pinned_ns(pin))

    def _newest(self, repo: str) -> Found | None:
        pin = self.tree.newest(repo)
        if pin is None:
            return None
        when = f" (of {pin.pinned_at})" if pin.pinned_at else ""
        how = f"does not say where {_DEFAULT} stands, and its newest pin of the model{when} is taken"
        return self._found(pin, how, pinned_ns(pin))

    def _found(self, pin: Pin, how: str, seen: int) -> Found:
        # A time to come would beat whatever is noted later.
        seen = min(seen, int(self.now * 1e9))
        return Found(
            pin, self.label, f"the catalog {self.label} (number {self.record.sequence}) {how}{self.note}", seen
        )
