"""HTTP for sources: kept connections, the proxies and certificates of the user's environment, redirects, plain errors.

Every error of urllib3 ends here, as a Refusal in words that name no password.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.response import BaseHTTPResponse

from pinformers._errors import Refusal, SourceError
from pinformers.sources.addresses import Address, is_loopback, netloc, redacted
from pinformers.sources.patience import PatientResponse
from pinformers.sources.refusal import words

REDIRECTS = 5
# Longer than any error page should be: then a new connection is cheaper than reading on.
_DRAINED = 1 << 16
_MOVED = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Network:
    """The way out, as the user's environment describes it.

    ``proxies`` by scheme, ``direct`` says which hosts are reached without one, ``ca_bundle`` is a file or folder of
    certificates. Without it OpenSSL's own places count, SSL_CERT_FILE and SSL_CERT_DIR among them.
    """

    proxies: Mapping[str, str] = field(default_factory=dict)
    direct: Callable[[str], bool] = lambda host: False
    ca_bundle: str | os.PathLike[str] | None = None

    @classmethod
    def of_user(cls, ca_bundle: str | os.PathLike[str] | None = None) -> Network:
        """Read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case."""
        return cls(getproxies(), lambda host: bool(proxy_bypass(host)), ca_bundle)

    def proxy(self, parts: SplitResult) -> str | None:
        """Return the proxy for a URL; this machine itself is reached without one."""
        found = self.proxies.get(parts.scheme) or self.proxies.get("all")
        if not found or is_loopback(parts.hostname or "") or self.direct(netloc(parts)):
            return None
        return found if "://" in found else f"http://{found}"

    def tls(self) -> ssl.SSLContext:
        """Return a context that verifies; raises Refusal for certificates that cannot be read."""
        try:
            if self.ca_bundle and os.path.isdir(self.ca_bundle):
                return ssl.create_default_context(capath=self.ca_bundle)
            return ssl.create_default_context(cafile=self.ca_bundle)
        except OSError as exc:
            where = self.ca_bundle or "SSL_CERT_FILE"
            raise Refusal("TLS", f"the certificates in {where} cannot be read ({exc.strerror or exc})") from exc


class Exchange:
    """One request and its answer, which another thread may cut off at any time.

    ``answered`` is the time at which the headers of the final answer were here, ``until`` that at which all redirects
    must have led to it. ``wait`` is the limit for each wait, in seconds, where it is another than for other requests.
    """

    def __init__(self, until: float | None = None, wait: float | None = None) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self.until, self.wait = until, wait
        self.abandoned = False
        self.kept = False
        self.answered: float | None = None

    def abandon(self) -> None:
        """Close the connection under whoever reads from it, and let none be opened."""
        with self._lock:
            self.abandoned = True
            connection = self._connection
        if connection is not None:
            connection.cut(self)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have the connection that this thread uses meanwhile be the exchange's."""
        self.kept, _running.exchange = False, self
        try:
            yield
        finally:
            _running.exchange = None

    def enter(self, connection: Connection, *, kept: bool) -> None:
        """Note the connection; raises OSError when the exchange was abandoned before."""
        with self._lock:
            self._connection, self.kept = connection, kept
            if self.abandoned:
                raise ConnectionAbortedError("it was abandoned")


class _Running(threading.local):
    exchange: Exchange | None = None


_running = _Running()
Manager = TypeVar("Manager", bound=urllib3.PoolManager)
T = TypeVar("T")


class Connection(HTTPConnection):
    """Know the exchange that uses it now: a connection goes back to its pool before its reader knows of it."""

    response_class = PatientResponse

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owning = threading.Lock()
        self._owner: Exchange | None = None
        self._used = self._last = False

    @property
    def is_connected(self) -> bool:
        # A server closes after the last answer, perhaps not yet, and need not have said so in it.
        return not self._last and super().is_connected

    def connect(self) -> None:
        self._used = False
        self._own()
        super().connect()

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._own()
        # An answer that ends with its connection needs no chunks, in which HTTP/1.1 sends what has no length.
        self._last = (kwargs.get("headers") or {}).get("Connection") == "close"
        self._http_vsn, self._http_vsn_str = (10, "HTTP/1.0") if self._last else (11, "HTTP/1.1")
        if self.sock is not None:
            # What the last answer left of its own time is not what this request may take.
            self.sock.settimeout(self.timeout)
        super().request(*args, **kwargs)
        self._used = True

    def cut(self, exchange: Exchange) -> None:
        """Wake whoever reads, unless the connection serves another exchange by now."""
        with self._owning:
            sock = self.sock
            # A plain shutdown also of TLS: SSLSocket's own takes the TLS object from under its reader.
            if self._owner is exchange and isinstance(sock, socket.socket):
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _own(self) -> None:
        exchange = _running.exchange
        with self._owning:
            self._owner = exchange
        if exchange is not None:
            exchange.enter(self, kept=self._used and self.sock is not None)


def owned(manager: Manager) -> Manager:
    """Have a manager of pools open connections of ours, whatever it adds to them, as a proxy or a family."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _owned(pool) for scheme, pool in pools.items()}
    return manager


@cache
def _owned(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    if issubclass(pool.ConnectionCls, Connection):
        return pool
    connection = type("OwnConnection", (Connection, pool.ConnectionCls), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


class Connections:
    """Answer GET requests over connections that are kept, at most ``kept`` a host. Threads share it, processes do not.

    ``timeout`` is for each wait, in seconds.
    """

    def __init__(self, network: Network, *, timeout: float, kept: int) -> None:
        self._network, self._timeout, self._kept = network, timeout, kept
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, str | None], urllib3.PoolManager] = {}

    def close(self) -> None:
        """Close what is idle, now; what is in use, when it is done."""
        for manager in self._managers.values():
            manager.clear()

    def get(
        self, url: str, headers: Mapping[str, str], exchange: Exchange, secret: Mapping[str, str] | None = None
    ) -> BaseHTTPResponse:
        """Return the answer with its body unread, redirects followed; raises Refusal.

        ``secret`` headers go to the first server only.
        """
        first, seen = urlsplit(url), {url}
        while True:
            parts = urlsplit(url)
            mine = secret if (parts.scheme, netloc(parts)) == (first.scheme, netloc(first)) else None
            answer = self._once(parts, {**headers, **(mine or {})}, exchange)
            target = answer.headers.get("Location")
            if answer.status not in _MOVED or not target:
                return answer
            discard(answer)
            url = _next(url, target)
            if url in seen or len(seen) > REDIRECTS:
                raise Refusal(first.netloc, "it redirects without an end")
            seen.add(url)

    def _once(self, parts: SplitResult, headers: Mapping[str, str], exchange: Exchange) -> BaseHTTPResponse:
        host = parts.hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            # Resolvers need not know *.localhost, to which Kubo redirects; and it does not redirect from 127.0.0.1.
            port = f":{parts.port}" if parts.port else ""
            headers = {**headers, "Host": f"{'127.0.0.1' if host == 'localhost' else host}{port}"}
            parts = parts._replace(netloc=f"localhost{port}")
        return resent(lambda: self._send(parts, headers, exchange), exchange, self._kept)

    def _send(self, parts: SplitResult, headers: Mapping[str, str], exchange: Exchange) -> BaseHTTPResponse:
        manager = self._manager(parts)
        wait = exchange.wait or self._timeout
        left = None if exchange.until is None else exchange.until - time.monotonic()
        if left is not None and left <= 0:
            raise Refusal(parts.netloc, "it stalled: it did not answer in time", "stalled")
        with mapped(parts.netloc), exchange.running():
            answer = manager.request(
                "GET",
                parts.geturl(),
                headers={"Accept-Encoding": "identity", "User-Agent": "pinformers", **headers},
                timeout=urllib3.Timeout(total=left, connect=wait, read=wait),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        if exchange.abandoned:
            # http.client takes a header that ends too early for a whole one.
            answer.close()
            raise Refusal(parts.netloc, "it was abandoned", "broken")
        return answer

    def _manager(self, parts: SplitResult) -> urllib3.PoolManager:
        proxy = self._network.proxy(parts)
        key = (parts.scheme, proxy)
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._open(*key)
            return self._managers[key]

    def _open(self, scheme: str, proxy: str | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": self._kept, "num_pools": 32}
        if "https" in (scheme, urlsplit(proxy or "").scheme):
            options["ssl_context"] = self._network.tls()
        if proxy is not None and proxy.startswith("socks"):
            return owned(_socks(proxy, options))
        return owned(urllib3.PoolManager(**options) if proxy is None else _proxied(proxy, options))


def resent(send: Callable[[], T], exchange: Exchange, kept: int) -> T:
    """Send a request, and again where the connection was one of ``kept`` that were used before and broke.

    A server may close such a one in the moment in which it is used again (RFC 9112, 9.3.1). Raises what ``send`` does.
    """
    for _ in range(kept):
        try:
            return send()
        except Refusal as exc:
            if exc.kind != "broken" or not exchange.kept or exchange.abandoned:
                raise
    return send()


def discard(answer: BaseHTTPResponse) -> None:
    """Give the connection back: what is left is read where it is short, else the connection is closed."""
    with suppress(exceptions.HTTPError, OSError):
        left = answer.length_remaining
        if left is not None and left <= _DRAINED:
            answer.read(left + 1)
    if not answer.closed:
        answer.close()


@contextmanager
def mapped(where: str) -> Iterator[None]:
    """Turn the errors of urllib3 into a Refusal."""
    try:
        yield
    except (exceptions.HTTPError, OSError, ValueError) as exc:
        if isinstance(exc, SourceError):
            raise
        reason, kind = words(exc)
        raise Refusal(where, reason, kind) from exc


def _next(url: str, target: str) -> str:
    try:
        following = urljoin(url, target)
        before, after = urlsplit(url), urlsplit(following)
        Address.parse(after._replace(query="", fragment="").geturl())
    except ValueError as exc:
        raise Refusal(urlsplit(url).netloc, "it redirects to what is no URL", "failed") from exc
    if before.scheme == "https" and after.scheme == "http":
        raise Refusal(before.netloc, "it redirects from https to http")
    if is_loopback(after.hostname or "") and not is_loopback(before.hostname or ""):
        # The services of this machine are none of its business.
        raise Refusal(before.netloc, "it redirects to this machine")
    return after._replace(netloc=netloc(after), fragment="").geturl()


def _proxied(proxy: str, options: Mapping[str, Any]) -> urllib3.PoolManager:
    try:
        address = Address.parse(proxy)
    except ValueError as exc:
        raise Refusal("proxy", f"the proxy {redacted(proxy)} cannot be used: {exc}") from None
    secret = {f"Proxy-{name}".lower(): value for name, value in address.headers.items()}
    tls = options.get("ssl_context")
    return urllib3.ProxyManager(address.url, proxy_headers=secret, proxy_ssl_context=tls, **options)


def _socks(proxy: str, options: Mapping[str, Any]) -> urllib3.PoolManager:
    if importlib.util.find_spec("socks") is None:
        raise Refusal("proxy", f"the proxy {redacted(proxy)} needs PySocks: pip install 'urllib3[socks]'")
    # deferred: an optional client, whose import warns where PySocks is missing.
    from urllib3.contrib.socks import SOCKSProxyManager

    try:
        return SOCKSProxyManager(proxy, **options)
    except ValueError as exc:
        raise Refusal("proxy", f"the proxy {redacted(proxy)} cannot be used") from exc
