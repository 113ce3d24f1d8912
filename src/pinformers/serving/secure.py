"""TLS with HTTP/2 (and HTTP/1.1), by hypercorn: what Kubo's own HTTP retrieval speaks."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pinformers._errors import BadContent, ServeError
from pinformers.ipfs.traversal import Blocks
from pinformers.serving.gateway import answer
from pinformers.serving.listening import shut
from pinformers.serving.messages import Request, Response
from pinformers.serving.threads import MOST, PATIENCE

# Threads that read blocks; hypercorn's loop itself must never wait for a disk.
_READERS = 16
_logger = logging.getLogger("pinformers")
T = TypeVar("T")
Address = tuple[str, int]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def check_tls(cert: Path, key: Path) -> None:
    """Raise ServeError where hypercorn is missing or a certificate and its key cannot be used."""
    try:
        # deferred: an extra; only a certificate needs it.
        import hypercorn  # noqa: F401
    except ImportError as exc:
        advice = "TLS and HTTP/2 need hypercorn; install it with `pip install 'pinformers[serve]'`."
        raise ServeError("--cert", advice) from exc
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except FileNotFoundError as exc:
        missing = key if cert.exists() else cert
        raise ServeError(str(missing), "there is no such file; name a certificate and its key in PEM form.") from exc
    except OSError as exc:
        raise ServeError(f"{cert}, {key}", f"this is no certificate with its key in PEM form ({exc}).") from exc


def serve_tls(bound: socket.socket, blocks: Blocks, files: tuple[Path, Path], ended: threading.Event) -> None:
    """Serve ``blocks`` on a listening socket with a certificate and its key until ``ended`` is set."""
    # deferred: as above.
    from hypercorn.asyncio import serve
    from hypercorn.config import Config, Sockets

    doorkeeper = _Doorkeeper(bound, MOST)
    gateway: Any = _Gateway(blocks, doorkeeper)

    class Settings(Config):  # type: ignore[misc, unused-ignore]  # without the extra it is unknown
        def create_sockets(self) -> Any:
            return Sockets([doorkeeper], [], [])

    settings = Settings()
    settings.certfile, settings.keyfile = map(str, files)
    settings.accesslog = settings.errorlog = None
    settings.include_server_header = False
    settings.keep_alive_timeout = PATIENCE
    settings.ssl_handshake_timeout = PATIENCE
    settings.graceful_timeout = 0.1

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(readers)
        loop.set_exception_handler(_unhandled)

        async def end() -> None:
            await _threaded(ended.wait)
            # Python 3.12 and later would wait for the clients to leave.
            doorkeeper.end()

        await serve(gateway, settings, shutdown_trigger=end)

    with ThreadPoolExecutor(_READERS, "pinformers-serve") as readers:
        asyncio.run(run())


class _Doorkeeper(socket.socket):
    """A listening socket that knows the connections it gave out and can cut them, which hypercorn has no means for.

    It bounds them as ThreadServer does.
    """

    def __init__(self, bound: socket.socket, most: int) -> None:
        super().__init__(fileno=bound.detach())
        self._most, self._ending = most, False
        # The oldest first; a connection that answers moves to the end.
        self._clients: dict[Address, socket.socket] = {}
        self._answering: Counter[Address] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        client, address = super().accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients = {known: other for known, other in self._clients.items() if other.fileno() != -1}
        if len(self._clients) >= self._most:
            idle = next((known for known in self._clients if not self._answering[known]), None)
            shut(client if idle is None else self._clients.pop(idle))
        elif self._ending:
            shut(client)
        self._clients[address[:2]] = client
        return client, address

    @contextmanager
    def answering(self, address: Address) -> Iterator[None]:
        """Note that a request of this client is being answered."""
        self._answering[address] += 1
        try:
            yield
        finally:
            self._answering -= Counter([address])
            if address in self._clients:
                self._clients[address] = self._clients.pop(address)

    def cut(self, address: Address) -> None:
        """End a connection, whatever it is doing."""
        if address in self._clients:
            shut(self._clients.pop(address))

    def end(self) -> None:
        """End all connections, and those that still arrive."""
        self._ending = True
        for address in list(self._clients):
            self.cut(address)


class _Gateway:
    """The ASGI application."""

    def __init__(self, blocks: Blocks, doorkeeper: _Doorkeeper) -> None:
        self._blocks, self._doorkeeper = blocks, doorkeeper

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        address = scope["client"]
        with self._doorkeeper.answering(address):
            try:
                response = await _threaded(answer, _request(scope), self._blocks)
                await self._send(response, receive, send)
            except Exception as exc:
                # Neither hypercorn nor ASGI can end an HTTP/2 stream as broken: the connection says that it is.
                level = logging.DEBUG if isinstance(exc, OSError | BadContent | TimeoutError) else logging.ERROR
                _logger.log(level, "The connection of %s ended: %r.", address[0], exc)
                self._doorkeeper.cut(address)

    async def _send(self, response: Response, receive: Receive, send: Send) -> None:
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        gone = asyncio.ensure_future(_gone(receive))
        body = iter(response.body)
        try:
            while (piece := await _threaded(next, body, None)) is not None:
                if gone.done():
                    return
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                await asyncio.wait_for(send(message), PATIENCE)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


def _request(scope: Message) -> Request:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    target = scope["raw_path"].decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return Request(scope["method"], f"{target}?{query}" if query else target, headers)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _threaded(function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def _unhandled(_loop: asyncio.AbstractEventLoop, context: Message) -> None:
    _logger.debug("A connection failed: %s (%r).", context.get("message"), context.get("exception"))
