"""Switching on and off: the only room that sees the import wing and the pin wing."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pinformers import _gate, _logging, _metadata, _waiting
from pinformers._asking import asking
from pinformers._errors import SettingsError
from pinformers.importing.hook import ImportHook
from pinformers.importing.routing import PACKAGE
from pinformers.importing.swaps import executing, weakly

if TYPE_CHECKING:
    from pinformers._settings import Loaded
    from pinformers.importing.finder import Finder
    from pinformers.pinning.resolver import Resolver


class Handle:
    """One activation: a context manager; ``disable()`` ends it, and the last one to end undoes everything."""

    def __init__(self, settings: Loaded | None, *, active: bool, reason: str, force: bool) -> None:
        self._loaded, self._force = settings, force
        self.told = settings is not None
        """Whether its settings say already what is shown."""
        self._active, self._reason, self._ended = active, reason, False
        self._resolver: Resolver | None = None
        self._lock = threading.RLock()

    @property
    def active(self) -> bool:
        """Whether this activation holds."""
        return self._active

    @property
    def reason(self) -> str:
        """Why it is as it is, in one line."""
        return self._reason

    def disable(self) -> None:
        """End this activation; a second call does nothing."""
        _STATE.leave(self, "disabled by its handle")

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.disable()

    def __repr__(self) -> str:
        return f"<pinformers.Handle active={self._active} reason={self._reason!r}>"

    @property
    def settings(self) -> Loaded:
        """The settings of this activation; the start-up line reads them when transformers is imported."""
        # deferred: reading settings takes milliseconds that a process without transformers need not spend.
        from pinformers._settings import read_settings

        with self._lock:
            if self._loaded is None:
                self._loaded = read_settings({})
            return self._loaded

    def resolver(self) -> Resolver:
        """Return the resolver of this activation, built on first use."""
        # deferred: the pin wing is needed when the first model is loaded, not when transformers is imported.
        from pinformers._composition import build_resolver

        with self._lock:
            if self._resolver is None:
                self._resolver = build_resolver(self.settings.settings)
                # Who ends it does not wait for one that is being built, and found none to close.
                if self._ended:
                    self._resolver.close()
            return self._resolver

    def end(self, reason: str) -> None:
        """Mark the end and stop the recorder between two chunks."""
        self._active, self._reason, self._ended = False, reason, True
        if self._resolver is not None:
            self._resolver.close()

    def forked(self) -> None:
        """Be the handle of a forked child, which builds a resolver of its own: with sources come many more locks."""
        self._lock, self._resolver = threading.RLock(), None

    def judge(self) -> _gate.Verdict:
        """Ask the gate again."""
        return _gate.judge(force=self._force)

    @property
    def known(self) -> Loaded | None:
        """The settings if they were read."""
        return self._loaded

    @property
    def built(self) -> Resolver | None:
        """The resolver if one was built."""
        return self._resolver


class _State:
    """The activations in their order, and the one hook that serves them all. Also the hook's Events."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._handles: list[Handle] = []
        self._hook: ImportHook | None = None
        self._wrong: set[str] = set()
        self.aside = False
        self.reason = "not enabled"

    def attach(self, loaded: Loaded) -> None:
        """Let ``loaded`` say what is shown, and show first what is to remark on it."""
        _logging.attach(loaded.settings.log)
        for remark in loaded.remarks:
            _logging.LOGGER.warning("%s", remark)

    def enter(self, handle: Handle) -> None:
        with self._lock:
            self._handles.append(handle)
            self.reason = handle.reason
            try:
                if self._hook is None:
                    self._hook = ImportHook(self.current, self.loading, self)
                    self._hook.install(_waiting.finder)
                else:
                    self._hook.widen()
            except BaseException:
                # Nobody gets the handle.
                self.leave(handle, "not enabled")
                raise

    def leave(self, handle: Handle, reason: str) -> None:
        with self._lock:
            ending = handle in self._handles
            if ending:
                self._handles.remove(handle)
            try:
                if ending:
                    handle.end(reason)
            finally:
                # Also where Ctrl-C ends the wait for the recorder: a second call finds no handle to end.
                if not self._handles and self._hook is not None:
                    self._hook.undo()
                    self._hook, self.reason = None, reason
                self.show()

    def forked(self) -> None:
        """Start afresh in a forked child: a thread that is not there may have held our locks."""
        self._lock = threading.RLock()
        for handle in self._handles:
            handle.forked()

    def leave_all(self, reason: str) -> None:
        for handle in reversed(list(self._handles)):
            self.leave(handle, reason)

    def show(self, handle: Handle | None = None) -> None:
        """Let ``handle``, or else the innermost activation, say what is shown, or nobody."""
        top = handle or self.top
        if top is None:
            _logging.detach()
        elif top.known is not None:
            _logging.attach(top.known.settings.log)

    @property
    def top(self) -> Handle | None:
        # A slice: another thread may end the last one between a look and a grasp.
        top = self._handles[-1:]
        return top[0] if top else None

    @property
    def hook(self) -> ImportHook | None:
        return self._hook

    # -- what the wings ask -----------------------------------------------------------------------------------

    def current(self) -> Resolver | None:
        top = self.top
        return None if top is None else top.resolver()

    def loading(self, name: str) -> AbstractContextManager[object]:
        resolver = self.current()
        return contextlib.nullcontext() if resolver is None else resolver.loading(name)

    def importing(self) -> bool:
        return self._admitted(_gate.PATCHING)

    def routing(self) -> bool:
        return not self.aside and any(map(self._wants_hub, list(self._handles))) and self._admitted(_gate.ROUTING)

    def everything(self) -> bool:
        top = self.top
        if top is None or top.known is None or self.aside:
            return False
        return top.known.settings.scope == "hub" and not asking()

    def _wants_hub(self, handle: Handle) -> bool:
        try:
            return handle.settings.settings.scope == "hub"
        except SettingsError as exc:
            # Whoever loads no model hears of it all the same; the import of transformers, once it ends, says so itself.
            stops = executing(sys.modules.get(PACKAGE))
            if handle.judge().open and not stops and str(exc) not in self._wrong:
                self._wrong.add(str(exc))
                if self.top is None or self.top.known is None:
                    # No settings say what is shown; without a handler of ours the line would have no level.
                    _logging.attach("warning")
                _logging.LOGGER.warning("huggingface_hub is left as it is: %s", exc)
            return False

    def _admitted(self, line: str) -> bool:
        judged = [(handle, handle.judge()) for handle in reversed(self._handles)]
        if not judged:
            return False
        # The innermost that may patch speaks, or the innermost: one line, however many the gate shuts out.
        handle, verdict = next((pair for pair in judged if pair[1].open), judged[0])
        with contextlib.nullcontext() if verdict.open else contextlib.suppress(SettingsError):
            # The way out stays open where other settings of ours are wrong.
            if not handle.told:
                self.attach(handle.settings)
                handle.told = True
            self.show(handle)
        _logging.say(verdict.line or line)
        for shut, why in judged:
            if not why.open:
                self.leave(shut, why.line)
        return verdict.open

    def patched(self, names: list[str]) -> None:
        _logging.say(_gate.PATCHED.format(count=len(names)))


_STATE = _State()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=weakly(_STATE.forked, None))


def step_aside() -> None:
    """Leave huggingface_hub's own functions alone from now on: this process is our command line, which asks the hub."""
    _STATE.aside = True


def enable(*, force: bool = False, **settings: Any) -> Handle:
    """Turn pinformers on, before or after ``transformers`` was imported.

    Args:
        force: pass the CI gate (never ``TRANSFORMERS_PATCH_DISABLE`` nor ``STORAGE_FORCE_LOCAL``).
        settings: any of the settings, over file and environment; see ``pinformers config``.

    Returns:
        A handle; calls nest, and the last handle to end undoes everything. The innermost one's settings count.
        It is not active, and says why, where the gate is closed.

    Raises:
        SettingsError: a setting has a wrong value or an unknown name.
    """
    # deferred: see Handle.settings.
    from pinformers._settings import read_settings

    loaded = read_settings(settings)
    verdict = _gate.judge(force=force)
    _STATE.attach(loaded)
    if not verdict.open:
        _logging.say(verdict.line)
        _STATE.show()
        if _STATE.top is None:
            _STATE.reason = verdict.line
        return Handle(loaded, active=False, reason=verdict.line, force=force)
    handle = Handle(loaded, active=True, reason="enabled by pinformers.enable()", force=force)
    _STATE.enter(handle)
    return handle


def finder() -> Finder | None:
    """Return the finder that is installed, if one is."""
    return None if _STATE.hook is None else _STATE.hook.finder


def start(how: str) -> None:
    """Arm the hook as the start-up line wants it; gate and settings are looked at when transformers is imported."""
    if _STATE.top is not None:
        return
    reasons = {"marker": "enabled by `pinformers activate`", "force": "enabled by PINFORMERS=force"}
    reason = reasons.get(how, "enabled by the environment variable PINFORMERS")
    _STATE.enter(Handle(None, active=True, reason=reason, force=how == "force"))


def disable() -> None:
    """End every activation and leave the interpreter as it was before the first."""
    _STATE.leave_all("disabled by pinformers.disable()")


def flush(timeout: float | None = None) -> bool:
    """Wait until everything that was loaded is hashed, recorded and pinned, also what earlier processes left.

    Args:
        timeout: seconds to wait at most; None waits for as long as it takes.

    Returns:
        Whether all of it is done.

    Raises:
        SettingsError: a setting has a wrong value.
    """
    with _asked() as handle:
        return handle.resolver().recorder.flush(timeout)


def explain(model: str, revision: str | None = None) -> dict[str, Any]:
    """Say, file by file, from where ``model`` would be or was served in this process, and why.

    Args:
        model: a name of the hub (``org/model``, ``datasets/org/rows``) or a name by content (``ipfs://CID``).
        revision: a branch, a tag or a commit; ``main`` where it is None.

    Returns:
        ``model``, ``revision``, ``pinned`` (whether a pin answers), ``commit``, ``root``, ``complete``, ``access``,
        ``published``, ``why`` and ``files``: a list of dicts with ``path``, ``size`` (bytes), ``cid``, ``source``,
        ``why`` and ``served`` (whether it was, in this process).

    Raises:
        PinError: ``model`` or ``revision`` is not the form of any.
        NotLocked: ``locked`` is set and the lockfile does not name the model.
        LockMismatch: what is known of the model contradicts the lockfile.
        BadLock: the lockfile cannot be read.
        SettingsError: a setting has a wrong value.
    """
    # deferred: the pin wing, see Handle.resolver.
    from pinformers.pinning.reporting import explanation

    with _asked() as handle:
        return explanation(handle.resolver(), model, revision)


def get_status() -> dict[str, Any]:
    """Return the state of this process and of the pin cache as a plain dict.

    Returns:
        ``enabled``, ``applied``, ``scope``, ``patched_classes``, ``should_patch``, ``reason``, ``displaced``,
        ``versions``, ``cache_dir``, ``state_dir``, ``sources``, ``on_miss``, ``pins``, ``bytes``, ``hits``,
        ``misses``, ``fallbacks``.

    Raises:
        SettingsError: a setting has a wrong value.
    """
    # deferred: the pin wing, see Handle.resolver.
    from pinformers.pinning.reporting import totals

    hook, top = _STATE.hook, _STATE.top
    verdict = top.judge() if top is not None else _gate.judge(force=False)
    with _asked() as handle:
        return {
            "enabled": top is not None,
            "applied": hook is not None and hook.applied,
            "scope": handle.settings.settings.scope,
            "patched_classes": list(hook.names) if hook is not None else [],
            "should_patch": verdict.open,
            "reason": verdict.line or (top.reason if top is not None else _STATE.reason),
            "displaced": hook is not None and hook.displaced,
            "versions": _versions(),
            **totals(handle.resolver()),
        }


@contextlib.contextmanager
def _asked() -> Iterator[Handle]:
    """Yield the current activation, or one made for this question alone."""
    top = _STATE.top
    if top is not None:
        yield top
        return
    handle = Handle(None, active=False, reason="", force=False)
    try:
        yield handle
    finally:
        handle.end("")


def _versions() -> dict[str, str | None]:
    names = ("pinformers", "transformers", "huggingface_hub", "torch", "filelock")
    return {"python": sys.version.split()[0], **{name: _metadata.version(name) for name in names}}


if _waiting.finder is not None:
    # An import of transformers, or a question to us: from here on it is as if nobody had waited.
    start(_waiting.finder.how)
    _waiting.finder = None
