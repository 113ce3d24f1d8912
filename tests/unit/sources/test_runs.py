"""Leaves that stand side by side come in one answer from a gateway nearby, and one by one wherever that fails."""

from __future__ import annotations

import hashlib
import io
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bad_gateway import CAR, BadGateway, Visit, flips_one_bit, honest
from ipfs_data import MemoryStore
from pinformers.ipfs import CID, Block, Profile, append_car, write_car
from pinformers.ipfs.dag import RUN, Run, read_file
from pinformers.ipfs.dagpb import encode_link, encode_node, file_message
from pinformers.pinning.ahead import Ahead
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.fetching import fetch_file
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.serving.gateway import answer
from pinformers.serving.messages import Request
from pinformers.sources import gateway as gateways
from pinformers.sources import standing, trustless
from pinformers.sources.base import Chain, Lazy, Source
from pinformers.sources.embedded import EmbeddedSource, LocalFile
from pinformers.sources.gateway import GatewaySource

CHUNK = 1 << 17
LEAVES = 64
CONTENT = random.Random(5).randbytes(LEAVES * CHUNK - 100)
COMMIT = "c" * 40


def speaks(visit: Visit) -> None:
    """Answer as our own gateway does, range of bytes and all."""
    store = visit.gateway.store
    request = Request(visit.command, visit.path, {"accept": visit.headers["Accept"]})
    said = answer(request, lambda cid: Block(cid, store.blocks[cid.multihash]))
    visit.reply(
        said.status, b"".join(said.body), **{name.replace("-", "_"): text for name, text in said.headers.items()}
    )


def cid_of(data: bytes) -> CID:
    return CID.raw(hashlib.sha256(data).digest())


def is_run(path: str) -> bool:
    return "entity-bytes" in path


class Fetching:
    """A file in several layers of nodes, fetched from ``servers`` behind a store of this machine's own files."""

    def __init__(self, folder: Path, *servers: BadGateway, here: tuple[Source, ...] = (), width: int = 40) -> None:
        self.folder = folder
        store = MemoryStore()
        self.dag = store.add_file(CONTENT, Profile(chunk=CHUNK, width=width))
        for server in servers:
            server.store = store
        urls = [server.url for server in servers]
        self.source = GatewaySource(urls, stall_timeout=5)
        self.chain = Chain([*here, Lazy("gateway", lambda: self.source, proves=True)])

    def run(self) -> None:
        file = PinnedFile(len(CONTENT), str(self.dag.cid), 0, self.dag.sha256)
        cache = RepoCache(str(self.folder / "hub"), "org/model", lock_timeout=5.0)
        pin = Pin("org/model", COMMIT, {"a.bin": file})
        fetched = fetch_file(cache, pin, "a.bin", self.chain.fetch, self.folder / "dag.car", runs=self.chain.run)
        assert fetched.verified
        assert cache.file(COMMIT, "a.bin").read_bytes() == CONTENT


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadGateway]:
    """A gateway that counts as rapid from its first answer on, however busy this machine is; see test_standing."""
    monkeypatch.setattr(standing, "_RAPID", 3600.0)
    with BadGateway(speaks) as server:
        yield server


def test_a_gateway_nearby_is_asked_for_several_at_once(near: BadGateway, tmp_path: Path) -> None:
    fetching = Fetching(tmp_path, near)
    fetching.run()
    runs = [path for path in near.paths if is_run(path)]
    # The first few come alone: nothing is known of the gateway yet.
    assert len(runs) >= 4
    assert len(near.paths) <= LEAVES * 2 // 3
    assert fetching.chain.served == {"gateway": LEAVES + 3}
    assert not fetching.chain.failures
    assert len(set(near.connections)) <= RUN + 1, "connections are kept"


def test_a_gateway_far_away_is_asked_for_many_beside_each_other(
    near: BadGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_RAPID", 0.1)

    def late(visit: Visit) -> None:
        time.sleep(0.12)
        speaks(visit)

    near.answer = late
    Fetching(tmp_path, near).run()
    assert not any(map(is_run, near.paths))


@pytest.mark.parametrize("fault", ["refuses", "lacks", "one block", "cut", "no CAR", "honest"])
def test_whatever_else_it_does_each_block_is_asked_for_by_itself(fault: str, near: BadGateway, tmp_path: Path) -> None:
    def answers(visit: Visit) -> None:
        store = visit.gateway.store
        if not is_run(visit.path):
            speaks(visit)
        elif fault == "refuses":
            visit.reply(400, b"what is that?", "text/plain")
        elif fault == "lacks":
            visit.reply(404, b"it is not here", "text/plain")
        elif fault == "one block":
            visit.path = f"{urlsplit(visit.path).path}?format=car&dag-scope=block"
            speaks(visit)
        elif fault == "cut":
            whole = visit.car(*[store.blocks[visit.cid.multihash]])
            visit.head(200, {"Content-Type": CAR, "Content-Length": str(len(whole) + 1000)})
            visit.wfile.write(whole)
            visit.hang_up()
        elif fault == "no CAR":
            visit.reply(200, b"<html>welcome</html>", "text/html")
        else:
            honest(visit)

    near.answer = answers
    fetching = Fetching(tmp_path, near)
    fetching.run()
    # Two may have been under way when the first one failed.
    assert 1 <= sum(map(is_run, near.paths)) <= 3
    assert not fetching.chain.failures


@pytest.mark.parametrize("fault", ["", "lies", "another span", "the whole", "cut", "lacks", "busy"])
def test_a_gateway_that_sends_ranges_of_files_needs_to_send_no_cars(
    fault: str, near: BadGateway, tmp_path: Path
) -> None:
    ranges: list[str] = []

    def answers(visit: Visit) -> None:
        span = visit.headers.get("Range", "")
        if not span:
            speaks(visit)
            return
        ranges.append(span)
        store = visit.gateway.store
        whole = b"".join(read_file(visit.cid, lambda cid: store.blocks[cid.multihash]))
        first, _, last = span.removeprefix("bytes=").partition("-")
        said = f"bytes {first}-{last}/{len(whole)}"
        piece = whole[int(first) : int(last) + 1]
        if fault == "cut":
            visit.head(206, {"Content-Length": str(len(piece)), "Content-Range": said})
            visit.wfile.write(piece[:-1])
            visit.hang_up()
        elif fault in ("lacks", "busy"):
            visit.reply(404 if fault == "lacks" else 503)
        elif fault == "the whole":
            visit.reply(200, whole)
        else:
            said = said.replace("bytes ", "bytes 1") if fault == "another span" else said
            visit.reply(206, bytes(len(piece)) if fault == "lies" else piece, Content_Range=said)

    near.answer = answers
    fetching = Fetching(tmp_path, near)
    fetching.run()
    assert not fetching.chain.failures
    # No promise was broken: the gateway is asked on.
    assert fetching.source.block(fetching.dag.cid)
    cars = sum(map(is_run, near.paths))
    if not fault:
        assert len(ranges) >= 4
        assert not cars
        assert len(set(near.connections)) <= RUN + 1, "connections are kept"
    else:
        # Others may have been under way when the first one failed.
        assert 1 <= len(ranges) <= 3
        assert bool(cars) == (fault in ("another span", "the whole", "lacks"))


@pytest.mark.parametrize("what", ["empty blocks", "a drip", "the whole file"])
def test_an_answer_that_does_not_end_is_cut(
    what: str, near: BadGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trustless, "_RUN_TIME", 0.5)
    cut = threading.Event()

    def endless(visit: Visit) -> None:
        if not is_run(visit.path):
            speaks(visit)
            return
        visit.close_connection = True
        visit.head(200, {"Content-Type": CAR})
        out = io.BytesIO()
        if what == "the whole file":
            store = visit.gateway.store
            write_car(out, [visit.cid], [Block(cid_of(data), data) for data in store.blocks.values()])
        else:
            write_car(out, [visit.cid], [])
        piece = out.getvalue()
        empty = io.BytesIO()
        append_car(empty, [Block(cid_of(b""), b"")])
        end = time.monotonic() + 10
        try:
            while time.monotonic() < end:
                visit.wfile.write(piece)
                piece = empty.getvalue() * 100 if what != "a drip" else b"\x80" + bytes(9)
                time.sleep(0.001 if what != "a drip" else 0.05)
        except OSError:
            cut.set()

    near.answer = endless
    fetching = Fetching(tmp_path, near)
    fetching.run()
    assert cut.wait(5)
    assert not fetching.chain.failures


def test_a_leaf_that_claims_more_than_a_block_holds_is_not_asked_for_in_a_run() -> None:
    asked: list[Run] = []
    leaves = [CID.raw(bytes([number]) * 32) for number in range(4)]
    node = encode_node([encode_link(leaf, b"", 1 << 40) for leaf in leaves], file_message([1 << 40] * 4))
    root = CID.dag_pb(hashlib.sha256(node).digest())

    def runs(run: Run) -> Iterator[tuple[CID, bytes]]:
        asked.append(run)
        return iter(())

    ahead = Ahead(lambda cid: node if cid == root else b"", 0, runs)
    ahead.fetch(root)
    ahead.close()
    assert not asked


def test_a_lie_is_the_last_thing_that_a_gateway_is_asked_for(near: BadGateway, tmp_path: Path) -> None:
    def lies(visit: Visit) -> None:
        (flips_one_bit if is_run(visit.path) else speaks)(visit)

    def slower(visit: Visit) -> None:
        time.sleep(0.02)
        speaks(visit)

    near.answer = lies
    with BadGateway(slower) as other:
        fetching = Fetching(tmp_path, near, other)
        fetching.run()
        asked = len(near.paths)
        assert fetching.source.block(fetching.dag.cid)
        assert len(near.paths) == asked


def test_one_that_falls_silent_holds_up_nobody_for_long(
    near: BadGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "_RUN_WAIT", 0.2)

    def silent(visit: Visit) -> None:
        if is_run(visit.path):
            visit.wait_until_left()
        else:
            speaks(visit)

    near.answer = silent
    Fetching(tmp_path, near).run()
    assert 1 <= sum(map(is_run, near.paths)) <= 3


def test_what_lies_on_this_machine_is_not_asked_for_with_its_neighbours(near: BadGateway, tmp_path: Path) -> None:
    # Every fourth leaf is here, as of a fine-tune whose base is.
    held = {}
    for number in range(0, LEAVES, 4):
        piece = CONTENT[number * CHUNK : (number + 1) * CHUNK]
        path = tmp_path / f"{number}.bin"
        path.write_bytes(piece)
        store = MemoryStore()
        held[store.add_file(piece, Profile(chunk=CHUNK, width=40)).cid] = path
    files = [LocalFile(path, cid, CHUNK, tuple) for cid, path in held.items()]
    here = EmbeddedSource(lambda: files)
    fetching = Fetching(tmp_path, near, here=(here,))
    fetching.run()
    assert fetching.chain.served["embedded"] == len(held)
    asked = {CID.parse(urlsplit(path).path.rpartition("/")[2]) for path in near.paths if not is_run(path)}
    assert not asked & set(held)
    assert not any(map(is_run, near.paths)), "each of them would have brought what is here"


def test_a_plug_in_before_it_is_asked_first(near: BadGateway, tmp_path: Path) -> None:
    class Plugin:
        name, local = "plug-in", False

        def __init__(self) -> None:
            self.asked = 0

        def block(self, cid: CID) -> bytes:
            self.asked += 1
            return near.store.blocks[cid.multihash]

    plugin = Plugin()
    Fetching(tmp_path, near, here=(plugin,)).run()
    assert plugin.asked >= LEAVES
    assert not near.paths
