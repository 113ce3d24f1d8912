from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bad_gateway import PATIENCE, BadGateway, Visit, drips_in_the_header
from ipns_data import ed25519_key, record
from pinformers._errors import BlockNotFound, SourceError, SourceUnavailable
from pinformers.ipfs.ipns import MAX_RECORD
from pinformers.sources.ipns import MEDIA_TYPE, fetch_record

NAME = str(ed25519_key().name)
RECORD = record(ed25519_key(), "/ipfs/bafkqaaa")
GATEWAY, ROUTING = f"/ipns/{NAME}?format=ipns-record", f"/routing/v1/ipns/{NAME}"
Answer = tuple[int, str, bytes]


@dataclass
class Gateway:
    """A real server that answers each path as it is told and notes what was asked."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    told = Gateway()

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append((self.path, self.headers["Accept"]))
            status, kind, body = told.answers.get(self.path, (404, "text/plain", b"no"))
            self.send_response(status)
            self.send_header("Location" if 300 <= status < 400 else "Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        told.url = f"http://127.0.0.1:{server.server_port}"
        yield told
        server.shutdown()
        thread.join()


def test_a_record_of_a_gateway(gateway: Gateway) -> None:
    gateway.answers[GATEWAY] = 200, MEDIA_TYPE, RECORD
    assert fetch_record(gateway.url + "/", NAME) == RECORD
    assert gateway.asked == [(GATEWAY, MEDIA_TYPE)]


@pytest.mark.parametrize("first", [(404, "text/plain", b"no"), (500, "text/plain", b"routing: not found")])
def test_the_routing_interface_where_the_gateway_has_none(gateway: Gateway, first: Answer) -> None:
    gateway.answers |= {GATEWAY: first, ROUTING: (200, f"{MEDIA_TYPE}; charset=binary", RECORD)}
    assert fetch_record(gateway.url, NAME) == RECORD
    assert [path for path, _ in gateway.asked] == [GATEWAY, ROUTING]


def test_words_that_come_as_a_success_are_no_record(gateway: Gateway) -> None:
    text = 200, "text/plain; charset=utf-8", b"delegate error: routing: not found"
    gateway.answers |= {GATEWAY: text, ROUTING: text}
    with pytest.raises(BlockNotFound, match=r"200 text/plain"):
        fetch_record(gateway.url, NAME)


def test_an_endless_record_is_cut(gateway: Gateway) -> None:
    gateway.answers[GATEWAY] = 200, MEDIA_TYPE, bytes(1 << 20)
    assert len(fetch_record(gateway.url, NAME)) == MAX_RECORD + 1


def test_a_redirect_is_followed_but_not_for_ever(gateway: Gateway) -> None:
    gateway.answers |= {GATEWAY: (302, "/moved", b""), "/moved": (200, MEDIA_TYPE, RECORD)}
    assert fetch_record(gateway.url, NAME) == RECORD
    gateway.answers["/moved"] = 302, "/moved", b""
    with pytest.raises(SourceError, match="redirects without an end"):
        fetch_record(gateway.url, NAME)


def drips(visit: Visit) -> None:
    visit.head(200, {"Content-Type": MEDIA_TYPE, "Content-Length": "10000"})
    visit.connection.settimeout(0.02)
    for _ in range(50 * int(PATIENCE)):
        visit.wfile.write(b"x")
        with suppress(TimeoutError):
            if not visit.connection.recv(1):
                break
    visit.close_connection = True


@pytest.mark.parametrize("answer", [drips, drips_in_the_header])
def test_a_gateway_that_drips_is_given_up(answer: Callable[[Visit], None]) -> None:
    with BadGateway(answer) as server, pytest.raises(SourceUnavailable, match="it stalled"):
        fetch_record(server.url, NAME, timeout=0.3)


def test_all_redirects_share_the_time() -> None:
    def leads_on(visit: Visit) -> None:
        visit.connection.settimeout(0.2)
        with suppress(TimeoutError):
            visit.connection.recv(1)
        visit.reply(302, Location=f"/{len(visit.gateway.paths)}")

    with BadGateway(leads_on) as server, pytest.raises(SourceUnavailable, match="it stalled"):
        fetch_record(server.url, NAME, timeout=0.5)


@pytest.mark.parametrize("ending", ["/ipfs", "/ipfs/", "/"])
def test_the_ending_of_the_url_does_not_matter(gateway: Gateway, ending: str) -> None:
    gateway.answers[GATEWAY] = 200, MEDIA_TYPE, RECORD
    assert fetch_record(gateway.url + ending, NAME) == RECORD


def test_a_gateway_that_is_not_there() -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        fetch_record("http://127.0.0.1:1", NAME)


@pytest.mark.parametrize("url", ["nonsense", "ftp://ada:secret@127.0.0.1", "http://ada:secret@127.0.0.1/?a=b", ""])
def test_what_is_no_gateway(url: str) -> None:
    with pytest.raises(SourceUnavailable, match="no URL of a gateway") as caught:
        fetch_record(url, NAME)
    assert "secret" not in str(caught.value)
