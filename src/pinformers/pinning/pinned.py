"""One pin in one hub cache: its files put in place, or the word that the caller must go on without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from pinformers._errors import BadContent, PinError, SourceError
from pinformers.pinning.adoption import Adoption
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog, read_ref
from pinformers.pinning.fetching import write_file
from pinformers.pinning.ledger import Ledger, Served
from pinformers.pinning.pin import Hub, Pin, PinnedFile
from pinformers.pinning.records import signature
from pinformers.sources.base import Chain, Source


@dataclass(frozen=True, slots=True)
class Means:
    """What a pin is served with; ``strict``: what it cannot serve is refused, nobody else is asked."""

    catalog: Catalog
    sources: Sequence[Source]
    ledger: Ledger
    hub_allowed: bool
    strict: bool = False


class PinnedRepo:
    """One pin, in one hub cache."""

    def __init__(self, pin: Pin, means: Means, cache: RepoCache, revision: str) -> None:
        self.pin, self.cache, self.revision = pin, cache, revision
        self._means = means
        self._adoption = Adoption(means.catalog, cache, pin.repo, pin.commit, pin.repo_type)

    @property
    def commit(self) -> str:
        """The pinned commit."""
        return self.pin.commit

    @property
    def listing(self) -> Mapping[str, Hub] | None:
        """Every path of the commit, or None when only some are known."""
        return self.pin.listing

    @property
    def info(self) -> Mapping[str, Any] | None:
        """What the hub said of the model, or None."""
        return self.pin.info

    @property
    def hub_allowed(self) -> bool:
        """Whether the hub may be asked for what the pin does not hold; it never knew the commit of a folder."""
        return self._means.hub_allowed and self.pin.origin == "hub"

    def has(self, path: str) -> bool | None:
        """Whether ``path`` exists at the commit; None when that is not known."""
        if path in self.pin.files or path in self.pin.others:
            return True
        return False if self.pin.listed or self.cache.marked_absent(self.commit, path) else None

    def deliver(self, paths: Sequence[str], *, local: bool = False) -> bool:
        """Put ``paths`` in place; True when each now lies in the hub cache or is known to be absent.

        ``local`` is for callers that forbid the network: every source of today is on this machine.
        """
        results = [self._deliver(path) for path in paths]
        return all(results)

    def state(self, path: str) -> Literal["here", "changed", "missing"]:
        """Say whether a pinned file lies in the cache as it was when it was hashed."""
        stat = signature(self.cache.file(self.commit, path))
        recorded = self._means.catalog.place(self.pin, self.cache.cache_dir).files.get(path)
        if stat is None:
            return "missing"
        return "here" if stat == recorded else "changed"

    # -- inner ------------------------------------------------------------------------------------------------

    def _deliver(self, path: str) -> bool:
        file = self.pin.files.get(path)
        try:
            if file is None:
                return self._settle_absent(path)
            problem = self._bring(path, file)
        except (SourceError, BadContent) as exc:
            problem = f"no source delivered it ({exc})"
        except OSError as exc:
            problem = f"it cannot be put in place ({exc})"
        return problem is None or self._fall_back(path, problem)

    def _settle_absent(self, path: str) -> bool:
        if self.has(path) is not False:
            return False
        self._adoption.note_made(self.cache.mark_absent(self.commit, path))
        return True

    def _bring(self, path: str, file: PinnedFile) -> str | None:
        """Put a pinned file in place; returns what stands in the way."""
        state = self.state(path)
        if state == "here":
            self._serve(path, "hub cache", "it is as it was when it was hashed")
            return None
        if state == "missing":
            return self._fetch(path, file)
        target = self.cache.file(self.commit, path)
        looks = signature(target)
        if not self._means.ledger.refuted(target, looks):
            if self._adoption.confirm(path):
                self._serve(path, "hub cache", "it was hashed and is what the pin says")
                return None
            self._means.ledger.refute(target, looks)
        return "the cached file is not what the pin says, `pinformers verify` repairs it"

    def _fetch(self, path: str, file: PinnedFile) -> str | None:
        chain = Chain(self._means.sources)

        def fill(out: BinaryIO) -> None:
            write_file(file, chain.fetch, out)

        made = self.cache.add_file(self.commit, path, file.etag or file.sha256, fill)
        written = any(name.startswith("blobs/") or name == f"snapshots/{self.commit}/{path}" for name in made)
        made += self.cache.add_ref(self.revision, self.commit, ours=self._wrote_ref())
        made += self.cache.add_tree(self.commit, self.listing) if self.listing is not None else []
        if written and chain.served:
            self._adoption.trust(path, file, frozenset(made))
        elif not self._adoption.confirm(path, frozenset(made)):
            return "another file has its place in the hub cache, `pinformers verify` repairs it"
        self._serve(path, " + ".join(chain.served) or "hub cache", "every block was verified")
        return None

    def _wrote_ref(self) -> bool:
        """Whether the hub cache's ref for this revision is one that we left there for an earlier commit."""
        known = read_ref(self.cache.ref_path(self.revision))
        earlier = self._means.catalog.pin(self.pin.repo, known[0], self.pin.repo_type) if known else None
        if earlier is None or earlier.commit == self.commit:
            return False
        return f"refs/{self.revision}" in self._means.catalog.place(earlier, self.cache.cache_dir).made

    def _serve(self, path: str, source: str, why: str) -> None:
        self._note(path, "hits", Served(source, why))

    def _fall_back(self, path: str, why: str) -> bool:
        subject = f"{self.pin.repo}/{path}"
        if self._means.strict:
            raise PinError(subject, f"it is pinned and cannot be served, and the setting on_miss is 'error': {why}")
        message = "%s is pinned but not served: %s. Plain transformers goes on."
        self._means.ledger.warn_once(subject, message, subject, why)
        self._note(path, "fallbacks", Served("plain transformers", why))
        return False

    def _note(self, path: str, count: str, served: Served) -> None:
        self._means.ledger.counts[count] += 1
        self._means.ledger.note(self.pin.repo, self.commit, path, served)
