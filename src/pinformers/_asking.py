"""Whether it is ourselves who ask the hub: what it says is then not to be answered from a pin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ASKING: ContextVar[bool] = ContextVar("pinformers_asking", default=False)


def asking() -> bool:
    """Whether the hub is being asked by us, in this context."""
    return _ASKING.get()


@contextmanager
def we_ask() -> Iterator[None]:
    """Ask the hub past all pins."""
    token = _ASKING.set(True)
    try:
        yield
    finally:
        _ASKING.reset(token)
