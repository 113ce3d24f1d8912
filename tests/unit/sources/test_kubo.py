"""The RPC of a Kubo daemon against small servers on loopback; tests/kubo has the real one."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from flatfs_repo import make_repo, put_block
from pinformers._errors import BlockNotFound, PinError, SourceError, SourceUnavailable
from pinformers.ipfs import CID, Block
from pinformers.ipfs.buffers import Buffers
from pinformers.ipfs.dag import Leaf, Run
from pinformers.ipfs.dagpb import MAX_BLOCK
from pinformers.sources.flatfs import Flatfs
from pinformers.sources.kubo import PAUSE, KuboNode, KuboSource
from pinformers.sources.kubo_rpc import Rpc, url_of
from tls_rooms import certified, write_certificate

BLOCK = b"a block"
CID_OF_BLOCK = CID.raw(hashlib.sha256(BLOCK).digest())
ABSENT = CID.raw(bytes(32))
NOT_FOUND = {"Message": "block was not found locally (offline): ipld: could not find it", "Type": "error"}


class Ask(BaseHTTPRequestHandler):
    """One call; the test's answer gets it."""

    protocol_version = "HTTP/1.1"
    server: Stub

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        self.command_name = parts.path.partition("/api/v0/")[2]
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.server.asked.append((self.command_name, self.headers.get("Authorization")))
        self.server.answer(self)

    def reply(self, body: object, status: int = 200) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class Stub(ThreadingHTTPServer):
    """A daemon, or what is none: it answers as the test says and notes what it was asked."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Ask], None]) -> None:
        super().__init__(("127.0.0.1", 0), Ask)
        self.answer, self.asked = answer, list[tuple[str, str | None]]()
        # Set at the end: an answer that shall never come waits for it.
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, command: str) -> int:
        return [name for name, _ in self.asked].count(command)

    def handle_error(self, *_: object) -> None:
        """The client may leave in the middle."""


@contextmanager
def stub(answer: Callable[[Ask], None]) -> Iterator[Stub]:
    with Stub(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


class Clock:
    """A time that only the test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def who(ask: Ask) -> None:
    ask.reply({"ID": "12D3", "Version": "0.43.0"})


# -- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/ip4/127.0.0.1/tcp/5001", "http://127.0.0.1:5001"),
        ("/ip6/::1/tcp/5001/http", "http://[::1]:5001"),
        ("/dns4/node.example/tcp/443/https", "https://node.example"),
        ("/dns/node.example/tcp/443/tls/http", "https://node.example"),
        ("http://localhost:5001/", "http://localhost:5001"),
        ("https://ada:geheim@node.example/rpc", "https://node.example/rpc"),
        ("/unix/run/ipfs.sock", "/unix/run/ipfs.sock"),
        # As Kubo writes it into its file `api`.
        ("/unix//run/ipfs.sock", "/unix/run/ipfs.sock"),
    ],
)
def test_an_address_is_a_multiaddr_or_a_url(address: str, url: str) -> None:
    assert url_of(address).url == url


@pytest.mark.parametrize(
    "address", ["5001", "/unix/", "ftp://a", "http://user:hunter2@", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/x"]
)
def test_what_is_no_address_is_said_without_its_password(address: str) -> None:
    with pytest.raises(SourceUnavailable, match="kubo_api") as caught:
        KuboNode(address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "local"),
    [("/ip4/127.0.0.1/tcp/1", True), ("/unix/run/ipfs.sock", True), ("http://[::1]:1", True), ("http://a:1", False)],
)
def test_whether_it_runs_on_this_machine(address: str, local: bool) -> None:
    assert KuboNode(address).local is local


def test_a_system_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(SourceUnavailable, match="kubo_api names a Unix socket, which Python does not know"):
        KuboNode("/unix/run/ipfs.sock")


# -- the token ------------------------------------------------------------------------------------------------


def test_the_token_goes_to_the_daemon_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login ada password geheim\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with stub(who) as proxy, stub(who) as daemon:
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        node = KuboNode(f"/dns4/localhost/tcp/{daemon.server_port}", token="s3cret")
        assert (node.version(), node.id()) == ("0.43.0", "12D3")
    assert proxy.asked == []
    assert daemon.asked == [("version", "Bearer s3cret"), ("id", "Bearer s3cret")]


def test_a_refusal_names_the_setting(tmp_path: Path) -> None:
    with stub(lambda ask: ask.reply(b"403 - Forbidden", 403)) as daemon:
        node = KuboNode(daemon.url, token="s3cret")
        for call in (node.version, node.id):
            with pytest.raises(SourceUnavailable, match="kubo_token") as caught:
                call()
            assert "s3cret" not in str(caught.value)


# -- TLS ------------------------------------------------------------------------------------------------------


def test_a_certificate_of_ones_own_counts_for_every_call(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    with stub(who) as daemon:
        context = certified(cert, key)
        daemon.socket = context.wrap_socket(daemon.socket, server_side=True)
        address = f"/dns4/localhost/tcp/{daemon.server_port}/https"
        node = KuboNode(address, ca_bundle=cert)
        assert (node.version(), node.id()) == ("0.43.0", "12D3")
        for call in (KuboNode(address).version, KuboNode(address).id):
            with pytest.raises(SourceUnavailable):
                call()


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    node = KuboNode("https://localhost:9", ca_bundle=tmp_path / "none.pem")
    for call in (node.version, node.id):
        with pytest.raises(SourceUnavailable, match=r"none\.pem cannot be read"):
            call()


# -- who answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"<html>it works</html>", b"{}", b'{"Version": 3}', b"[]", b"7"])
def test_what_is_no_kubo_is_said_in_one_sentence(body: bytes) -> None:
    with stub(lambda ask: ask.reply(body)) as other:
        node = KuboNode(other.url)
        for call in (node.version, node.id, node.filestore_enabled, node.repo_path, node.keys):
            with pytest.raises(SourceUnavailable, match="not a Kubo daemon"):
                call()


@pytest.mark.parametrize(
    ("version", "old"),
    [("0.26.0", True), ("0.4.23", True), ("0.27.0", False), ("0.43.0-dev", False), ("1.0.0", False), ("odd", False)],
)
def test_only_what_is_too_old_is_said(version: str, old: bool) -> None:
    with stub(lambda ask: ask.reply({"Version": version})) as daemon:
        assert bool(KuboNode(daemon.url).too_old()) is old


def test_the_warning_of_ipfshttpclient_needs_no_filter() -> None:
    # Filters belong to the process: one that was set here could outlive a `catch_warnings` of another thread.
    # Those that its packages set when they are imported are theirs.
    importlib.import_module("ipfshttpclient")
    before = list(warnings.filters)
    with stub(who) as daemon:
        node = KuboNode(daemon.url)
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(node.id())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["12D3"] * 8
    assert warnings.filters == before


def test_a_connection_that_breaks_in_a_control_call_is_said() -> None:
    def answer(ask: Ask) -> None:
        ask.send_response(200)
        ask.send_header("Content-Length", "1000")
        ask.end_headers()
        ask.wfile.write(b'{"ID"')
        ask.close_connection = True

    with stub(answer) as daemon, pytest.raises(SourceUnavailable):
        KuboNode(daemon.url).id()


# -- reading --------------------------------------------------------------------------------------------------


def test_the_repo_is_asked_before_the_swarm() -> None:
    seen: list[tuple[str, str]] = []

    def answer(ask: Ask) -> None:
        seen.append((ask.query["offline"], ask.query.get("timeout", "")))
        if ask.query["offline"] == "true":
            ask.reply(NOT_FOUND, 500)
        else:
            ask.reply(BLOCK)

    with stub(answer) as daemon:
        assert KuboSource(KuboNode(daemon.url), swarm_timeout=2.0).block(CID_OF_BLOCK) == BLOCK
    assert seen == [("true", ""), ("false", "2.000s")]


def test_a_file_that_moved_is_looked_for_in_the_swarm() -> None:
    def answer(ask: Ask) -> None:
        if ask.query["offline"] == "true":
            ask.reply({"Message": "open /hub/model.bin: no such file or directory", "Type": "error"}, 500)
        else:
            ask.reply(BLOCK)

    with stub(answer) as daemon:
        node = KuboNode(daemon.url)
        assert KuboSource(node, swarm_timeout=2.0).block(CID_OF_BLOCK) == BLOCK


def test_after_the_swarm_had_nothing_it_is_not_waited_for_again() -> None:
    def answer(ask: Ask) -> None:
        if ask.query["offline"] == "true" and ask.query["arg"] == str(CID_OF_BLOCK):
            ask.reply(BLOCK)
        else:
            ask.reply(NOT_FOUND, 500)

    swarm: list[str] = []

    def noted(ask: Ask) -> None:
        if ask.query["offline"] == "false":
            swarm.append(ask.query["arg"])
        answer(ask)

    with stub(noted) as daemon:
        source = KuboSource(KuboNode(daemon.url), swarm_timeout=1.0)
        with pytest.raises(BlockNotFound, match="nor did its swarm within 1 s"):
            source.block(ABSENT)
        for number in range(1000, 1010):
            with pytest.raises(BlockNotFound, match="had nothing just now"):
                source.block(CID.raw(number.to_bytes(32, "big")))
        assert source.block(CID_OF_BLOCK) == BLOCK
    assert swarm == [str(ABSENT)]


def test_without_a_swarm_timeout_the_swarm_is_not_asked() -> None:
    with stub(lambda ask: ask.reply(NOT_FOUND, 500)) as daemon, pytest.raises(BlockNotFound):
        KuboSource(KuboNode(daemon.url), swarm_timeout=0.0).block(ABSENT)
    assert daemon.count("block/get") == 1


def test_a_daemon_that_hangs_is_given_up_and_one_that_waits_for_its_swarm_is_not() -> None:
    def answer(ask: Ask) -> None:
        ask.server.over.wait(20)

    with stub(answer) as daemon:
        node = KuboNode(daemon.url)
        with pytest.raises(SourceUnavailable, match="stalled"):
            node.block(ABSENT, offline=True, timeout=-0.9)
        with pytest.raises(BlockNotFound, match="did not deliver within"):
            node.block(ABSENT, offline=False, timeout=-0.9)


def drips(ask: Ask) -> None:
    """Send a byte every 20 ms: never silent, and not done for a long time."""
    if ask.headers.get("Transfer-Encoding"):
        drain(ask)
    ask.send_response(200)
    ask.send_header("Transfer-Encoding", "chunked")
    ask.end_headers()
    with suppress(OSError):
        for _ in range(500):
            if not ask.server.over.wait(0.02):
                ask.wfile.write(b"1\r\n \r\n")
    ask.close_connection = True


@pytest.mark.parametrize(
    "call",
    [
        lambda node: node.block(ABSENT, offline=True, timeout=-0.8),
        lambda node: node.has(ABSENT),
        lambda node: node.id(),
        lambda node: node.pin(ABSENT, "org/model"),
        lambda node: node.import_car([Block(CID_OF_BLOCK, BLOCK)], [CID_OF_BLOCK]),
    ],
    ids=["block", "has", "a control call", "pin", "import"],
)
def test_a_daemon_that_drips_is_given_up(call: Callable[[KuboNode], object]) -> None:
    with stub(drips) as daemon, pytest.raises(SourceUnavailable, match=r"it stalled|in time"):
        call(KuboNode(daemon.url, timeout=0.2))


def test_a_swarm_that_drips_has_no_block() -> None:
    with stub(drips) as daemon, pytest.raises(BlockNotFound, match="did not deliver within"):
        KuboNode(daemon.url).block(ABSENT, offline=False, timeout=-0.8)


def test_a_unix_socket_that_drips_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "api"))
        daemon.listen()
        over = threading.Event()

        def answer() -> None:
            client, _ = daemon.accept()
            with client, suppress(OSError):
                client.sendall(b"HTTP/1.1 200 OK\r\nX-Header: ")
                for _ in range(500):
                    if not over.wait(0.02):
                        client.sendall(b"x")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SourceUnavailable, match="it stalled"):
            KuboNode(f"/unix{tmp_path}/api").block(ABSENT, offline=True, timeout=-0.8)
        over.set()
        thread.join()


def test_a_daemon_that_is_away_is_asked_once() -> None:
    with stub(who) as daemon:
        url = daemon.url
    source = KuboSource(KuboNode(url), swarm_timeout=1.0)
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        source.block(ABSENT)
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))) as there:
        there.setblocking(False)
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            source.block(ABSENT)
        with pytest.raises(BlockingIOError):
            there.accept()


def test_more_bytes_than_a_block_may_have_are_refused() -> None:
    big = bytes(MAX_BLOCK + 1)
    with stub(lambda ask: ask.reply(big)) as daemon, pytest.raises(SourceUnavailable, match="longer than"):
        KuboNode(daemon.url).block(ABSENT, offline=True, timeout=5.0)


def test_an_identity_cid_asks_nobody() -> None:
    with stub(who) as daemon:
        assert KuboSource(KuboNode(daemon.url), swarm_timeout=1.0).block(CID.parse("bafkqaaa")) == b""
    assert daemon.asked == []


# -- writing --------------------------------------------------------------------------------------------------


def drain(ask: Ask) -> None:
    """Read a chunked body to its end."""
    while size := int(ask.rfile.readline(), 16):
        ask.rfile.read(size + 2)
    ask.rfile.readline()


def test_what_making_the_upload_raises_is_raised() -> None:
    def blocks() -> Iterator[Block]:
        yield Block(CID_OF_BLOCK, BLOCK)
        raise PinError("model.bin", "it changed since it was pinned")

    def answer(ask: Ask) -> None:
        with suppress(ValueError):
            drain(ask)
        ask.close_connection = True

    with stub(answer) as daemon, pytest.raises(PinError, match="it changed"):
        KuboNode(daemon.url).import_car(blocks(), [CID_OF_BLOCK])


def test_an_upload_that_is_not_acknowledged_is_no_success() -> None:
    def answer(ask: Ask) -> None:
        drain(ask)
        ask.reply({"Root": {}})

    with stub(answer) as daemon, pytest.raises(SourceError, match="did not take the blocks"):
        KuboNode(daemon.url).import_car([Block(CID_OF_BLOCK, BLOCK)], [CID_OF_BLOCK])


def test_a_path_that_fits_no_header_is_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "a\r\nAbspath: b"
    file.write_bytes(BLOCK)
    with stub(who) as daemon, pytest.raises(SourceError, match="fits no header"):
        KuboNode(daemon.url).add_nocopy(file, CID_OF_BLOCK)
    assert daemon.asked == []


def lines(*values: object) -> Callable[[Ask], None]:
    def answer(ask: Ask) -> None:
        ask.reply(b"".join(json.dumps(value).encode() + b"\n" for value in values))

    return answer


def test_a_pin_is_followed_to_its_end() -> None:
    with stub(lines({"Progress": 1}, {"Progress": 9}, {"Pins": [str(ABSENT)]})) as daemon:
        KuboNode(daemon.url).pin(ABSENT, "org/model")
    with stub(lines({"Progress": 1})) as daemon, pytest.raises(SourceError, match="did not pin"):
        KuboNode(daemon.url).pin(ABSENT, "org/model")


def test_what_makes_progress_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = Clock(), threading.Event()
    monkeypatch.setattr("pinformers.sources.patience.time", clock)

    def answer(ask: Ask) -> None:
        ask.send_response(200)
        ask.end_headers()
        ask.wfile.write(b'{"Progress": 1}\n{"Progress": 2}\n')
        assert seen.wait(20)
        ask.wfile.write(b'{"Pins": []}\n')
        ask.close_connection = True

    with stub(answer) as daemon:
        said = []
        for line in Rpc(daemon.url, token=None, timeout=30.0).follow("pin/add"):
            said.append(line)
            clock.now += 20.0
            if len(said) == 2:
                seen.set()
    assert said == [{"Progress": 1}, {"Progress": 2}, {"Pins": []}]


def test_a_line_without_an_end_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinformers.sources.kubo_rpc._LINE", 1000)
    with stub(lambda ask: ask.reply(b"{" * 5000)) as daemon, pytest.raises(SourceUnavailable, match="a line of more"):
        KuboNode(daemon.url).pin(ABSENT, "org/model")


def test_what_is_broken_in_the_filestore_is_dropped_line_by_line() -> None:
    said = b'{"Status": 11, "ErrorMsg": "no such file or directory", "FilePath": "hub/model.bin"}\n'
    with stub(lambda ask: ask.reply(said * 60_000)) as daemon:
        KuboNode(daemon.url).forget_dead([CID_OF_BLOCK, ABSENT])
    assert daemon.asked == [("filestore/verify", None)]


def test_a_daemon_whose_disk_is_busy_reads_an_upload_when_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinformers.sources.kubo_rpc._CONNECT", 0.2)

    def answer(ask: Ask) -> None:
        ask.server.over.wait(0.5)
        drain(ask)
        ask.reply({"Stats": {}})

    big = Block(CID_OF_BLOCK, bytes(1 << 20))
    with stub(answer) as daemon:
        KuboNode(daemon.url).import_car([big] * 24, [CID_OF_BLOCK])


def test_a_pin_that_stands_still_is_given_up() -> None:
    def answer(ask: Ask) -> None:
        ask.send_response(200)
        ask.send_header("Transfer-Encoding", "chunked")
        ask.end_headers()
        line = b'{"Progress": 3}\n'
        # As Kubo does, every half a second for ever.
        with suppress(OSError):
            while not ask.server.over.wait(0.02):
                ask.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))

    with stub(answer) as daemon, pytest.raises(SourceUnavailable, match="no more than 3 blocks"):
        KuboNode(daemon.url, timeout=0.3).pin(ABSENT, "org/model")


def twice_asked() -> Callable[[], bool]:
    """What is asked whether to stop; at first it says no."""
    answers = iter([False])
    return lambda: next(answers, True)


@pytest.mark.parametrize(
    "call",
    [
        lambda node, file: [node.has(ABSENT) for _ in range(3)],
        lambda node, file: node.import_car([Block(CID_OF_BLOCK, BLOCK)] * 3, [CID_OF_BLOCK]),
        lambda node, file: node.add_nocopy(file, CID_OF_BLOCK),
        lambda node, file: node.pin(ABSENT, "org/model"),
    ],
    ids=["has", "import_car", "add_nocopy", "pin"],
)
def test_a_long_piece_of_work_is_stopped_between_two_blocks(
    call: Callable[[KuboNode, Path], object], tmp_path: Path
) -> None:
    def answer(ask: Ask) -> None:
        if ask.headers.get("Transfer-Encoding"):
            with suppress(ValueError):
                drain(ask)
            ask.close_connection = True
        else:
            lines({"Progress": 1}, {"Progress": 2}, {"Pins": [str(ABSENT)]})(ask)

    file = tmp_path / "model.bin"
    file.write_bytes(bytes(3 << 20))
    with stub(answer) as daemon:
        with pytest.raises(InterruptedError, match="was stopped"):
            call(KuboNode(daemon.url, stop=twice_asked()), file)
        assert len(daemon.asked) <= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_in_the_middle_of_a_call_has_its_own_connections() -> None:
    arrived, go = threading.Event(), threading.Event()

    def answer(ask: Ask) -> None:
        if not arrived.is_set():
            arrived.set()
            go.wait(20)
        who(ask)

    with stub(answer) as daemon:
        node = KuboNode(daemon.url)
        busy = threading.Thread(target=node.id)
        busy.start()
        assert arrived.wait(20)
        child = os.fork()
        if not child:
            with suppress(BaseException):
                os._exit(0 if node.id() == "12D3" and node.version() else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        go.set()
        busy.join()


LEAVES = [bytes([number]) * 100 for number in range(4)]
CIDS = [CID.raw(hashlib.sha256(leaf).digest()) for leaf in LEAVES]
RUN = Run(ABSENT, tuple(Leaf(cid, 50 + 100 * number, 100) for number, cid in enumerate(CIDS)), Buffers())


@pytest.mark.parametrize("fault", ["", "a lie", "an early end", "a refusal", "no Kubo"])
def test_leaves_that_stand_side_by_side_come_in_one_answer_or_one_by_one(fault: str) -> None:
    def answer(ask: Ask) -> None:
        if ask.command_name == "block/get":
            ask.reply(BLOCK)
        elif fault == "a refusal":
            ask.reply(NOT_FOUND, 500)
        elif fault == "no Kubo":
            ask.reply(b"<html>", 404)
        else:
            whole = b"".join([LEAVES[0], bytes(100) if fault == "a lie" else LEAVES[1], *LEAVES[2:]])
            ask.reply(whole[:250] if fault == "an early end" else whole)
        if ask.command_name == "cat":
            assert ask.query == {"arg": str(ABSENT), "offset": "50", "length": "400", "offline": "true"}
        # In HTTP/1.1 it comes in chunks of 4 KiB, which cost more than the bytes.
        assert ask.request_version == ("HTTP/1.0" if ask.command_name == "cat" else "HTTP/1.1")
        # A proxy may go by it.
        assert server.url.endswith(f"//{ask.headers['Host']}")

    with stub(answer) as server:
        source = KuboSource(KuboNode(server.url), swarm_timeout=0)
        assert not list(source.run(RUN)), "nothing is known of the daemon yet"
        assert source.block(CID_OF_BLOCK) == BLOCK
        good = {"": 4, "a lie": 1, "an early end": 2}.get(fault, 0)
        assert list(source.run(RUN)) == list(zip(CIDS, LEAVES, strict=True))[:good]
        list(source.run(RUN))
        # After a failure each is asked for by itself, for a while.
        assert server.count("cat") == (1 if fault else 2)
        assert source.block(CID_OF_BLOCK) == BLOCK


def test_a_connection_that_serves_no_other_call_is_not_used_again() -> None:
    ports = []

    def answer(ask: Ask) -> None:
        ports.append(ask.client_address[1])
        ask.reply(b"".join(LEAVES) if ask.command_name == "cat" else BLOCK)
        # It said nothing of an end, and closes when it likes.
        ask.close_connection = False

    with stub(answer) as server:
        source = KuboSource(KuboNode(server.url), swarm_timeout=0)
        source.block(CID_OF_BLOCK)
        assert list(source.run(RUN))
        source.block(CID_OF_BLOCK)
    *_, before, cat, after = ports
    assert before == cat != after


@pytest.mark.parametrize("upload", [False, True])
def test_a_kept_connection_that_closes_is_no_failure(upload: bool) -> None:
    served = []

    def answer(ask: Ask) -> None:
        ask.rfile.read(int(ask.headers.get("Content-Length", 0)))
        ask.close_connection = ask.client_address in served
        if not ask.close_connection:
            served.append(ask.client_address)
            ask.reply(BLOCK)

    with stub(answer) as server:
        rpc = Rpc(server.url, token=None, timeout=6)
        if upload:
            rpc.read("block/get")
            with pytest.raises(SourceUnavailable, match="broke"):
                rpc.send("add", iter([b"made once"]))
        else:
            assert [rpc.read("block/get") for _ in range(3)] == [BLOCK] * 3
            assert len(served) == 3


def test_a_repo_on_this_machine_is_read_beside_its_daemon(tmp_path: Path) -> None:
    folder = make_repo(tmp_path / "repo")
    for leaf, cid in zip(LEAVES[:3], CIDS, strict=False):
        put_block(folder, cid, leaf)

    def answer(ask: Ask) -> None:
        if ask.command_name == "diag/sys":
            ask.reply({"environment": {"IPFS_PATH": str(folder)}})
        else:
            ask.reply(LEAVES[3])

    with stub(answer) as daemon:
        source = KuboSource(KuboNode(daemon.url), swarm_timeout=0)
        assert [source.block(cid) for cid in CIDS] == LEAVES
        assert list(source.run(RUN)) == list(zip(CIDS, LEAVES, strict=True))[:3]
        # What it lacks, the daemon has.
        assert (daemon.count("diag/sys"), daemon.count("block/get"), daemon.count("cat")) == (1, 1, 0)


@pytest.mark.parametrize(
    "said", [b"no JSON", b"[]", b"null", {}, {"environment": {}}, {"environment": {"IPFS_PATH": "relative"}}]
)
def test_where_nobody_says_where_the_repo_is_the_daemon_is_asked(said: Any) -> None:
    with stub(lambda ask: ask.reply(said if ask.command_name == "diag/sys" else BLOCK)) as daemon:
        source = KuboSource(KuboNode(daemon.url), swarm_timeout=0)
        assert [source.block(CID_OF_BLOCK) for _ in range(2)] == [BLOCK, BLOCK]
        assert (daemon.count("diag/sys"), daemon.count("block/get")) == (1, 2)


def test_a_daemon_that_starts_later_says_where_its_repo_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_repo(tmp_path / "repo")
    put_block(folder, CID_OF_BLOCK, BLOCK)
    clock = Clock()
    monkeypatch.setattr("pinformers.sources.kubo.time", clock)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        source = KuboSource(KuboNode(f"http://127.0.0.1:{nobody.getsockname()[1]}"), swarm_timeout=0)
        with pytest.raises(SourceUnavailable):
            source.block(CID_OF_BLOCK)
        monkeypatch.setattr(KuboNode, "blockstore", lambda _: Flatfs.of_repo(folder))
        clock.now += PAUSE + 1
        assert source.block(CID_OF_BLOCK) == BLOCK
