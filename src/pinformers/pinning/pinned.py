"""One pin in one hub cache: its files put in place, or the word that the caller must go on without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pinformers._errors import BadContent, PinError, SourceError
from pinformers.pinning.access import Gate
from pinformers.pinning.adoption import Adoption
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.cards import own_account, read_card
from pinformers.pinning.catalog import Catalog, Place, read_ref
from pinformers.pinning.clones import Looks
from pinformers.pinning.early import Asked, Early, Given, Guard, expected, weights
from pinformers.pinning.fetching import Fetched, copy_file, fetch_file
from pinformers.pinning.ledger import PLAIN, Ledger, Served
from pinformers.pinning.pin import Hub, Pin, PinnedFile
from pinformers.pinning.records import Stat, reason, signature
from pinformers.sources.base import Chain, Source


class Means(NamedTuple):
    """What a pin is served with; ``strict``: what it cannot serve is refused, nobody else is asked.

    ``brought`` is told when sources have delivered files of a pin. With ``download`` (pin, path, cache folder) a
    file that no source has is had from the hub before the load, and verified, instead of by the load itself. ``gate``
    says which pins other machines may not be asked for. ``more`` joins a pin with what others know of its commit.
    ``loaded`` is told of a pin that was served as it lay in the cache. ``early`` has what is fetched ahead.
    """

    catalog: Catalog
    sources: Sequence[Source]
    ledger: Ledger
    early: Early[Brought]
    hub_allowed: bool
    strict: bool = False
    brought: Callable[[Pin, RepoCache], None] | None = None
    download: Callable[[Pin, str, str], None] | None = None
    gate: Gate | None = None
    more: Callable[[Pin], Pin | None] | None = None
    loaded: Callable[[Pin], None] | None = None


class Brought(NamedTuple):
    """A file that sources delivered and that is recorded, or what stands in its way; and what it left in the cache."""

    made: list[str]
    chain: Chain
    problem: str | None = None


class PinnedRepo:
    """One pin, in one hub cache; ``holder`` is the lockfile that names it, or nothing."""

    def __init__(self, pin: Pin, means: Means, cache: RepoCache, revision: str, holder: str = "") -> None:
        self.pin, self.cache, self.revision, self.holder = pin, cache, revision, holder
        self._means = means
        self._place: Place | None = None
        self._adoption = Adoption(means.catalog, cache, pin)

    @property
    def repo(self) -> str:
        """The name under which the hub cache has the files."""
        return self.pin.repo

    @property
    def folder(self) -> str:
        """The name of its folder in a hub cache."""
        return self.cache.name

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
        """What the hub said of the model, or None; one that is not from there says it itself."""
        if self.pin.origin == "hub":
            return self.pin.info
        names = ("config.json",) if self.pin.info is not None else ("config.json", "README.md")
        config, card = (self.cache.file(self.commit, name) for name in ("config.json", "README.md"))
        try:
            # What is here was asked for by nobody, and counts for no hit.
            wanted = [name for name in names if name in self.pin.files and self.state(name) != "here"]
            if not wanted or self.deliver(wanted):
                return own_account(read_card(card) if self.pin.info is None else self.pin.info, config)
        except PinError as exc:
            # A tokenizer asks whether its model is one of Mistral's; nothing hangs on the answer.
            self._means.ledger.warn_once(exc.subject, "%s", exc)
        return self.pin.info or {}

    @property
    def hub_allowed(self) -> bool:
        """Whether the hub may be asked for what the pin does not hold; it never knew the commit of a folder."""
        return self._means.hub_allowed and self.pin.origin == "hub"

    @property
    def kept(self) -> bool:
        """Whether the hub is known to keep it private or gated, and the settings keep to that."""
        return self._means.gate is not None and self._means.gate.kept(self.pin, ask=False)

    def entry(self, path: str) -> Hub | None:
        """What the hub's tree says of ``path``, as far as it is known; None where nothing is."""
        file = self.pin.files.get(path)
        return self.pin.others.get(path) if file is None else {"size": file.size, **file.hub}

    def has(self, path: str) -> bool | None:
        """Whether ``path`` exists at the commit; None when that is not known."""
        if path in self.pin.files or path in self.pin.others:
            return True
        if self.pin.listed:
            return False
        folder = any(name.startswith(f"{path}/") for name in (*self.pin.files, *self.pin.others))
        return False if folder or self.cache.lacks(self.commit, path) else None

    def deliver(self, paths: Sequence[str], *, local: bool = False) -> bool:
        """Put ``paths`` in place; True when each now lies in the hub cache or is known to be absent.

        ``local`` asks only sources that answer from this machine.
        """
        brought: list[str] = []
        try:
            if not local:
                self._begin(paths)
            results = [self._deliver(path, local, brought) for path in paths]
        except BaseException:
            # Ctrl-C, or a file that may not be missing: nobody is going to ask for the model's others.
            self._means.early.give_up(self._key("")[:-1])
            raise
        if brought:
            self.settle(brought)
        elif self._means.loaded is not None and all(results):
            self._means.loaded(self.pin)
        return all(results)

    def settle(self, made: Sequence[str] = ()) -> None:
        """Leave ref and listing where the hub's client would, once files were brought."""
        ours, left = self._wrote_ref(), [*made]
        with self._noted(self.cache.cache_dir):
            left += self.cache.add_ref(self.revision, self.commit, ours=ours)
            # Not even built where it lies there: files that come one by one would cost the square.
            listing = None if self.cache.has_tree(self.commit) else self.listing
            left += self.cache.add_tree(self.commit, listing) if listing is not None else []
        self._note_made(left)
        if self._means.brought is not None:
            self._means.brought(self.pin, self.cache)

    def intend(self, paths: Iterable[str]) -> None:
        """Note as ours what ``put`` and ``settle`` are about to create; what is there already is not."""
        names = [f"trees/{self.commit}.json", f"refs/{self.revision}"]
        for path in paths:
            file = self.pin.files[path]
            names += [f"blobs/{file.etag or file.sha256}", f"snapshots/{self.commit}/{path}"]
        self._adoption.note_made([name for name in names if not os.path.lexists(self.cache.folder / name)])

    def put(self, path: str) -> None:
        """Put one pinned file in place, without a word of it in refs and listings; raises PinError."""
        problem = self._problem(path, self.pin.files[path], False, [])
        if problem is not None:
            raise PinError(str(self.cache.file(self.commit, path)), problem)

    def copy(self, path: str, source: Path, looks: Looks | None = None) -> None:
        """Put one pinned file in place out of another place on this machine, likewise; raises PinError.

        ``looks`` are those that it had when it was hashed.
        """
        target = self.cache.file(self.commit, path)
        try:
            fetched = copy_file(self.cache, self.pin, path, source, looks, partial(self._record, path))
        except PinError:
            raise
        except OSError as exc:
            raise PinError(str(target), f"it cannot be put in place ({reason(exc)})") from exc
        if taken := self._taken(path, fetched):
            raise PinError(str(target), taken)

    def place(self, path: str) -> bool:
        """Put one pinned file in place, without a word of it in refs and listings."""
        return self._deliver(path, False, [])

    def state(self, path: str) -> Literal["here", "changed", "missing"]:
        """Say whether a pinned file lies in the cache as it was when it was hashed."""
        looks = self._looks(path)
        if looks is None:
            return "missing"
        # What looks as it did when it was hashed is right, also if the record has gone on since it was read.
        if self._place is None or looks != self._place.files.get(path):
            self._place = self._means.catalog.place(self.pin, self.cache.cache_dir)
        if looks == self._place.files.get(path):
            return "here"
        return "here" if self._means.ledger.verdict(self.cache.file(self.commit, path), looks) else "changed"

    # -- inner ------------------------------------------------------------------------------------------------

    def _deliver(self, path: str, local: bool, brought: list[str]) -> bool:
        file = self.pin.files.get(path) or self._learn(path, local)
        if file is None:
            return self._settle_absent(path)
        problem = self._problem(path, file, local, brought)
        return problem is None or self._fall_back(path, problem)

    def _learn(self, path: str, local: bool) -> PinnedFile | None:
        """Ask others for a file that may exist and that no load of this machine has wanted before."""
        if local or self._means.more is None or self.has(path) is False:
            return None
        self.pin = self._means.more(self.pin) or self.pin
        return self.pin.files.get(path)

    def _problem(self, path: str, file: PinnedFile, local: bool, brought: list[str]) -> str | None:
        """Have a file from whoever may deliver it; returns what stands in the way."""
        try:
            problem = self._bring(path, file, local, brought)
        except SourceError as exc:
            problem = f"no source delivered it ({exc.reason.rstrip('.')})"
        except BadContent as exc:
            problem = f"no source delivered it ({str(exc).rstrip('.')})"
        except PinError as exc:
            problem = f"it cannot be put in place ({str(exc).rstrip('.')})"
        except OSError as exc:
            problem = f"it cannot be put in place ({reason(exc)})"
        if problem is not None and not local and self.hub_allowed and self._means.download is not None:
            problem = self._download(path, self._means.download)
        return problem

    def _download(self, path: str, download: Callable[[Pin, str, str], None]) -> str | None:
        try:
            download(self.pin, path, self.cache.cache_dir)
        except PinError as exc:
            return exc.advice
        if self._confirm(path, ()):
            return self._serve(path, "hub", "it was hashed and is what the pin says")
        return "the hub sent other bytes than the pin names"

    def _settle_absent(self, path: str) -> bool:
        if self.has(path) is not False:
            return False
        # Where the cache cannot be written, transformers finds no marker and, asking nobody, no file either.
        with self._noted(self.cache.cache_dir):
            self._note_made(self.cache.mark_absent(self.commit, path))
        return True

    def _bring(self, path: str, file: PinnedFile, local: bool, brought: list[str]) -> str | None:
        """Put a pinned file in place; returns what stands in the way."""
        # First of all: a file that is fetched ahead lies in place a moment before its record does.
        ahead = None if local else self._means.early.take(self._key(path))
        state = self.state(path)
        if ahead is not None or state == "missing":
            return self._settled(path, ahead or self._bring_in(path, file, local, _unguarded), brought)
        if state == "here":
            if self._means.ledger.owes:
                self._pay(path)
            return self._serve(path, "hub cache", "unchanged since it was hashed")
        if self._confirm(path, ()):
            return self._serve(path, "hub cache", "it was hashed and is what the pin says")
        return "the cached file is not what the pin says, `pinformers verify --repair` mends it where a source has it"

    def _confirm(self, path: str, made: Sequence[str]) -> bool:
        """Hash a file that looks unlike its record, once for each way that it looks."""
        target = self.cache.file(self.commit, path)
        looks, ledger = signature(target), self._means.ledger
        found: tuple[PinnedFile, Stat] | None = None
        if ledger.verdict(target, looks) is None:
            found = self._adoption.confirm(path)
            ledger.judge(target, looks, found is not None)
        elif made and looks is not None and ledger.verdict(target, looks):
            # Known from before it was removed and placed anew.
            found = self.pin.files[path], looks
        if found is not None:
            with self._noted(str(self._means.catalog.state_dir)):
                # Not of a pin that was removed while this was read.
                pin = self.pin.of_files({path: found[0]})
                self._means.catalog.amend(pin, Place(self.cache.cache_dir, {path: found[1]}, frozenset(made)))
        return bool(ledger.verdict(target, looks))

    def _begin(self, paths: Sequence[str]) -> None:
        """Begin to fetch what is going to be asked for: the files of one call, the weights of the model that loads."""
        ahead = [path for path in paths if path in self.pin.files] if len(paths) > 1 else []
        # Once for each number of files that are known of the commit.
        if expected() and self._means.early.first((*self._key(""), str(len(self.pin.files)))):
            ahead += weights(self.pin.files)
        for path in dict.fromkeys(ahead):
            if self.state(path) == "missing":
                file = self.pin.files[path]
                self._means.early.begin(self._key(path), file.size, partial(self._bring_in, path, file, False))

    def _key(self, path: str) -> tuple[str, ...]:
        return (self.cache.cache_dir, self.pin.repo_type, self.pin.repo, self.pin.commit, path)

    def _settled(self, path: str, found: Brought, brought: list[str]) -> str | None:
        brought += found.made
        if found.problem is not None:
            return found.problem
        self._failed_sources(found.chain)
        return self._serve(path, found.chain.delivered or "hub cache", _why(found.chain))

    def _bring_in(self, path: str, file: PinnedFile, local: bool, guard: Guard) -> Brought:
        """Fetch a file and record it; raises what a fetch raises."""
        shut = "" if local or self._means.gate is None else self._means.gate.entering(self.pin)
        alone = local or bool(shut)
        chain = Chain([source for source in self._means.sources if not alone or getattr(source, "local", False)])
        dag_path = self._means.catalog.dag_path(file.cid)
        try:
            fetch, record, runs = guard(chain.fetch), partial(self._record, path), guard(chain.run)
            fetched = fetch_file(self.cache, self.pin, path, fetch, dag_path, record, runs, self._note_made)
        except SourceError:
            if shut:
                return Brought([], chain, shut)
            raise
        return Brought(fetched.made, chain, self._taken(path, fetched))

    def _taken(self, path: str, fetched: Fetched) -> str | None:
        """Say so where another file than the pinned one has its place."""
        # Who waited for another's fetch finds what that one has recorded.
        if fetched.verified or self.state(path) == "here" or self._confirm(path, fetched.made):
            return None
        # A blob that another hand spoiled is made visible by no link of ours.
        for name in (name for name in fetched.made if name.startswith("snapshots/")):
            (self.cache.folder / name).unlink(missing_ok=True)
        return "another file has its place in the hub cache, `pinformers verify --repair` mends it"

    def _record(self, path: str, fetched: Fetched) -> None:
        if fetched.verified:
            self._means.ledger.judge(self.cache.file(self.commit, path), self._looks(path), True)
            record = partial(self._adoption.record, path, fetched.file, fetched.made)
            self._means.ledger.owe(self.cache.file(self.commit, path), record)
            self._pay(path)

    def _pay(self, path: str) -> None:
        """Record a file that was brought; where the disk is full, again when it is next asked for."""
        with self._noted(str(self._means.catalog.state_dir)):
            self._means.ledger.pay(self.cache.file(self.commit, path))

    def _note_made(self, made: list[str]) -> None:
        with self._noted(str(self._means.catalog.state_dir)):
            self._adoption.note_made(made)

    def _failed_sources(self, chain: Chain) -> None:
        """Warn once of each source that was tried in vain; one that simply does not have a block is no news."""
        for name in chain.dropped:
            message = "%s was tried for %s and failed: %s. Others delivered it."
            self._means.ledger.warn_once(f"source {name}", message, name, self.pin.repo, chain.failures[name])

    def _looks(self, path: str) -> Stat | None:
        return self.cache.looks(self.commit, path)

    @contextmanager
    def _noted(self, place: str) -> Iterator[None]:
        """Go on where a note cannot be written: the file that it is about is none the worse."""
        try:
            yield
        except OSError as exc:
            self._means.ledger.warn_once(place, "%s cannot be written, so less is remembered: %s.", place, exc)

    def _wrote_ref(self) -> bool:
        """Whether the hub cache's ref for this revision is one that we left there for an earlier commit."""
        known = read_ref(self.cache.ref_path(self.revision))
        earlier = self._means.catalog.pin(self.pin.repo, known[0], self.pin.repo_type) if known else None
        if earlier is None or earlier.commit == self.commit:
            return False
        return f"refs/{self.revision}" in self._means.catalog.place(earlier, self.cache.cache_dir).made

    def _serve(self, path: str, source: str, why: str) -> str | None:
        """Count a hit; returns that nothing stands in the way."""
        self._note(path, "hits", Served(source, why))
        return None

    def _fall_back(self, path: str, why: str) -> bool:
        subject, by = f"{self.pin.repo}/{path}", f" by {self.holder}" if self.holder else ""
        if self._means.strict:
            raise PinError(subject, f"it is pinned{by} and cannot be served, and nothing else may be: {why}")
        folder = "It was pinned from a folder, and the hub is not asked for it."
        after = folder if self.pin.origin == "folder" else "Plain transformers goes on."
        message = "%s is pinned%s but not served: %s. %s"
        self._means.ledger.warn_once(subject, message, subject, by, why, after)
        self._note(path, "fallbacks", Served(PLAIN, why))
        return False

    def _note(self, path: str, count: str, served: Served) -> None:
        self._means.ledger.counts[count] += 1
        self._means.ledger.note(self.pin.repo, self.commit, path, served)


def _unguarded(fetch: Callable[[Asked], Given]) -> Callable[[Asked], Given]:
    return fetch


def _why(chain: Chain) -> str:
    """Say how a fetched file came, and what was tried before."""
    return "every block was verified" + (f" (tried before: {chain.tried})" if chain.failures else "")
