"""A limit for whole answers. A socket's timeout is for each wait, so that a server that drips is read for hours."""

from __future__ import annotations

import io
import math
import socket
import time
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

import urllib3
from urllib3.exceptions import ProtocolError

# An answer in chunks, of which a Kubo daemon sends 256 a MiB, is taken from the system in pieces of this size.
_BUFFER = 1 << 17
# Below this many bytes a second a server counts as stalled, although bytes come.
SLOWEST = 32 << 10


class PatientResponse(HTTPResponse):
    """An answer, headers and all, that has as long as its socket's timeout, and a second more for each 32 KiB of it."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        wait = sock.gettimeout()
        if wait is not None:
            self._limited = _Limited(self.fp.detach(), sock, wait)
            self.fp = io.BufferedReader(self._limited, _BUFFER)

    def renew(self) -> None:
        """Begin the time anew."""
        self._limited.renew()

    def end_at(self, until: float) -> None:
        """Have no more time than until then, however many bytes come."""
        self._limited.until = until


def renew(answer: urllib3.BaseHTTPResponse) -> None:
    """Begin the time of an answer anew, where it goes on as long as its server has something to say."""
    _inner(answer).renew()


def end_at(answer: urllib3.BaseHTTPResponse, until: float) -> None:
    """Have an answer end by then (``time.monotonic``), however many bytes come."""
    _inner(answer).end_at(until)


def _inner(answer: urllib3.BaseHTTPResponse) -> PatientResponse:
    return cast(PatientResponse, cast(urllib3.HTTPResponse, answer)._original_response)


class _Limited(io.RawIOBase):
    """What comes out of a socket, until its time is over."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, wait: float) -> None:
        self._raw, self._sock, self._wait = raw, sock, wait
        self._set, self.until = wait, math.inf
        self.renew()

    def renew(self) -> None:
        self._deadline = time.monotonic() + self._wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = min(self._deadline, self.until) - time.monotonic()
        if left <= 0:
            raise TimeoutError("the whole answer takes too long")
        if self._set != min(left, self._wait):
            self._set = min(left, self._wait)
            self._sock.settimeout(self._set)
        size = cast("int | None", self._raw.readinto(buffer))
        self._deadline += (size or 0) / SLOWEST
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class Body(io.RawIOBase):
    """The body of an answer, read past urllib3, which copies each byte three times on its way to a buffer."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer, self._inner = answer, _inner(answer)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            size = self._inner.readinto(buffer)
        except HTTPException as exc:
            raise ProtocolError(str(exc)) from exc
        if not size and self._inner.length:
            raise ProtocolError(f"{self._inner.length} bytes are missing")
        if not size:
            # All of it was read: the connection is good for another request.
            self._answer.release_conn()
        return size
