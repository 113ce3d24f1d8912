from __future__ import annotations

import email.utils
import hashlib
import io
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

import bad_gateway as bad
from bad_gateway import Answer, BadGateway
from environment import clean_env
from ipfs_data import MemoryStore, keystream
from pinformers._errors import BlockNotFound, SettingsError, SourceError, SourceUnavailable
from pinformers.ipfs import CID, MAX_BLOCK, Block, read_file, write_car
from pinformers.sources.base import Chain
from pinformers.sources.gateway import GatewaySource
from pinformers.sources.http import Network
from pinformers.sources.standing import PER_SERVER

MIB = 1 << 20
DIRECT = Network()
LONG = 30.0
SHORT = 0.3
Start = Callable[..., BadGateway]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def content() -> bytes:
    return b"".join(keystream("gateways", 5 * MIB + 77))


@pytest.fixture
def start(store: MemoryStore) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda answer=bad.honest: stack.enter_context(BadGateway(answer, store))


@pytest.fixture
def cid(store: MemoryStore) -> CID:
    """A block of 100 kB, and another one beside it."""
    store.put(b"another block")
    return put(store, b"".join(keystream("block", 100_000)))


def put(store: MemoryStore, block: bytes) -> CID:
    store.put(block)
    return CID.raw(hashlib.sha256(block).digest())


def source(*gateways: BadGateway | str, stall_timeout: float = LONG) -> GatewaySource:
    urls = [gateway if isinstance(gateway, str) else gateway.url for gateway in gateways]
    return GatewaySource(urls, stall_timeout=stall_timeout, network=DIRECT)


def refused(source: GatewaySource, cid: CID, kind: type[SourceError] = SourceUnavailable) -> str:
    with pytest.raises(SourceError) as caught:
        source.block(cid)
    assert type(caught.value) is kind, caught.value
    return caught.value.reason


def test_a_block_is_asked_for_as_the_specification_says(start: Start, store: MemoryStore, cid: CID) -> None:
    gateway = start()
    assert source(gateway).block(cid) == store(cid)
    assert gateway.paths == [f"/ipfs/{cid}?format=raw"]
    assert gateway.headers[0]["accept"] == "application/vnd.ipld.raw"


@pytest.mark.parametrize("size", [0, 1, MIB, MAX_BLOCK])
def test_blocks_of_any_size(start: Start, store: MemoryStore, size: int) -> None:
    cid = put(store, bytes(size))
    assert source(start()).block(cid) == bytes(size)


def test_an_identity_block_is_in_its_cid(start: Start) -> None:
    gateway = start()
    assert source(gateway).block(CID(1, 0x55, 0, b"inlined")) == b"inlined"
    assert gateway.paths == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (bad.flips_one_bit, "it sent other bytes than the block"),
        (bad.sends_another_block, "it sent other bytes than the block"),
        (bad.announces_less, "it sent other bytes than the block"),
    ],
)
def test_a_gateway_that_lies_is_never_asked_again(
    start: Start, store: MemoryStore, cid: CID, answer: Answer, reason: str
) -> None:
    liar, good = start(answer), start()
    both = source(liar, good)
    assert both.block(cid) == store(cid)
    assert len(liar.paths) == 1
    liar.answer = bad.honest
    for _ in range(PER_SERVER):
        assert both.block(cid) == store(cid)
    assert len(liar.paths) == 1

    alone = source(start(answer))
    assert reason in refused(alone, cid)
    assert f"{reason} {cid}; it is not asked again" in refused(alone, cid)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (bad.redirects_in_a_circle, "it redirects without an end"),
        (bad.redirects_forever, "it redirects without an end"),
        (bad.never_ends, "more than 2097152 bytes"),
        (bad.announces_too_much, "more than 2097152 bytes"),
        (bad.sends_a_page, "it sent 'text/html', and that is not the block"),
        (bad.says(500), "it answers 500"),
        (bad.says(418), "it answers 418"),
        (bad.says(204), "it answers 204"),
        (bad.says(304), "it answers 304"),
        (bad.says(302), "it answers 302"),
        (bad.says(302, Location="ftp://elsewhere.example/"), "it redirects to what is no URL"),
        (bad.says(302, Location="http://[/"), "it redirects to what is no URL"),
        (bad.says(401), "it wants a user and a password"),
        (bad.says(501), "it answers 501"),
        (bad.says(200, Content_Encoding="gzip"), "it sends 'gzip'"),
    ],
)
def test_what_is_no_block_is_refused_with_a_reason(
    start: Start, store: MemoryStore, cid: CID, answer: Answer, reason: str
) -> None:
    gateway = start(answer)
    said = refused(source(gateway), cid)
    assert reason in said
    assert gateway.url in said
    assert len(gateway.paths) <= 6
    assert source(start(answer), start()).block(cid) == store(cid)


@pytest.mark.parametrize("answer", [bad.stalls_at_once, bad.stalls_in_the_header, bad.stalls_in_the_body])
def test_a_stalled_gateway_is_dropped_for_a_while(start: Start, store: MemoryStore, cid: CID, answer: Answer) -> None:
    stalled, good = start(answer), start()
    alone = source(stalled, stall_timeout=SHORT)
    assert "it stalled" in refused(alone, cid)
    assert stalled.left.wait(bad.PATIENCE), "its connection is closed"
    asked = len(stalled.paths)
    assert "it is asked again in" in refused(alone, cid)
    assert len(stalled.paths) == asked
    assert source(start(answer), good, stall_timeout=SHORT).block(cid) == store(cid)


@pytest.mark.parametrize("answer", [bad.drips, bad.drips_in_the_header])
def test_a_drip_is_a_stall(start: Start, store: MemoryStore, cid: CID, answer: Answer) -> None:
    gateway = start(answer)
    assert "it stalled: no byte, or too few" in refused(source(gateway, stall_timeout=SHORT), cid)
    assert gateway.left.wait(bad.PATIENCE), "its connection is closed"
    assert source(start(answer), start(), stall_timeout=SHORT).block(cid) == store(cid)


def test_a_name_that_is_looked_up_for_ever_is_a_stall(cid: CID, monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()

    def hangs(*_: object) -> None:
        found.wait(bad.PATIENCE)
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    assert "it stalled: no block began" in refused(source("http://slow.example", stall_timeout=SHORT), cid)
    found.set()


@pytest.mark.parametrize(
    "answer",
    [bad.truncates, bad.truncates_chunked, bad.truncates_without_a_length, bad.truncates_the_header, bad.Visit.hang_up],
)
def test_an_answer_cut_short_is_asked_for_again(start: Start, store: MemoryStore, cid: CID, answer: Answer) -> None:
    once = start(bad.first(1, answer))
    assert source(once).block(cid) == store(cid)
    assert len(once.paths) == 2

    always = start(answer)
    assert re.search("the connection broke|or not all of them", refused(source(always), cid))
    assert len(always.paths) == 3


@pytest.mark.parametrize("status", [404, 410, 451])
def test_a_gateway_without_the_block_is_asked_for_others(
    start: Start, store: MemoryStore, cid: CID, status: int
) -> None:
    gateway = start(bad.first(1, bad.says(status)))
    one = source(gateway)
    assert f"it does not have the block ({status})" in refused(one, cid, BlockNotFound)
    assert one.block(cid) == store(cid)


def test_the_block_is_not_there_when_one_says_so_and_the_other_is_down(start: Start, cid: CID) -> None:
    down, lacks = start(), start(bad.says(404))
    down.stop()
    said = refused(source(down, lacks), cid, BlockNotFound)
    assert f"{down.url}: it cannot be reached (Connection refused" in said
    assert f"{lacks.url}: it does not have the block (404)" in said


def asks_to_wait(status: int, seconds: float, *, form: str) -> Answer:
    """Refuse, and name a time as a number or as a date; that of a server whose clock is slow is long past here."""

    def answer(visit: bad.Visit) -> None:
        now = time.time() - (7200 if form == "slow clock" else 0)
        visit.date_time_string = lambda timestamp=None: email.utils.formatdate(now, usegmt=True)  # type: ignore[method-assign]
        date = email.utils.formatdate(now + seconds, usegmt=True)
        visit.reply(status, Retry_After=f"{seconds:.0f}" if form == "seconds" else date)

    return answer


@pytest.mark.parametrize("status", [429, 503, 504])
@pytest.mark.parametrize("form", ["seconds", "date", "slow clock"])
def test_retry_after_is_respected(start: Start, cid: CID, status: int, form: str) -> None:
    gateway = start(asks_to_wait(status, 3600, form=form))
    one = source(gateway)
    assert f"it answers {status} and asks to wait" in refused(one, cid)
    # At once, and without a request.
    assert "it is asked again in" in refused(one, cid)
    assert len(gateway.paths) == 1


def test_a_short_wait_is_waited(start: Start, store: MemoryStore, cid: CID) -> None:
    gateway = start(bad.first(1, bad.says(429, Retry_After="0")))
    assert source(gateway).block(cid) == store(cid)
    gateway = start(bad.first(2, bad.says(503)))
    assert source(gateway).block(cid) == store(cid)
    assert len(gateway.paths) == 3


def test_who_is_always_busy_is_not_asked_for_ever(start: Start, cid: CID) -> None:
    gateway = start(bad.says(429, Retry_After="0"))
    assert "it answers 429" in refused(source(gateway), cid)
    assert len(gateway.paths) == 3


def test_many_threads_make_no_storm(start: Start, store: MemoryStore) -> None:
    cids = [put(store, b"%d" % n) for n in range(24)]
    gateway = start(bad.says(429, Retry_After="3600"))
    one = source(gateway)
    with ThreadPoolExecutor(8) as pool:
        failures = [pool.submit(one.block, cid).exception() for cid in cids]
    assert all(isinstance(failure, SourceUnavailable) for failure in failures)
    # Those that were on their way when the first one was refused, and no more.
    assert len(gateway.paths) <= PER_SERVER


def test_one_that_dies_in_the_middle_of_a_file_is_replaced(start: Start, store: MemoryStore, content: bytes) -> None:
    dag = store.add_file(content)
    first, second = start(), start()

    def dies(visit: bad.Visit) -> None:
        if len(first.paths) == 4:
            threading.Thread(target=first.stop).start()
            bad.truncates(visit)
        else:
            bad.honest(visit)

    first.answer = dies
    chain = Chain([source(first, second)])
    assert b"".join(read_file(dag.cid, chain.fetch)) == content
    assert chain.dropped == []
    assert second.paths


def test_a_block_that_fails_alone_drops_nobody(start: Start, store: MemoryStore, cid: CID) -> None:
    other = put(store, b"fine")
    asked, ready = threading.Event(), threading.Event()

    def fails(visit: bad.Visit) -> None:
        if visit.cid == cid:
            asked.set()
            assert ready.wait(bad.PATIENCE)
            visit.reply(500)
        else:
            bad.honest(visit)

    one = source(start(fails))
    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(one.block, cid)
        assert asked.wait(bad.PATIENCE)
        assert one.block(other) == b"fine"
        ready.set()
        assert type(failing.exception()) is SourceError


def test_a_hedge_wins_and_the_loser_is_abandoned(start: Start, store: MemoryStore, cid: CID) -> None:
    slow, quick = start(bad.stalls_at_once), start()
    assert source(slow, quick).block(cid) == store(cid)
    assert len(slow.paths) == len(quick.paths) == 1
    assert slow.left.wait(bad.PATIENCE), "its connection is closed"


def test_a_gateway_that_answers_in_time_is_the_only_one_asked(start: Start, store: MemoryStore, cid: CID) -> None:
    first, second = start(), start()
    one = source(first, second)
    for _ in range(10):
        assert one.block(cid) == store(cid)
    assert second.paths == []


def test_requests_in_flight_are_bounded(start: Start, store: MemoryStore) -> None:
    cids = [put(store, b"%d" % n) for n in range(3 * PER_SERVER)]
    gate = threading.Event()

    def held(visit: bad.Visit) -> None:
        assert gate.wait(bad.PATIENCE)
        bad.honest(visit)

    gateway = start(held)
    one = source(gateway)
    with ThreadPoolExecutor(len(cids)) as pool:
        blocks = [pool.submit(one.block, cid) for cid in cids]
        gateway.wait_in_flight(PER_SERVER)
        gate.set()
        assert [block.result() for block in blocks] == [store(cid) for cid in cids]
    assert gateway.most == PER_SERVER
    assert len(set(gateway.connections)) <= PER_SERVER


def test_connections_are_kept(start: Start, store: MemoryStore, cid: CID) -> None:
    gateway = start()
    one = source(gateway)
    for _ in range(5):
        one.block(cid)
        refused(one, CID.raw(bytes(32)), BlockNotFound)
    assert len(set(gateway.connections)) == 1


def test_kept_connections_that_the_server_closes_are_no_failure(start: Start, store: MemoryStore, cid: CID) -> None:
    gateway = start(bad.closes_kept_connections)
    one = source(gateway)
    for _ in range(5):
        assert one.block(cid) == store(cid)


def test_where_raw_blocks_are_refused_a_car_is_taken_apart(start: Start, store: MemoryStore, cid: CID) -> None:
    gateway = start(bad.speaks_cars_only)
    one = source(gateway)
    assert [one.block(cid), one.block(cid)] == [store(cid)] * 2
    raw, car = f"/ipfs/{cid}?format=raw", f"/ipfs/{cid}?format=car&dag-scope=block"
    assert gateway.paths == [raw, car, car], "what it does not speak is asked once"
    assert len(set(gateway.connections)) == 1


def car_only(answer: Answer) -> Answer:
    return lambda visit: answer(visit) if visit.wants_car else visit.reply(501)


def sends_other_blocks_for_ever(visit: bad.Visit, block: bytes = bytes(MIB)) -> None:
    head, whole = io.BytesIO(), io.BytesIO()
    size = write_car(head, [], [])
    write_car(whole, [], [Block(CID.raw(hashlib.sha256(block).digest()), block)])
    visit.head(200, {"Content-Type": bad.CAR, "Connection": "close"})
    visit.wfile.write(head.getvalue())
    while True:
        visit.wfile.write(whole.getvalue()[size:])


@pytest.mark.parametrize(
    ("answer", "reason", "kind"),
    [
        (bad.flips_one_bit, "its CAR holds other bytes than it says", SourceUnavailable),
        (lambda visit: visit.reply(200, visit.car(), bad.CAR), "its CAR lacks the block", BlockNotFound),
        (lambda visit: visit.reply(200, b"<html>", "text/html"), "it sent 'text/html', and its CAR", SourceUnavailable),
        (lambda visit: visit.reply(200, visit.car(visit.block)[:-1], bad.CAR), "its CAR breaks off", BlockNotFound),
        (lambda visit: visit.reply(200, visit.car() + b"\n\n[Gateway Error: x]", bad.CAR), "breaks off", BlockNotFound),
        (sends_other_blocks_for_ever, "more than 2097152", SourceUnavailable),
        (partial(sends_other_blocks_for_ever, block=b""), "more than 2097152", SourceUnavailable),
        (lambda visit: visit.reply(200, bytes(3 * MIB), bad.CAR), "more than 2097152", SourceUnavailable),
        (bad.never_ends, "its CAR cannot be read", SourceUnavailable),
    ],
)
def test_a_car_that_is_none(start: Start, cid: CID, answer: Answer, reason: str, kind: type[SourceError]) -> None:
    assert reason in refused(source(start(car_only(answer))), cid, kind)


def test_it_goes_on_in_a_forked_process(start: Start, store: MemoryStore, cid: CID, tmp_path: Path) -> None:
    gateway, liar = start(), start(bad.flips_one_bit)
    script = """
        import os, sys
        from pinformers.ipfs import CID
        from pinformers.sources.gateway import GatewaySource
        source, cid = GatewaySource(sys.argv[2:], stall_timeout=30), CID.parse(sys.argv[1])
        block = source.block(cid)
        # As if another thread held it at the moment of the fork.
        source._fleet.roster._changed.acquire()
        child = os.fork()
        if not child:
            assert source.block(cid) == block
            os._exit(0)
        source._fleet.roster._changed.release()
        assert os.waitpid(child, 0)[1] == 0
        assert source.block(cid) == block
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(cid), liar.url, gateway.url],
        env=clean_env(tmp_path),
        check=True,
        timeout=bad.PATIENCE,
    )
    first, second, third = gateway.connections
    assert first == third != second
    assert len(liar.paths) == 1, "what the parent learned the child knows"


@pytest.mark.parametrize("ending", ["", "/", "/ipfs", "/ipfs/"])
def test_urls_are_written_in_several_ways(start: Start, store: MemoryStore, cid: CID, ending: str) -> None:
    gateway = start()
    assert source(f" {gateway.url}{ending}").block(cid) == store(cid)
    assert gateway.paths == [f"/ipfs/{cid}?format=raw"]


def test_a_path_before_ipfs_is_kept(start: Start, store: MemoryStore, cid: CID) -> None:
    gateway = start()
    source(f"{gateway.url}/mirror/ipfs/").block(cid)
    assert gateway.paths == [f"/mirror/ipfs/{cid}?format=raw"]


@pytest.mark.parametrize(
    "url",
    [
        "gateway.example",
        "ftp://gateway.example",
        "https://",
        "http://gateway.example:port",
        "http://gateway.example:99999",
        "http://gateway.example?x=1",
        "http://gateway.example/#x",
        "http://a b.example",
        "https://{cid}.ipfs.example",
        "/ip4/127.0.0.1/tcp/8080",
        "",
    ],
)
def test_a_bad_url_is_named(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        source("http://127.0.0.1:1", url)
    assert caught.value.name == "gateways"
    # A token may stand in a query.
    assert repr(re.split("[?#]", url)[0]) in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_password_is_sent_and_never_told(start: Start, cid: CID) -> None:
    gateway = start(bad.says(403))
    url = f"http://me:s%40cret@{gateway.host}"
    said = refused(source(url), cid)
    assert gateway.headers[0]["authorization"] == "Basic bWU6c0BjcmV0"
    assert "cret" not in said
    assert gateway.url in said


@pytest.mark.parametrize(
    "url",
    ["me:s3cret@gateway", "ftp://me:s3cret@host", "http://me:s3/cret@host", "http://me:s3cret@host:port"],
)
def test_a_bad_url_is_named_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        source(url)
    said = str(caught.value) + repr(caught.value)
    assert "cret" not in said
    assert "s3" not in said


def test_a_password_goes_to_no_other_server(start: Start, store: MemoryStore, cid: CID) -> None:
    other = start()
    gateway = start(lambda visit: visit.reply(302, Location=f"{other.url}/ipfs/{cid}?format=raw"))
    assert source(f"http://me:secret@{gateway.host}").block(cid) == store(cid)
    assert "authorization" in gateway.headers[0]
    assert "authorization" not in other.headers[0]
