"""HTTP clients that fetch blocks of 1 MiB over loopback and hash them, with 1, 4 and 8 threads.

`python benchmarks/http_clients.py` writes docs/benchmarks-http-clients.md. Clients that are not installed are left out.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import importlib.metadata
import os
import platform
import queue
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks-http-clients.md"
MIB = 1 << 20
BLOCKS = 192
THREADS = (1, 4, 8)
ROUNDS = 5
SERVER = """
import socket, threading
block = bytes(1 << 20)
head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/vnd.ipld.raw\\r\\nContent-Length: 1048576\\r\\n\\r\\n"
def serve(connection):
    with connection, connection.makefile("rb") as lines:
        while lines.readline():
            while lines.readline().strip():
                pass
            connection.sendall(head + block)
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

Fetch = Callable[[], None]
"""Fetches one block and hashes it; made anew for each thread."""


@dataclass(frozen=True, slots=True)
class Row:
    """MiB/s by number of threads, and the client's CPU seconds a GiB with 4 of them."""

    name: str
    version: str
    rates: dict[int, float]
    cpu: float


def standard_library(port: int) -> Callable[[], Fetch]:
    def make() -> Fetch:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        # Without it a request waits for the acknowledgement of the one before.
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = memoryview(bytearray(MIB))

        def fetch() -> None:
            connection.request("GET", "/")
            answer = connection.getresponse()
            at = 0
            while at < MIB:
                at += answer.readinto(buffer[at:])
            answer.read()
            hashlib.sha256(buffer).digest()

        return fetch

    return make


def urllib3(port: int) -> Callable[[], Fetch]:
    module = importlib.import_module("urllib3")
    pool = module.PoolManager(maxsize=max(THREADS))

    def fetch() -> None:
        answer = pool.request("GET", f"http://127.0.0.1:{port}/", preload_content=False, decode_content=False)
        hashlib.sha256(answer.read(2 * MIB)).digest()
        answer.release_conn()

    return lambda: fetch


def requests(port: int) -> Callable[[], Fetch]:
    module = importlib.import_module("requests")

    def make() -> Fetch:
        session = module.Session()
        session.trust_env = False
        return lambda: hashlib.sha256(session.get(f"http://127.0.0.1:{port}/").content).digest() and None

    return make


def httpx(port: int, name: str = "httpx") -> Callable[[], Fetch]:
    client = importlib.import_module(name).Client(trust_env=False)
    return lambda: lambda: hashlib.sha256(client.get(f"http://127.0.0.1:{port}/").content).digest() and None


def httpx2(port: int) -> Callable[[], Fetch]:
    return httpx(port, "httpx2")


def pycurl(port: int) -> Callable[[], Fetch]:
    module = importlib.import_module("pycurl")

    def make() -> Fetch:
        curl = module.Curl()
        curl.setopt(module.URL, f"http://127.0.0.1:{port}/")

        def fetch() -> None:
            digest = hashlib.sha256()
            curl.setopt(module.WRITEFUNCTION, digest.update)
            curl.perform()

        return fetch

    return make


def pinformers(port: int) -> Callable[[], Fetch]:
    """The gateway source as a whole: choice, race, watch over stalls and verification on top of urllib3."""
    from pinformers.ipfs import CID
    from pinformers.sources.gateway import GatewaySource

    source = GatewaySource([f"http://127.0.0.1:{port}"], stall_timeout=10)
    cid = CID.raw(hashlib.sha256(bytes(MIB)).digest())
    return lambda: lambda: source.block(cid) and None


CLIENTS = (standard_library, pycurl, urllib3, pinformers, requests, httpx2, httpx)


def rate(make: Callable[[], Fetch], threads: int) -> float:
    """Return MiB/s of one run."""
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(BLOCKS):
        left.put(number)

    def work(fetch: Fetch) -> None:
        while True:
            try:
                left.get_nowait()
            except queue.Empty:
                return
            fetch()

    fetches = [make() for _ in range(threads)]
    for fetch in fetches:
        fetch()
    workers = [threading.Thread(target=work, args=(fetch,)) for fetch in fetches]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return BLOCKS / (time.perf_counter() - start)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def version(name: str) -> str | None:
    if name == "standard_library":
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def measure(port: int) -> list[Row]:
    """Measure every client that is installed, in turn, round by round, so that a busy minute hits all of them."""
    found = {client.__name__: said for client in CLIENTS if (said := version(client.__name__)) is not None}
    makes = {client.__name__: client(port) for client in CLIENTS if client.__name__ in found}
    rates: dict[tuple[str, int], list[float]] = {}
    spent: dict[str, list[float]] = {name: [] for name in makes}
    for _ in range(ROUNDS):
        for threads in THREADS:
            for name, make in makes.items():
                before = cpu()
                rates.setdefault((name, threads), []).append(rate(make, threads))
                if threads == 4:
                    spent[name].append((cpu() - before) * 1024 / (BLOCKS + threads))
    return [
        Row(name, said, {n: statistics.median(rates[name, n]) for n in THREADS}, statistics.median(spent[name]))
        for name, said in found.items()
    ]


def page(rows: list[Row]) -> str:
    names = {"standard_library": "http.client, `readinto`", "pinformers": "the gateway source of pinformers"}
    lines = [
        f"| {names.get(row.name, row.name)} | {row.version} | "
        f"{' | '.join(f'{row.rates[threads]:.0f}' for threads in THREADS)} | {row.cpu:.2f} |"
        for row in rows
    ]
    return f"""# HTTP clients

Written by `python benchmarks/http_clients.py`: raw blocks of 1 MiB from another process over loopback, each hashed with
sha256. {BLOCKS} blocks a run; the median of {ROUNDS} runs, the clients in turn. Client and server share
{os.cpu_count()} cores ({platform.machine()}, Python {platform.python_version()}).

| client | version | 1 thread, MiB/s | 4 threads | 8 threads | client's CPU s a GiB, 4 threads |
|---|---|---:|---:|---:|---:|
{chr(10).join(lines)}

The gateway source is built on urllib3. Of the clients here that keep connections and bring TLS and proxies, it is the
fastest and costs the least. `http.client` alone is not worth what would have to be written around it.

What the gateway source adds is a second thread for each request, so that whoever waits can give up a gateway that
stalls and ask the next one; and the books that it keeps of each gateway.
"""


def main() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            text = page(measure(int(server.stdout.readline())))
        finally:
            server.kill()
    PAGE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
