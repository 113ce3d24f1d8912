"""Our gateway and Kubo: the same blocks for the same questions, and each takes what the other gives."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dag_rooms import TINY, Room
from gateway_rooms import Address, ask, connection, in_thread, thread_server
from kubo_repo import KuboDaemon, KuboRepo
from pinformers.ipfs import CID, read_car, write_car
from pinformers.serving.secure import serve_tls
from tls_rooms import write_certificate

pytestmark = pytest.mark.kubo
MANY = {f"{number:05}-{'n' * 90}.bin": b"%d" % number for number in range(2500)}
MODEL = {
    "config.json": b"{}",
    "empty": b"",
    "sub/weights.bin": bytes(range(256)) * 12_000,
    "sub/copy.json": b"{}",
    "sub/été.txt": b"x",
}
FILES = MODEL | {f"many/{name}": content for name, content in MANY.items()}
# A peer id of nobody: an HTTP provider is known by its address.
PEER = "12D3KooWCjfPiojcCUmv78Wd1NJzi4Mraj1moxigp7AfQVQvGLwH"


@pytest.fixture(scope="module")
def room() -> Room:
    return Room()


@pytest.fixture(scope="module")
def root(room: Room) -> CID:
    return room.store.add_folder(FILES).cid


@pytest.fixture
def address(room: Room) -> Iterator[Address]:
    with thread_server(room) as found:
        yield found


def blocks(address: Address, target: str) -> tuple[int, list[CID]]:
    """Ask for a CAR; return the status and the CIDs of its blocks."""
    with connection(address) as client:
        status, car = ask(client, target)
    return status, [block.cid for block in read_car(io.BytesIO(car))[1]] if status == 200 else []


def test_kubo_imports_a_car_that_was_served(ipfs: KuboRepo, tmp_path: Path, address: Address, root: CID) -> None:
    with connection(address) as client:
        (tmp_path / "served.car").write_bytes(ask(client, f"/ipfs/{root}?format=car")[1])
    assert str(root) in ipfs.run("dag", "import", tmp_path / "served.car").decode()
    ipfs.run("get", "--progress=false", "-o", tmp_path / "out", str(root))
    assert folder(tmp_path / "out") == FILES


def folder(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def gateway_address(daemon: KuboDaemon) -> Address:
    host, _, port = daemon.gateway.removeprefix("http://").partition(":")
    return host, int(port)


def test_the_same_blocks_in_the_same_order_as_from_kubo(
    start_daemon: Callable[..., KuboDaemon], tmp_path: Path, room: Room, root: CID
) -> None:
    tiny = room.store.add_file(bytes(range(40)), TINY).cid
    inner = room.add_cbor({"files": [root, tiny], "n": 1})
    paths = ["", "/config.json", "/sub", "/sub/weights.bin", "/sub/%C3%A9t%C3%A9.txt", "/many", "/nothing", "/sub/no"]
    paths += [f"/many/{list(MANY)[number]}" for number in (0, 777, 2499)] + ["/many/absent"]
    targets = [f"{path}?format=car" for path in paths]
    targets += [f"{path}?format=car&dag-scope={scope}" for path in paths for scope in ("block", "entity")]
    ranges = ("0:*", "0:0", "4:11", "-1:*", "-9:-3", "39:39", "1048575:1048576", "30:999")
    targets = [str(root) + target for target in targets]
    targets += [f"{tiny}?format=car&dag-scope=entity&entity-bytes={span}" for span in ranges[:-2]]
    targets += [f"{root}/sub/weights.bin?format=car&dag-scope=entity&entity-bytes={span}" for span in ranges[:-1]]
    targets += [f"{inner}{path}?format=car" for path in ("", "/files/1", "/files/0/config.json", "/n")]
    targets += [f"{root}?format=car&car-dups=y", f"{root}/sub?format=car&car-dups=y", f"{tiny}?format=car&car-dups=y"]
    daemon = start_daemon("kubo", Gateway__NoFetch="true")
    fill(daemon, tmp_path, room)
    with thread_server(room) as ours:
        for target in targets:
            theirs = blocks(gateway_address(daemon), f"/ipfs/{target}")
            assert blocks(ours, f"/ipfs/{target}") == theirs, target


def fill(daemon: KuboDaemon, tmp_path: Path, room: Room) -> None:
    """Give a daemon every block."""
    with (tmp_path / "all.car").open("wb") as out:
        write_car(out, [], room.store.everything())
    daemon.repo.run("dag", "import", "--pin-roots=false", tmp_path / "all.car")


# -- Kubo's own HTTP retrieval --------------------------------------------------------------------------------


class Router(BaseHTTPRequestHandler):
    """A delegated router that knows one provider of everything."""

    provider = ""

    def do_GET(self) -> None:
        record = {"Schema": "peer", "ID": PEER, "Addrs": [self.provider]}
        body = json.dumps({"Providers": [record]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def router(provider: str) -> Iterator[str]:
    """Serve delegated routing on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Router", (Router,), {"provider": provider}))
    thread = threading.Thread(target=lambda: server.serve_forever(0.01))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def http_only(routing: str) -> dict[str, str]:
    """The settings of a daemon that finds providers with one router and fetches from them by HTTP alone."""
    return {
        "Routing__Type": '"delegated"',
        "Routing__DelegatedRouters": json.dumps([routing]),
        "HTTPRetrieval__Enabled": "true",
        "HTTPRetrieval__TLSInsecureSkipVerify": "true",
        "HTTPRetrieval__Allowlist": '["127.0.0.1"]',
        "Bitswap__ServerEnabled": "false",
        "Provide__Enabled": "false",
    }


@pytest.fixture(scope="module")
def model(room: Room) -> CID:
    return room.store.add_folder(MODEL).cid


def test_kubo_fetches_a_model_over_tls_and_http_2(
    start_daemon: Callable[..., KuboDaemon], tmp_path: Path, room: Room, model: CID
) -> None:
    pytest.importorskip("hypercorn")
    files = write_certificate(tmp_path)
    with (
        in_thread(lambda bound, ended: serve_tls(bound, room, files, ended)) as (host, port),
        router(f"/ip4/{host}/tcp/{port}/tls/http") as routing,
    ):
        daemon = start_daemon("kubo", **http_only(routing))
        room.store.asked.clear()
        daemon.repo.run("get", "--progress=false", "-o", tmp_path / "out", str(model))
    assert folder(tmp_path / "out") == MODEL
    assert model in room.store.asked


def test_kubo_fetches_a_model_without_tls_on_a_private_network(
    start_daemon: Callable[..., KuboDaemon], tmp_path: Path, address: Address, room: Room, model: CID
) -> None:
    with router(f"/ip4/{address[0]}/tcp/{address[1]}/http") as routing:
        daemon = start_daemon("kubo", **http_only(routing))
        room.store.asked.clear()
        daemon.repo.run("get", "--progress=false", "-o", tmp_path / "out", str(model))
    assert folder(tmp_path / "out") == MODEL
    assert model in room.store.asked
