"""The socket that is served on, and the end of serving by a signal."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pinformers._errors import ServeError

_BACKLOG = 128
# Each with an address that nobody has (RFC 5737, RFC 3849).
_EVERYWHERE = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; 0 picks a port. Raises ServeError."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as exc:
        advice = "this is no address of this machine; leave --host out to serve this machine alone."
        raise ServeError(host or "--host", advice) from exc
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # As servers do: a port whose last connections still linger is free.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as exc:
        bound.close()
        raise ServeError(f"{host}:{port}", _advice(exc)) from exc
    return bound


def _advice(exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "the port is taken; choose another with --port, or 0 for any that is free."
    if exc.errno == errno.EACCES:
        return "the port is reserved for the administrator; choose one above 1023 with --port."
    return f"this address cannot be served at ({exc.strerror or exc})."


def url(scheme: str, bound: socket.socket) -> str:
    """Return the URL of a socket; where it listens on every address, that of this machine alone."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def urls_for_others(scheme: str, bound: socket.socket) -> list[str]:
    """Return the URLs by which other machines may reach a socket: of one that listens on every address, by a guess."""
    host, port = bound.getsockname()[:2]
    if host not in _EVERYWHERE:
        return [url(scheme, bound)]
    names = [name for name in (_outward(bound.family, _EVERYWHERE[host]), socket.gethostname()) if name]
    return [f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}" for name in names]


def _outward(family: socket.AddressFamily | int, elsewhere: str) -> str:
    """Return the address that this machine would speak from to ``elsewhere``; empty where no way leads out."""
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            # Of UDP, this sends nothing: it only looks at the routes. A machine's name would be asked of DNS.
            asked.connect((elsewhere, 9))
        except OSError:
            return ""
        return str(asked.getsockname()[0])


def shut(client: socket.socket) -> None:
    """End a connection that another thread is using, in both directions."""
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It has gone by itself.
        return


@contextmanager
def until_signalled() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, in the main thread."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
