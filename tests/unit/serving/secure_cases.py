from __future__ import annotations

import http.client
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("hypercorn")

from dag_rooms import Room, unpacked
from environment import clean_env
from gateway_rooms import Address, ask, in_thread
from pinformers._errors import ServeError
from pinformers.ipfs import CID, Block
from pinformers.serving.secure import check_tls, serve_tls
from tls_rooms import Http2, trusting, write_certificate

FILES = {f"{number}.bin": bytes([number]) * 200_000 for number in range(8)}


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def root(room: Room) -> CID:
    return room.store.add_folder(FILES).cid


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path)


@pytest.fixture
def address(room: Room, files: tuple[Path, Path]) -> Iterator[Address]:
    with in_thread(lambda bound, ended: serve_tls(bound, room, files, ended)) as found:
        yield found


@pytest.fixture
def h2_client(address: Address, files: tuple[Path, Path]) -> Iterator[Http2]:
    with Http2(address, trusting(files[0], "h2")) as client:
        yield client


def test_http_2(h2_client: Http2, room: Room, root: CID) -> None:
    for _ in range(2):
        h2_client.send(f"/ipfs/{root}", accept="application/vnd.ipld.raw")
        headers, body = h2_client.receive()
        assert (headers[":status"], headers["content-length"]) == ("200", str(len(body)))
        assert (headers["etag"], body) == (f'"{root}.raw"', room.store.blocks[root.multihash])
        h2_client.send(f"/ipfs/{root}/3.bin?format=car&dag-scope=block", "HEAD")
        assert h2_client.receive()[1] == b""
        h2_client.send(f"/ipfs/{root}/3.bin?format=car&dag-scope=block")
        assert len(unpacked([h2_client.receive()[1]])[1]) == 2
        h2_client.send(f"/ipfs/{CID.raw(bytes(32))}?format=raw")
        assert h2_client.receive()[0][":status"] == "404"
        h2_client.send(f"/ipfs/{root}?format=raw", if_none_match="*")
        assert h2_client.receive()[0][":status"] == "304"


def test_http_1_1(address: Address, files: tuple[Path, Path], root: CID) -> None:
    client = http.client.HTTPSConnection("localhost", address[1], context=trusting(files[0]), timeout=20)
    assert len(unpacked([ask(client, f"/ipfs/{root}?format=car")[1]])[1]) == 9
    assert ask(client, f"/ipfs/{root}?format=car", "HEAD") == (200, b"")
    client.close()


def test_a_block_that_is_missing_in_the_middle_cuts_the_connection(h2_client: Http2, room: Room, root: CID) -> None:
    room.gone.add(room.store.add_file(FILES["7.bin"]).cid)
    h2_client.send(f"/ipfs/{root}?format=car")
    with pytest.raises(EOFError):
        h2_client.receive()


def test_an_error_of_ours_cuts_the_connection(
    files: tuple[Path, Path], root: CID, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(cid: CID) -> Block:
        raise ZeroDivisionError("ours")

    with (
        in_thread(lambda bound, ended: serve_tls(bound, broken, files, ended)) as address,
        Http2(address, trusting(files[0], "h2")) as client,
    ):
        client.send(f"/ipfs/{root}?format=raw")
        with pytest.raises(EOFError):
            client.receive()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1 and "ours" in errors[0].getMessage()


def test_the_end_cuts_who_waits_and_who_is_served(
    room: Room, files: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytes(1 << 20)
    big = room.add_cbor([room.add_cbor([number, content]) for number in range(40)])
    context = trusting(files[0], "h2")
    with in_thread(lambda bound, ended: serve_tls(bound, room, files, ended)) as address:
        idle, served = Http2(address, context), Http2(address, context)
        served.send(f"/ipfs/{big}?format=car")
        assert served.socket.recv(10)
    for client in (idle, served):
        with client:
            client.wait_for_end()
    assert capfd.readouterr() == ("", "")


def test_clients_that_leave_or_speak_no_tls_are_no_traceback(
    address: Address, files: tuple[Path, Path], root: CID, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        client = Http2(address, trusting(files[0], "h2"))
        client.send(f"/ipfs/{root}?format=car")
        client.socket.recv(10)
        client.socket.close()
        plain = http.client.HTTPConnection(*address, timeout=20)
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(plain, "/")
        plain.close()
    with Http2(address, trusting(files[0], "h2")) as other:
        other.send(f"/ipfs/{root}?format=raw")
        assert other.receive()[0][":status"] == "200"
    assert capfd.readouterr() == ("", "")


def test_files_that_are_no_certificate(tmp_path: Path, files: tuple[Path, Path]) -> None:
    check_tls(*files)
    combined = tmp_path / "both.pem"
    combined.write_bytes(files[1].read_bytes() + files[0].read_bytes())
    check_tls(combined, combined)
    (tmp_path / "text").write_text("no PEM")
    for cert, key in ((tmp_path / "text", files[1]), (files[0], tmp_path / "text"), (files[0], files[0])):
        with pytest.raises(ServeError, match="this is no certificate with its key"):
            check_tls(cert, key)
    with pytest.raises(ServeError, match=f"{tmp_path / 'none'}: there is no such file"):
        check_tls(files[0], tmp_path / "none")


def test_without_hypercorn_a_sentence_says_what_to_install(tmp_path: Path, files: tuple[Path, Path]) -> None:
    code = (
        "import sys; sys.modules['hypercorn'] = None\n"
        "from pathlib import Path; from pinformers.serving.secure import check_tls\n"
        "try: check_tls(Path('cert'), Path('key'))\n"
        "except OSError as exc: print(exc)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], env=clean_env(tmp_path), text=True)
    assert said == "--cert: TLS and HTTP/2 need hypercorn; install it with `pip install 'pinformers[serve]'`.\n"


def test_no_more_connections_than_there_is_room_for(
    room: Room, root: CID, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinformers.serving.secure.MOST", 2)
    context = trusting(files[0], "h2")
    with in_thread(lambda bound, ended: serve_tls(bound, room, files, ended)) as address:
        idle = [Http2(address, context) for _ in range(2)]
        with Http2(address, context) as client:
            client.send(f"/ipfs/{root}?format=raw")
            assert client.receive()[0][":status"] == "200"
            idle[0].wait_for_end()
            idle[1].send(f"/ipfs/{root}?format=raw")
            assert idle[1].receive()[0][":status"] == "200"
        for other in idle:
            other.socket.close()
