from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import urllib3

from bad_gateway import BadGateway, Visit
from pinformers.sources.http import Connection, owned
from pinformers.sources.patience import SLOWEST, PatientResponse

WAIT = 10.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


class Clock:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("pinformers.sources.patience.time", made)
    return made


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """What the client reads from, and the server's end."""
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(WAIT)
        yield client, server


def test_the_time_is_for_all_of_an_answer(ends: tuple[socket.socket, socket.socket], clock: Clock) -> None:
    client, server = ends
    with PatientResponse(client) as answer:
        server.sendall(HEAD % 3 + b"a")
        answer.begin()
        assert answer.read(1) == b"a"
        clock.now = WAIT - 1
        server.sendall(b"b")
        assert answer.read(1) == b"b"
        assert client.gettimeout() == pytest.approx(1.0, abs=0.1), "the last wait ends with the whole time"
        clock.now = WAIT + 1
        server.sendall(b"c")
        with pytest.raises(TimeoutError):
            answer.read(1)


def test_the_headers_belong_to_it(ends: tuple[socket.socket, socket.socket], clock: Clock) -> None:
    client, server = ends
    with PatientResponse(client) as answer:
        server.sendall(HEAD[:20])
        clock.now = WAIT + 1
        with pytest.raises(TimeoutError):
            answer.begin()


def test_who_sends_much_has_longer(ends: tuple[socket.socket, socket.socket], clock: Clock) -> None:
    client, server = ends
    with PatientResponse(client) as answer:
        server.sendall(HEAD % (SLOWEST + 2) + bytes(SLOWEST))
        answer.begin()
        assert len(answer.read(SLOWEST)) == SLOWEST
        clock.now = WAIT + 0.9
        server.sendall(b"x")
        assert answer.read(1) == b"x"
        clock.now = WAIT + 1.1
        server.sendall(b"x")
        with pytest.raises(TimeoutError):
            answer.read(1)


def test_what_goes_on_and_on_gets_its_time_anew(ends: tuple[socket.socket, socket.socket], clock: Clock) -> None:
    client, server = ends
    with PatientResponse(client) as answer:
        server.sendall(HEAD % 50)
        answer.begin()
        for _ in range(5):
            clock.now += WAIT - 1
            answer.renew()
            server.sendall(b"x")
            assert answer.read(1) == b"x"


def test_a_socket_that_waits_for_ever_has_no_limit(ends: tuple[socket.socket, socket.socket], clock: Clock) -> None:
    client, server = ends
    client.settimeout(None)
    with PatientResponse(client) as answer:
        clock.now = 1e9
        server.sendall(HEAD % 1 + b"x")
        answer.begin()
        assert answer.read() == b"x"


def test_what_is_left_of_one_answer_is_not_the_time_of_the_next_request() -> None:
    def echoes(visit: Visit) -> None:
        visit.reply(200, visit.path.encode())

    seen: list[float | None] = []
    with BadGateway(echoes) as gateway:
        manager = owned(urllib3.PoolManager(timeout=7.0, maxsize=1))
        pool = manager.connection_from_url(gateway.url)
        assert pool.request("GET", "/x").data == b"/x"
        kept = pool._get_conn()
        assert isinstance(kept, Connection)
        kept.sock.settimeout(0.5)
        pool._put_conn(kept)

        def body() -> Iterator[bytes]:
            seen.append(kept.sock.gettimeout())
            yield b""

        pool.request("GET", "/y", body=body())
        manager.clear()
    assert seen == [7.0]


def test_a_manager_is_made_ours_once() -> None:
    manager = owned(urllib3.PoolManager())
    assert owned(manager).pool_classes_by_scheme == manager.pool_classes_by_scheme
    for pool in manager.pool_classes_by_scheme.values():
        assert issubclass(pool.ConnectionCls, Connection)
