"""What goes between the gateway and the servers in front of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """A request: its target as it was sent (path and query), its headers under lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; an error that ``body`` raises while it is iterated must cut the connection.

    Without a Content-Length among the headers, only the end of the body says that it was complete.
    """

    status: int
    headers: Mapping[str, str]
    body: Iterable[bytes | memoryview] = ()


class Refusal(Exception):
    """A request that gets no content: the status, a sentence that says why, headers that belong to it."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
