"""A trustless gateway on loopback whose faults a test chooses."""

from __future__ import annotations

import io
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ipfs_data import MemoryStore
from pinformers.ipfs import CID, Block, write_car

RAW = "application/vnd.ipld.raw"
CAR = "application/vnd.ipld.car"
PATIENCE = 20.0


class Visit(BaseHTTPRequestHandler):
    """One connection; an answer gets it for each request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.number = next(self.server.gateway.numbers)
        self.requests = 0

    def do_GET(self) -> None:
        gateway = self.server.gateway
        self.requests += 1
        with gateway.visited(self):
            gateway.answer(self)

    # As an RPC of Kubo is called, without a body.
    do_POST = do_GET

    def do_CONNECT(self) -> None:
        """Be a proxy: join the client with ``tunnel_to``, whatever host it names."""
        self.close_connection = True
        with self.gateway.visited(self):
            try:
                beyond = socket.create_connection(self.gateway.tunnel_to)
            except OSError:
                self.reply(502)
                return
            with beyond:
                self.head(200, {})
                threading.Thread(target=pump, args=(beyond, self.connection), daemon=True).start()
                pump(self.connection, beyond)

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    @property
    def gateway(self) -> BadGateway:
        return self.server.gateway

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    @property
    def cid(self) -> CID:
        return CID.parse(urlsplit(self.path).path.rpartition("/")[2])

    @property
    def wants_car(self) -> bool:
        return self.query.get("format") == "car"

    @property
    def block(self) -> bytes:
        """The true block."""
        return self.gateway.store.blocks[self.cid.multihash]

    def car(self, *blocks: bytes) -> bytes:
        """A CAR that claims to hold the block that is asked for, once for each of ``blocks``."""
        out = io.BytesIO()
        write_car(out, [self.cid], [Block(self.cid, block) for block in blocks])
        return out.getvalue()

    def reply(self, status: int, body: bytes = b"", kind: str = RAW, **headers: str) -> None:
        """Send a whole answer; ``headers`` with "_" for "-"."""
        self.head(status, {"Content-Type": kind, "Content-Length": str(len(body))} | headers)
        self.wfile.write(body)

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Send the beginning of an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def hang_up(self) -> None:
        """Close the connection in the middle."""
        self.close_connection = True
        self.wfile.flush()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def wait_until_left(self) -> None:
        """Say nothing until the client closes the connection, or the gateway ends."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.settimeout(PATIENCE)
            self.connection.recv(1)
        self.gateway.left.set()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until one of the two ends, and end the other."""
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


Answer = Callable[[Visit], None]


class BadGateway:
    """Serve the blocks of ``store`` as ``answer`` does it; ``requests`` are the visits' paths so far, in order."""

    def __init__(self, answer: Answer | None = None, store: MemoryStore | None = None) -> None:
        self.answer: Answer = answer or honest
        self.store = store if store is not None else MemoryStore()
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.connections: list[int] = []
        self.left = threading.Event()
        self.tunnel_to = ("127.0.0.1", 9)
        self.numbers = itertools.count()
        self.changed = threading.Condition()
        self.in_flight = self.most = 0
        self._server: _Server | None = None
        self.port = 0

    def __enter__(self) -> BadGateway:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, wrap: Callable[[socket.socket], socket.socket] | None = None) -> None:
        """Listen; after a ``stop()`` on the same port again. ``wrap`` adds TLS."""
        self._server = _Server(self, self.port)
        if wrap is not None:
            self._server.socket = wrap(self._server.socket)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Close everything at once, what is in the middle of an answer too; idempotent."""
        if self._server is not None:
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._server = None

    def wait_in_flight(self, count: int) -> None:
        """Wait until so many requests are being answered."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.in_flight >= count, PATIENCE)

    @contextmanager
    def visited(self, visit: Visit) -> Iterator[None]:
        with self.changed:
            self.paths.append(visit.path)
            self.headers.append({name.lower(): value for name, value in visit.headers.items()})
            self.connections.append(visit.number)
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            self.changed.notify_all()
        try:
            # The client may close the connection whenever it likes.
            with suppress(OSError):
                yield
        finally:
            with self.changed:
                self.in_flight -= 1
                self.changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, gateway: BadGateway, port: int) -> None:
        self.gateway = gateway
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Visit)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about clients that close the connection, and about connections that the test ended."""

    def hang_up(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def honest(visit: Visit) -> None:
    if visit.cid.multihash not in visit.gateway.store.blocks:
        visit.reply(404, b"block was not found", "text/plain")
    elif visit.wants_car:
        visit.reply(200, visit.car(visit.block), CAR)
    else:
        visit.reply(200, visit.block)


def flips_one_bit(visit: Visit) -> None:
    block = bytearray(visit.block)
    block[len(block) // 2] ^= 1
    visit.reply(200, visit.car(bytes(block)) if visit.wants_car else bytes(block), CAR if visit.wants_car else RAW)


def sends_another_block(visit: Visit) -> None:
    visit.reply(200, next(block for block in visit.gateway.store.blocks.values() if block != visit.block))


def truncates(visit: Visit) -> None:
    visit.head(200, {"Content-Type": RAW, "Content-Length": str(len(visit.block))})
    visit.wfile.write(visit.block[:-1])
    visit.hang_up()


def truncates_chunked(visit: Visit) -> None:
    visit.head(200, {"Content-Type": RAW, "Transfer-Encoding": "chunked"})
    visit.wfile.write(b"%x\r\n%b\r\n" % (len(visit.block) - 1, visit.block[:-1]))
    visit.hang_up()


def truncates_without_a_length(visit: Visit) -> None:
    visit.head(200, {"Content-Type": RAW, "Connection": "close"})
    visit.wfile.write(visit.block[:-1])
    visit.hang_up()


def truncates_the_header(visit: Visit) -> None:
    visit.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: ")
    visit.hang_up()


def announces_less(visit: Visit) -> None:
    visit.reply(200, visit.block[:-1])


def stalls_in_the_header(visit: Visit) -> None:
    visit.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: ")
    visit.wfile.flush()
    visit.wait_until_left()


def stalls_at_once(visit: Visit) -> None:
    visit.wait_until_left()


def stalls_in_the_body(visit: Visit) -> None:
    visit.head(200, {"Content-Type": RAW, "Content-Length": str(len(visit.block))})
    visit.wfile.write(visit.block[: len(visit.block) // 2])
    visit.wfile.flush()
    visit.wait_until_left()


def drips(visit: Visit) -> None:
    """A byte every 20 ms: never silent, never done."""
    visit.head(200, {"Content-Type": RAW, "Content-Length": str(len(visit.block))})
    for at in range(len(visit.block)):
        visit.wfile.write(visit.block[at : at + 1])
        visit.wfile.flush()
        visit.connection.settimeout(0.02)
        with suppress(TimeoutError):
            if not visit.connection.recv(1):
                break
    visit.close_connection = True
    visit.gateway.left.set()


def drips_in_the_header(visit: Visit) -> None:
    visit.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
    visit.connection.settimeout(0.02)
    for _ in range(50 * int(PATIENCE)):
        visit.wfile.write(b"x")
        visit.wfile.flush()
        with suppress(TimeoutError):
            if not visit.connection.recv(1):
                break
    visit.close_connection = True
    visit.gateway.left.set()


def never_ends(visit: Visit) -> None:
    """A body without a length, for as long as somebody listens."""
    visit.head(200, {"Content-Type": RAW, "Connection": "close"})
    with suppress(OSError):
        while True:
            visit.wfile.write(bytes(1 << 16))
    visit.close_connection = True
    visit.gateway.left.set()


def announces_too_much(visit: Visit) -> None:
    visit.head(200, {"Content-Type": RAW, "Content-Length": str(1 << 40)})
    visit.wait_until_left()


def redirects_in_a_circle(visit: Visit) -> None:
    visit.reply(302, b"over there", "text/html", Location=visit.path)


def redirects_forever(visit: Visit) -> None:
    visit.reply(307, b"over there", "text/html", Location=f"{visit.path}&again={len(visit.gateway.paths)}")


def sends_a_page(visit: Visit) -> None:
    visit.reply(200, b"<html><title>Sign in to this network</title></html>", "text/html; charset=utf-8")


def closes_kept_connections(visit: Visit) -> None:
    """Answer the first request of a connection, keep it open, and close it at the second without a word."""
    if visit.requests > 1:
        visit.hang_up()
    else:
        honest(visit)


def speaks_cars_only(visit: Visit) -> None:
    if visit.wants_car:
        honest(visit)
    else:
        visit.reply(406, b"CARs only", "text/plain")


def says(status: int, **headers: str) -> Answer:
    """Always answer so."""
    return lambda visit: visit.reply(status, b"no", "text/plain", **headers)


def first(count: int, answer: Answer, then: Answer = honest) -> Answer:
    """Answer so for the first requests, and then otherwise."""
    left = itertools.count()
    return lambda visit: (answer if next(left) < count else then)(visit)
