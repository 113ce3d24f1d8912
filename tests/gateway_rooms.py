"""Our gateway's servers on loopback, in a thread of the test."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator

from pinformers.ipfs.traversal import Blocks
from pinformers.serving.listening import listen
from pinformers.serving.threads import ThreadServer

Address = tuple[str, int]


@contextlib.contextmanager
def thread_server(blocks: Blocks, most: int = 8, patience: float = 10.0) -> Iterator[Address]:
    """Serve plainly for the length of a ``with`` block."""
    with listen("127.0.0.1", 0) as bound:
        server = ThreadServer(bound, blocks, most=most, patience=patience)
        address = bound.getsockname()
        loop = threading.Thread(target=lambda: server.serve_forever(0.01))
        loop.start()
        try:
            yield address
        finally:
            server.stop()
            loop.join()


@contextlib.contextmanager
def in_thread(serve: Callable[[socket.socket, threading.Event], None]) -> Iterator[Address]:
    """Let ``serve`` serve on a socket until the ``with`` block ends."""
    with listen("127.0.0.1", 0) as bound:
        address, ended = bound.getsockname(), threading.Event()
        thread = threading.Thread(target=serve, args=(bound, ended))
        thread.start()
        try:
            yield address
        finally:
            ended.set()
            thread.join()


@contextlib.contextmanager
def connection(address: Address) -> Iterator[http.client.HTTPConnection]:
    """A client's connection."""
    client = http.client.HTTPConnection(*address, timeout=20)
    try:
        yield client
    finally:
        client.close()


def ask(client: http.client.HTTPConnection, target: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Send a request and read its whole answer."""
    client.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response.status, response.read()
