"""The RPC of a Kubo daemon: control calls through ipfshttpclient, streams of bytes by plain HTTP beside it."""

from __future__ import annotations

import io
import ipaddress
import json
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.response import BaseHTTPResponse

from pinformers._errors import BlockNotFound, SourceError, SourceUnavailable
from pinformers.sources.addresses import Address, is_loopback, url_of_multiaddr
from pinformers.sources.http import Connection, Exchange, Network, discard, mapped, owned, resent
from pinformers.sources.patience import Body, renew

NAME = "kubo"
_UNIX = "/unix/"
_CONNECT = 3.0
# Two files that are fetched ahead, and what the load asks for itself.
_KEPT = 32
_ANSWER = 4 << 20
_LINE = 1 << 20
_BOUNDARY = "pinformers-7d1a3b0c9e5f4d2a8b6c"
T = TypeVar("T")


def url_of(address: str) -> Address:
    """Read a multiaddr or a URL; raises SourceUnavailable, without a password, for anything else."""
    if address.startswith(_UNIX) and address.strip("/") != "unix":
        if not hasattr(socket, "AF_UNIX"):
            reason = "the setting kubo_api names a Unix socket, which Python does not know on this system"
            raise SourceUnavailable(NAME, f"{reason}; name the RPC by an address like /ip4/127.0.0.1/tcp/5001")
        # Kubo writes /unix//run/ipfs.sock, and the multiaddr library wants one slash.
        return Address(f"{_UNIX}{address[len(_UNIX) :].lstrip('/')}")
    try:
        return Address.parse(url_of_multiaddr(address) or address)
    except ValueError as exc:
        example = "/ip4/127.0.0.1/tcp/5001 or http://127.0.0.1:5001"
        raise SourceUnavailable(NAME, f"the setting kubo_api is no address like {example}: {exc}") from None


class _Made(threading.local):
    """The ``ipfshttpclient.Client`` of a thread, and the process that made it."""

    client: tuple[int, Any] | None = None


class Rpc:
    """Calls to one daemon; threads share it, a forked child opens connections of its own.

    ``timeout`` is the seconds for each wait and, with one more for each 32 KiB, for each whole answer.
    No proxy is asked, and ``.netrc`` is not read: the token is the daemon's alone. Every method raises
    SourceUnavailable where the daemon does not answer, or not as Kubo does, and SourceError with the daemon's own words
    where it refuses.
    """

    def __init__(self, address: str, *, token: str | None, timeout: float, ca_bundle: Path | None = None) -> None:
        self._address = url_of(address)
        self._timeout, self._network = timeout, Network(ca_bundle=ca_bundle)
        self._headers = {"User-Agent": "pinformers", **self._address.headers}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._opened: tuple[int, urllib3.PoolManager | HTTPConnectionPool] | None = None
        self._made = _Made()

    @property
    def url(self) -> str:
        """Where it is, without a password."""
        return self._address.url

    @property
    def local(self) -> bool:
        """Whether the daemon runs on this machine, and so reads the same files."""
        return self._unix or is_loopback(urlsplit(self.url).hostname or "")

    @property
    def _unix(self) -> bool:
        return self.url.startswith(_UNIX)

    # -- through ipfshttpclient -------------------------------------------------------------------------------

    def control(self, call: Callable[[Any], T]) -> T:
        """Do a control call with an ``ipfshttpclient.Client``, and take from its answer what is wanted."""
        with _client_errors():
            return call(self._client())

    # -- by plain HTTP ----------------------------------------------------------------------------------------

    def read(self, command: str, limit: int = _ANSWER, *, wait: float = 0.0, **options: object) -> bytes:
        """Call ``command`` and return its whole answer, at most ``limit`` bytes; ``wait`` stands for the timeout."""
        with self._call(command, options, wait=wait) as answer:
            return _whole(command, answer, limit)

    @contextmanager
    def stream(self, command: str, *, wait: float = 0.0, **options: object) -> Iterator[io.BufferedReader]:
        """Call ``command``, and have its answer to read from."""
        with self._call(command, options, wait=wait, headers=self._alone) as answer:
            yield io.BufferedReader(Body(answer), 1 << 16)

    def send(self, command: str, parts: Iterable[bytes], headers: str = "", **options: object) -> list[dict[str, Any]]:
        """Upload one file as it is made, part headers among it; return the objects that the daemon answers with.

        What making it raises is raised.
        """
        body = _Body(_multipart(parts, headers))
        try:
            with self._call(command, options, body) as answer:
                text = _whole(command, answer, _ANSWER).decode(errors="replace")
        except SourceUnavailable:
            if body.problem is not None:
                raise body.problem from None
            raise
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as exc:
            raise SourceUnavailable(NAME, f"its answer to {command} is not JSON: {text[:80]!r}") from exc

    def follow(self, command: str, **options: object) -> Iterator[dict[str, Any]]:
        """Call ``command`` and yield the objects of its answer as they come, each within the timeout."""
        rest = b""
        with self._call(command, options) as answer:
            while part := answer.read1(1 << 16):
                *lines, rest = (rest + part).split(b"\n")
                if len(rest) > _LINE:
                    raise SourceUnavailable(NAME, f"its answer to {command} has a line of more than {_LINE} bytes")
                for line in filter(bytes.strip, lines):
                    renew(answer)
                    yield is_json(line)
        if rest.strip():
            yield is_json(rest)

    @contextmanager
    def _call(
        self,
        command: str,
        options: Mapping[str, object],
        body: Iterable[bytes] | None = None,
        wait: float = 0.0,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[BaseHTTPResponse]:
        query = {name.replace("_", "-"): _text(value) for name, value in options.items() if value is not None}
        kind = {} if body is None else {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        # The first one is for sending, too, and a daemon whose disk is busy reads an upload when it can.
        patience = urllib3.Timeout(connect=_CONNECT if body is None else self._timeout, read=wait or self._timeout)
        exchange = Exchange()

        def send() -> BaseHTTPResponse:
            with mapped(NAME), exchange.running():
                return self._open().request(
                    "POST",
                    f"{'' if self._unix else self.url}/api/v0/{command}?{urlencode(query, doseq=True)}",
                    headers={**self._headers, **kind, **(headers or {})},
                    body=body,
                    timeout=patience,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                )

        with _transport():
            # A body is made once.
            answer = resent(send, exchange, _KEPT if body is None else 0)
            try:
                if answer.status != 200:
                    raise _refusal(command, answer)
                yield answer
            finally:
                # A connection whose answer was not read to its end cannot be used again.
                discard(answer)

    def _open(self) -> urllib3.PoolManager | HTTPConnectionPool:
        # Without a lock, which a fork could find held: of two pools that are made at once, one is dropped.
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            self._opened = opened = os.getpid(), self._pool()
        return opened[1]

    def _pool(self) -> urllib3.PoolManager | HTTPConnectionPool:
        if self._unix:
            return _UnixPool(self.url[len(_UNIX) - 1 :])
        return owned(urllib3.PoolManager(maxsize=_KEPT, num_pools=2, **self._tls()))

    @property
    def _alone(self) -> dict[str, str]:
        """What a call sends whose connection serves no other one; HTTP/1.0 has no Host, and a proxy may need it."""
        return {"Connection": "close", "Host": "localhost" if self._unix else urlsplit(self.url).netloc}

    def _tls(self) -> dict[str, Any]:
        return {"ssl_context": self._network.tls()} if self.url.startswith("https:") else {}

    def _client(self) -> Any:
        made = self._made.client
        if made is None or made[0] != os.getpid():
            # deferred: an import of a quarter of a second (requests, multiaddr).
            import ipfshttpclient

            # Built directly: connect() refuses every daemon from 0.8 on.
            where, base = (self.url, "api/v0") if self._unix else _multiaddr(self.url)
            options = {"headers": self._headers, "timeout": (_CONNECT, self._timeout), "session": True}
            self._made.client = made = os.getpid(), ipfshttpclient.Client(where, base, **options)
            self._settle(made[1]._client._session)
        return made[1]

    def _settle(self, session: Any) -> None:
        """Have a session of requests use connections as ours are."""
        # Else a password in ~/.netrc stands before the token, and a proxy is sent what is for localhost.
        session.trust_env = False
        session.verify = str(self._network.ca_bundle or "") or True
        tls = self._tls()
        for adapter in session.adapters.values():
            # An argument that urllib3 2 warns of; the filters of warnings are the process's, not this thread's.
            pools = owned(adapter.poolmanager)
            pools.connection_pool_kw.pop("strict", None)
            pools.connection_pool_kw.update(tls)


class _UnixConnection(Connection):
    """A connection to a socket in the file system."""

    def __init__(self, *args: Any, path: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except OSError as exc:
            sock.close()
            raise NewConnectionError(self, str(exc)) from exc
        self.sock = sock


class _UnixPool(HTTPConnectionPool):
    ConnectionCls = _UnixConnection

    def __init__(self, path: str) -> None:
        super().__init__("localhost", maxsize=_KEPT, path=path)


def _multiaddr(url: str) -> tuple[str, str]:
    """Write a URL as ipfshttpclient wants it: a multiaddr, and the path of the RPC."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    return f"/{kind}/{host}/tcp/{port}/{parts.scheme}", f"{parts.path}/api/v0".lstrip("/")


def _whole(command: str, answer: BaseHTTPResponse, limit: int) -> bytes:
    body = bytes(answer.read(limit + 1))
    if len(body) > limit:
        raise SourceUnavailable(NAME, f"its answer to {command} is longer than {limit} bytes")
    return body


def is_json(body: bytes) -> Any:
    """Return what a JSON answer says; raises SourceUnavailable for anything else."""
    try:
        return json.loads(body)
    except ValueError as exc:
        raise SourceUnavailable(NAME, f"what answers there is not a Kubo daemon ({body[:40]!r})") from exc


class _Body:
    """The body of a request; ``problem`` is what making it raised, which urllib3 takes for a fault of the network."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self.problem: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._parts
        except Exception as exc:
            self.problem = exc
            raise


def _multipart(parts: Iterable[bytes], headers: str) -> Iterator[bytes]:
    head = f'Content-Disposition: form-data; name="file"; filename="file"\r\n{headers}'
    yield f"--{_BOUNDARY}\r\n{head}Content-Type: application/octet-stream\r\n\r\n".encode()
    yield from (part for part in parts if part)
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()


def _text(value: object) -> str | list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
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
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise SourceUnavailable(NAME, "what answers there is not a Kubo daemon") from exc
    except OSError as exc:
        if isinstance(exc, SourceError):
            raise
        # Of requests, around an error of urllib3: ipfshttpclient lets through what happens after the headers.
        late = bool(exc.args) and isinstance(exc.args[0], urllib3.exceptions.TimeoutError)
        raise SourceUnavailable(NAME, "it did not answer in time" if late else "the connection broke") from exc
