from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dag_rooms import Room, unpacked
from gateway_rooms import Address, ask, connection, in_thread, thread_server
from pinformers.ipfs import CID, Block
from pinformers.serving.threads import serve_plainly

FILES = {f"{number}.bin": bytes([number]) * 200_000 for number in range(8)}


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def root(room: Room) -> CID:
    return room.store.add_folder(FILES).cid


@pytest.fixture
def address(room: Room) -> Iterator[Address]:
    with thread_server(room) as found:
        yield found


def raw(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=20)


def rest(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_a_connection_serves_many_requests(address: Address, room: Room, root: CID) -> None:
    with connection(address) as client:
        for _ in range(3):
            status, car = ask(client, f"/ipfs/{root}?format=car")
            assert status == 200 and len(unpacked([car])[1]) == 9
            assert ask(client, f"/ipfs/{root}?format=raw") == (200, room.store.blocks[root.multihash])
            assert ask(client, f"/ipfs/{root}?format=car", "HEAD") == (200, b"")
            assert ask(client, "/ipfs/nonsense")[0] == 400
            assert ask(client, f"/ipfs/{root}?format=raw", if_none_match="*") == (304, b"")
            assert ask(client, "/ipfs/bafkqaaa?format=raw") == (200, b"")
        own = client.sock
        assert ask(client, f"/ipfs/{root}", "BREW")[0] == 405 and client.sock is own


def test_many_clients_at_once(address: Address, root: CID) -> None:
    def load(_: int) -> int:
        with connection(address) as client:
            return len(unpacked([ask(client, f"/ipfs/{root}?format=car")[1]])[1])

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(load, range(48))) == {9}


def test_a_block_that_is_missing_in_the_middle_cuts_the_connection(address: Address, room: Room, root: CID) -> None:
    room.gone.add(room.store.add_file(FILES["7.bin"]).cid)
    with connection(address) as client:
        client.request("GET", f"/ipfs/{root}?format=car")
        with pytest.raises(http.client.IncompleteRead) as caught:
            client.getresponse().read()
    assert len(unpacked([caught.value.partial])[1]) == 8


def test_a_client_of_http_1_0_sees_the_cut_too(address: Address, room: Room, root: CID) -> None:
    request = f"GET /ipfs/{root}?format=car HTTP/1.0\r\n\r\n".encode()
    with raw(address) as client:
        client.sendall(request)
        head, _, car = rest(client).partition(b"\r\n\r\n")
        assert b"chunked" not in head and len(unpacked([car])[1]) == 9
    room.gone.add(room.store.add_file(FILES["7.bin"]).cid)
    with raw(address) as client, pytest.raises(ConnectionResetError):
        client.sendall(request)
        rest(client)


def test_a_client_that_leaves_is_no_traceback(
    address: Address, room: Room, root: CID, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pinformers")
    for _ in range(5):
        with raw(address) as client:
            client.sendall(f"GET /ipfs/{root}?format=car HTTP/1.1\r\n\r\n".encode())
            client.recv(100)
            # Closed with unread bytes: the server's next write fails.
    with connection(address) as client:
        assert ask(client, f"/ipfs/{root}?format=raw")[0] == 200
    assert capfd.readouterr() == ("", "")
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_what_is_no_http_is_answered_and_ended(address: Address) -> None:
    for sent, status in ((b"NONSENSE\r\n\r\n", b"400"), (b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414")):
        with raw(address) as client:
            client.sendall(sent)
            assert rest(client).startswith(b"HTTP/1.1 " + status)


def test_the_body_of_a_request_is_not_taken_for_the_next_request(address: Address, root: CID) -> None:
    smuggled = f"GET /ipfs/{root}?format=raw HTTP/1.1\r\n\r\n".encode()
    with raw(address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = rest(client)
        assert answer.count(b"HTTP/1.1 ") <= 1


def test_several_accept_headers_are_one(address: Address, root: CID) -> None:
    with raw(address) as client:
        client.sendall(
            f"GET /ipfs/{root} HTTP/1.1\r\nAccept: text/html\r\nAccept: application/vnd.ipld.raw\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        assert rest(client).startswith(b"HTTP/1.1 200")


def test_a_silent_client_is_cut(room: Room) -> None:
    with thread_server(room, patience=0.1) as address, raw(address) as client:
        client.sendall(b"GET /ipfs/")
        assert rest(client) == b""


def test_a_client_that_takes_nothing_is_cut(room: Room) -> None:
    content = bytes(1 << 20)
    cids = [room.add_cbor([number, content[: 1 << 19]]) for number in range(40)]
    root = room.add_cbor(cids)
    with thread_server(room, most=1, patience=0.2) as address, raw(address) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        client.sendall(f"GET /ipfs/{root}?format=car HTTP/1.1\r\n\r\n".encode())
        # The one place is free again only when the write that nobody takes has timed out.
        with connection(address) as other:
            assert ask(other, f"/ipfs/{root}?format=raw")[0] == 200


def test_when_all_places_are_taken_the_longest_idle_makes_room(room: Room, root: CID) -> None:
    with thread_server(room, most=3) as address:
        idle = [raw(address) for _ in range(3)]
        with connection(address) as client:
            assert ask(client, f"/ipfs/{root}?format=raw")[0] == 200
            assert rest(idle[0]) == b""
            idle[2].sendall(f"GET /ipfs/{root}?format=raw HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
            assert rest(idle[2]).startswith(b"HTTP/1.1 200")
        for other in idle:
            other.close()


def test_a_busy_connection_is_not_cut_for_a_new_one(room: Room, root: CID) -> None:
    entered, release = threading.Event(), threading.Event()

    def slowly(cid: CID) -> Block:
        entered.set()
        assert release.wait(20)
        return room(cid)

    with thread_server(slowly, most=1) as address, raw(address) as busy, raw(address) as new:
        request = f"GET /ipfs/{root}?format=raw HTTP/1.1\r\nConnection: close\r\n\r\n".encode()
        busy.sendall(request)
        assert entered.wait(20)
        new.sendall(request)
        release.set()
        assert rest(busy).startswith(b"HTTP/1.1 200") and rest(new).startswith(b"HTTP/1.1 200")


def test_an_error_of_ours_is_logged_and_cuts_the_connection(root: CID, caplog: pytest.LogCaptureFixture) -> None:
    def broken(cid: CID) -> Block:
        raise ZeroDivisionError("ours")

    with thread_server(broken) as address, raw(address) as client:
        client.sendall(f"GET /ipfs/{root}?format=raw HTTP/1.1\r\n\r\n".encode())
        assert rest(client) == b""
    assert [(r.levelname, "ours" in r.getMessage()) for r in caplog.records] == [("ERROR", True)]


def test_the_end_cuts_who_waits_and_who_is_served(room: Room, root: CID) -> None:
    content = bytes(1 << 20)
    big = room.add_cbor([room.add_cbor([number, content]) for number in range(40)])
    with in_thread(lambda bound, ended: serve_plainly(bound, room, ended)) as address:
        idle, served = raw(address), raw(address)
        served.sendall(f"GET /ipfs/{big}?format=car HTTP/1.1\r\n\r\n".encode())
        assert served.recv(10)
    for client in (idle, served):
        with client, contextlib.suppress(ConnectionResetError):
            assert b"0\r\n\r\n" not in rest(client)[-5:]
    with pytest.raises(ConnectionRefusedError):
        raw(address)


def test_requests_are_logged_at_debug_only(address: Address, root: CID, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "pinformers")
    with connection(address) as client:
        ask(client, f"/ipfs/{root}?format=raw")
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert lines == [f"GET /ipfs/{root}?format=raw: 200."]
