"""The RPC of a Kubo daemon: control calls through ipfshttpclient, streams of bytes by plain HTTP beside it."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.response import BaseHTTPResponse

from pinformers._errors import BlockNotFound, SourceError, SourceUnavailable
from pinformers.sources.http import Address, discard, is_loopback, mapped

NAME = "kubo"
_MULTIADDR = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/(\d+)(/https|/tls(?:/http)?|/http)?/?")
_CONNECT = 3.0
_ANSWER = 4 << 20
_BOUNDARY = "pinformers-7d1a3b0c9e5f4d2a8b6c"
T = TypeVar("T")


def url_of(address: str) -> Address:
    """Read a multiaddr or a URL; raises SourceUnavailable, without a password, for anything else."""
    match = _MULTIADDR.fullmatch(address)
    if match is not None:
        kind, host, port, scheme = match.groups()
        host = f"[{host}]" if kind == "ip6" else host
        address = f"{'https' if scheme not in (None, '/http') else 'http'}://{host}:{port}"
    try:
        return Address.parse(address)
    except ValueError as exc:
        example = "/ip4/127.0.0.1/tcp/5001 or http://127.0.0.1:5001"
        raise SourceUnavailable(NAME, f"the setting kubo_api is no address like {example}: {exc}") from None


class Rpc:
    """Calls to one daemon; threads share it, a forked child opens connections of its own.

    Every method raises SourceUnavailable where the daemon does not answer, or not as Kubo does, and SourceError with
    the daemon's own words where it refuses.
    """

    def __init__(self, address: str, *, token: str | None, timeout: float) -> None:
        self._address = url_of(address)
        self._timeout = timeout
        self._headers = {"User-Agent": "pinformers", **self._address.headers}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._lock, self._client_lock = threading.Lock(), threading.Lock()
        self._opened: tuple[int, urllib3.PoolManager] | None = None
        self._made: tuple[int, Any] | None = None

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        return self._address.url

    @property
    def local(self) -> bool:
        """Whether the daemon runs on this machine, and so reads the same files."""
        return is_loopback(urllib3.util.parse_url(self.url).host or "")

    # -- through ipfshttpclient -------------------------------------------------------------------------------

    def control(self, call: Callable[[Any], T]) -> T:
        """Do a control call with an ``ipfshttpclient.Client``."""
        # One at a time: a session of requests promises nothing about threads.
        with self._client_lock, _quiet(), _client_errors():
            return call(self._client())

    # -- by plain HTTP ----------------------------------------------------------------------------------------

    def read(self, command: str, limit: int = _ANSWER, *, wait: float | None = None, **options: object) -> bytes:
        """Call ``command`` and return its whole answer, at most ``limit`` bytes; ``wait`` (s) for each of them."""
        with self._call(command, options, None, wait) as answer:
            body = bytes(answer.read(limit + 1))
        if len(body) > limit:
            raise SourceUnavailable(NAME, f"its answer to {command} is longer than {limit} bytes")
        return body

    def send(self, command: str, parts: Iterable[bytes], headers: str = "", **options: object) -> list[dict[str, Any]]:
        """Upload one file as it is made, part headers among it; return the objects that the daemon answers with."""
        with self._call(command, options, _multipart(parts, headers), None) as answer:
            text = bytes(answer.read(_ANSWER)).decode(errors="replace")
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as exc:
            raise SourceUnavailable(NAME, f"its answer to {command} is not JSON: {text[:80]!r}") from exc

    @contextmanager
    def _call(
        self, command: str, options: Mapping[str, object], body: Iterator[bytes] | None, wait: float | None
    ) -> Iterator[BaseHTTPResponse]:
        query = {name.replace("_", "-"): _text(value) for name, value in options.items() if value is not None}
        kind = {} if body is None else {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        patience = urllib3.Timeout(connect=_CONNECT, read=self._timeout if wait is None else wait)
        with _transport():
            answer = self._open().request(
                "POST",
                f"{self.url}/api/v0/{command}?{urlencode(query)}",
                headers={**self._headers, **kind},
                body=body,
                timeout=patience,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            try:
                if answer.status != 200:
                    raise _refusal(command, answer)
                yield answer
            finally:
                # A connection whose answer was not read to its end cannot be used again.
                discard(answer)

    def _open(self) -> urllib3.PoolManager:
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = os.getpid(), urllib3.PoolManager(maxsize=16, num_pools=2)
            return self._opened[1]

    def _client(self) -> Any:
        if self._made is None or self._made[0] != os.getpid():
            # deferred: an import of a quarter of a second (requests, multiaddr).
            import ipfshttpclient

            # Built directly: connect() refuses every daemon from 0.8 on.
            where, base = _multiaddr(self.url)
            options = {"headers": self._headers, "timeout": (_CONNECT, self._timeout), "session": True}
            self._made = os.getpid(), ipfshttpclient.Client(where, base, **options)
            weakref.finalize(self, self._made[1].close)
        return self._made[1]


def _multiaddr(url: str) -> tuple[str, str]:
    """Write a URL as ipfshttpclient wants it: a multiaddr, and the path of the RPC."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    return f"/{kind}/{host}/tcp/{port}/{parts.scheme}", f"{parts.path}/api/v0".lstrip("/")


def is_json(body: bytes) -> Any:
    """Return what a JSON answer says; raises SourceUnavailable for anything else."""
    try:
        return json.loads(body)
    except ValueError as exc:
        raise SourceUnavailable(NAME, f"what answers there is not a Kubo daemon ({body[:40]!r})") from exc


def _multipart(parts: Iterable[bytes], headers: str) -> Iterator[bytes]:
    head = f'Content-Disposition: form-data; name="file"; filename="file"\r\n{headers}'
    yield f"--{_BOUNDARY}\r\n{head}Content-Type: application/octet-stream\r\n\r\n".encode()
    yield from (part for part in parts if part)
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusal(command: str, answer: BaseHTTPResponse) -> SourceError:
    body = bytes(answer.read(_ANSWER)).decode(errors="replace").strip()
    if answer.status in (401, 403):
        return SourceUnavailable(NAME, "it refuses us; the setting kubo_token names the token of its RPC")
    try:
        said = str(json.loads(body)["Message"])
    except (ValueError, KeyError, TypeError):
        return SourceUnavailable(NAME, f"what answers there is not a Kubo daemon ({answer.status} for {command})")
    return _said(said)


def _said(message: str) -> SourceError:
    """Tell what the daemon does not have, or did not find in time, from what else it refuses."""
    absent = "not found" in message or "could not find" in message or "deadline exceeded" in message
    return (BlockNotFound if absent else SourceError)(NAME, message)


@contextmanager
def _transport() -> Iterator[None]:
    try:
        with mapped(NAME):
            yield
    except SourceError as exc:
        if type(exc) in (SourceError, SourceUnavailable, BlockNotFound):
            raise
        raise SourceUnavailable(NAME, exc.reason) from exc


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # ipfshttpclient 0.7 passes strict=True, which urllib3 2 warns of, and parses versions with an old module.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def _client_errors() -> Iterator[None]:
    # deferred: loaded with the client.
    from ipfshttpclient import exceptions

    try:
        yield
    except exceptions.ErrorResponse as exc:
        raise _said(str(exc.args[0] if exc.args else exc)) from exc
    except exceptions.StatusError as exc:
        status = getattr(getattr(exc.original, "response", None), "status_code", "an error")
        refused = "it refuses us; the setting kubo_token names the token of its RPC"
        reason = refused if status in (401, 403) else f"what answers there is not a Kubo daemon ({status})"
        raise SourceUnavailable(NAME, reason) from exc
    except exceptions.TimeoutError as exc:
        raise SourceUnavailable(NAME, "it did not answer in time") from exc
    except exceptions.Error as exc:
        raise SourceUnavailable(NAME, "it cannot be reached, or what answers there is not a Kubo daemon") from exc
