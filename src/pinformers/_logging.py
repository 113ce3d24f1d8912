"""What a person sees on stderr where the application configured no logging; never a word on stdout."""

from __future__ import annotations

import contextlib
import logging
import sys

LOGGER = logging.getLogger("pinformers")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Stderr(logging.Handler):
    """Write ``[LEVEL] message`` to stderr, and only while no handler of the application would get the record."""

    def emit(self, record: logging.LogRecord) -> None:
        if not self._configured() and sys.stderr is not None:
            # A closed stderr, or a pipe whose reader ended, may not fail the import that we speak of.
            with contextlib.suppress(OSError, ValueError):
                # In one piece: ranks that share a terminal would otherwise write into each other's lines.
                sys.stderr.write(f"[{record.levelname}] {record.getMessage()}\n")

    def _configured(self) -> bool:
        others = [handler for handler in LOGGER.handlers if handler is not self]
        return bool(others) or (LOGGER.propagate and bool(logging.getLogger().handlers))


_HANDLER = Stderr()
# One below DEBUG, so that it is told from a level that somebody else set.
_OWN_LEVEL = logging.DEBUG - 1


def attach(log: str) -> None:
    """Show what is logged from the level ``log`` on ('off': nothing)."""
    _HANDLER.setLevel(_LEVELS.get(log, logging.CRITICAL + 1))
    if _HANDLER not in LOGGER.handlers:
        LOGGER.addHandler(_HANDLER)
    # Debug records are not even made unless asked for; a level that the application set stays.
    if LOGGER.level in (logging.NOTSET, _OWN_LEVEL):
        LOGGER.setLevel(_OWN_LEVEL if log == "debug" else logging.NOTSET)


def detach() -> None:
    """Take our handler off the logger."""
    LOGGER.removeHandler(_HANDLER)
    if LOGGER.level == _OWN_LEVEL:
        LOGGER.setLevel(logging.NOTSET)


def say(line: str) -> None:
    """Log ``line`` at INFO; an application that configured nothing sees it although Python's default is WARNING."""
    if LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info(line)
        return
    record = LOGGER.makeRecord(LOGGER.name, logging.INFO, __file__, 0, line, (), None)
    if record.levelno >= _HANDLER.level:
        _HANDLER.handle(record)
