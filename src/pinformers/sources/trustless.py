"""Ask one trustless gateway for one block; what it sends is verified here."""

from __future__ import annotations

import email.utils
import io
import time
from collections.abc import Iterator, Mapping
from typing import BinaryIO, cast

from urllib3 import BaseHTTPResponse, HTTPResponse

from pinformers._errors import BadCar, BadCID, BlockMismatch, Refusal
from pinformers.ipfs.buffers import Buffers
from pinformers.ipfs.car import read_car
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.dag import Run, read_run
from pinformers.ipfs.dagpb import MAX_BLOCK
from pinformers.sources.addresses import Address
from pinformers.sources.http import Connections, Exchange, discard, mapped
from pinformers.sources.patience import Body, end_at

RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
# A CAR of one block: its header, the block's length and CID.
_CAR_AROUND = 1 << 16
# The blocks that may stand before it.
_CAR_OTHERS = 64

# The seconds that a run of blocks may take, twenty times those in which a rapid server sends it; and for how long none
# is asked for after one that failed.
_RUN_TIME, _RUN_REST = 2.0, 30.0

_ABSENT = (404, 410, 451)
_UNSPOKEN = (400, 406, 415, 501)
_BUSY = (429, 503, 504)
_LOCKED = (401, 403, 407)


class Gateway:
    """One gateway. Threads share it; whatever it does instead of answering is raised as a Refusal."""

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self._base = address.root
        self._secret = address.headers
        self._raw, self._ranges, self._alone_until = True, True, 0.0

    def block(self, cid: CID, connections: Connections, exchange: Exchange) -> bytes:
        """Return the verified block."""
        if self._raw:
            try:
                return self._raw_block(cid, connections, exchange)
            except Refusal as exc:
                if exc.kind != "unspoken":
                    raise
        block = self._car_block(cid, connections, exchange)
        # Only now: a gateway that refuses both may have refused this block alone.
        self._raw = False
        return block

    @property
    def runs(self) -> bool:
        """Whether it may be asked for runs."""
        return time.monotonic() >= self._alone_until

    def run(self, run: Run, connections: Connections, exchange: Exchange) -> Iterator[tuple[CID, bytes]]:
        """Yield the verified blocks of a run as they come in one answer.

        It is not asked for another one soon after a failure, or where a block was missing.
        """
        wanted = {leaf.cid for leaf in run.leaves}
        try:
            for cid, block in self._run(run, connections, exchange):
                if cid in wanted:
                    wanted.remove(cid)
                    yield cid, block
                elif not wanted:
                    # It goes on with what nobody asked for.
                    break
        except Refusal:
            self._alone_until = time.monotonic() + _RUN_REST
            raise
        if wanted:
            self._alone_until = time.monotonic() + _RUN_REST

    def _run(self, run: Run, connections: Connections, exchange: Exchange) -> Iterator[tuple[CID, bytes]]:
        answer = self._range(run, connections, exchange) if self._ranges else None
        if answer is not None:
            yield from self._read_leaves(run, answer)
            return
        path = f"{run.node}?format=car&dag-scope=entity&entity-bytes={run.first}:{run.last}"
        with self._open(path, {"Accept": CAR_TYPE}, connections, exchange) as answer:
            end_at(answer, time.monotonic() + _RUN_TIME)
            for block in self._read_car(answer, Body(answer), run.buffers):
                yield block.cid, block.data

    def _range(self, run: Run, connections: Connections, exchange: Exchange) -> BaseHTTPResponse | None:
        """Ask for the bytes that the file has there; None, from now on, where it sends nothing but blocks and CARs.

        The leaves prove them, and Kubo sends them in less than half the time of a CAR.
        """
        span = f"bytes {run.first}-{run.last}/"
        asked = {"Accept": "*/*", "Range": f"bytes={run.first}-{run.last}"}
        try:
            answer = self._open(str(run.node), asked, connections, exchange, 206)
            if answer.headers.get("Content-Range", "").startswith(span):
                return answer
            discard(answer)
        except Refusal as exc:
            if exc.kind not in ("unspoken", "absent", "failed"):
                raise
        self._ranges = False
        return None

    def _read_leaves(self, run: Run, answer: BaseHTTPResponse) -> Iterator[tuple[CID, bytes]]:
        with answer, mapped(self.url):
            end_at(answer, time.monotonic() + _RUN_TIME)
            try:
                yield from read_run(run, io.BufferedReader(Body(answer), 1 << 16))
            except (BadCID, BlockMismatch) as exc:
                # It has promised no block, so this is no lie about one.
                self._ranges = False
                raise Refusal(self.url, f"the range of bytes that it sent is no such block ({exc})") from exc

    def _raw_block(self, cid: CID, connections: Connections, exchange: Exchange) -> bytes:
        answer = self._open(f"{cid}?format=raw", {"Accept": RAW_TYPE}, connections, exchange)
        with answer, mapped(self.url):
            self._check_length(answer, MAX_BLOCK)
            block = self._read_all(answer)
        try:
            cid.verify(block)
            return block
        except BlockMismatch as exc:
            raise self._wrong(answer, cid) from exc
        except BadCID as exc:
            raise Refusal(self.url, exc.reason, "absent") from exc

    def _car_block(self, cid: CID, connections: Connections, exchange: Exchange) -> bytes:
        answer = self._open(f"{cid}?format=car&dag-scope=block", {"Accept": CAR_TYPE}, connections, exchange)
        with answer:
            self._check_length(answer, MAX_BLOCK + _CAR_AROUND)
            size, others = 0, 0
            # urllib3 otherwise closes itself at the end, where the buffer reads once more.
            cast(HTTPResponse, answer).auto_close = False
            for block in self._read_car(answer, cast(io.RawIOBase, answer)):
                if block.cid.multihash == cid.multihash:
                    discard(answer)
                    return block.data
                # Also of empty ones there are as many as one likes to send.
                size, others = size + len(block.data), others + 1
                if size > MAX_BLOCK or others > _CAR_OTHERS:
                    raise self._too_long()
        raise Refusal(self.url, f"its CAR lacks the block {cid}", "absent")

    def _read_car(self, answer: BaseHTTPResponse, raw: io.RawIOBase, buffers: Buffers | None = None) -> Iterator[Block]:
        """Yield the verified blocks of a CAR while they come."""
        body = cast(BinaryIO, io.BufferedReader(raw, 1 << 16))
        with mapped(self.url):
            try:
                _, blocks = read_car(body, buffers)
            except BadCar as exc:
                said = f"{_not_a(answer, CAR_TYPE)}its CAR cannot be read: {exc.reason}"
                raise Refusal(self.url, said) from exc
            try:
                yield from blocks
            except BlockMismatch as exc:
                raise Refusal(self.url, f"its CAR holds other bytes than it says for {exc.cid}", "lie") from exc
            except BadCar as exc:
                # Kubo has said 200 when it meets a block that it lacks, and then writes "[Gateway Error" into the CAR.
                raise Refusal(self.url, "its CAR breaks off, as for a block that it does not have", "absent") from exc

    def _read_all(self, answer: BaseHTTPResponse) -> bytes:
        block = answer.read(MAX_BLOCK + 1)
        # A second read, even of a whole block: only at the end urllib3 says that one was cut short.
        rest = answer.read(1) if len(block) <= MAX_BLOCK else b""
        while rest and len(block) <= MAX_BLOCK:
            block += rest
            rest = answer.read(MAX_BLOCK + 1 - len(block))
        if len(block) > MAX_BLOCK:
            raise self._too_long()
        return block

    def _open(
        self, path: str, asked: Mapping[str, str], connections: Connections, exchange: Exchange, status: int = 200
    ) -> BaseHTTPResponse:
        answer = connections.get(f"{self._base}/ipfs/{path}", asked, exchange, self._secret)
        encoding = answer.headers.get("Content-Encoding", "identity")
        if answer.status == status and encoding == "identity":
            exchange.answered = time.monotonic()
            return answer
        discard(answer)
        if answer.status == status:
            raise Refusal(self.url, f"it sends {encoding!r} although it was asked not to encode")
        raise self._status(answer)

    def _status(self, answer: BaseHTTPResponse) -> Refusal:
        status, wait = answer.status, retry_after(answer)
        said = f"it answers {status}"
        if status in _ABSENT:
            return Refusal(self.url, f"it does not have the block ({status})", "absent")
        if status in _UNSPOKEN:
            return Refusal(self.url, said, "unspoken")
        if status in _LOCKED:
            return Refusal(self.url, f"{said}: it wants a user and a password, https://user:password@host")
        if status in _BUSY or (status >= 500 and wait is not None):
            asked = f" and asks to wait {wait:.0f} s" if wait is not None else ""
            return Refusal(self.url, f"{said}{asked}", "busy", wait)
        return Refusal(self.url, said)

    def _check_length(self, answer: BaseHTTPResponse, most: int) -> None:
        if (answer.length_remaining or 0) > most:
            raise self._too_long()

    def _too_long(self) -> Refusal:
        return Refusal(self.url, f"it sends more than {MAX_BLOCK} bytes, and no block has so many", "failed")

    def _wrong(self, answer: BaseHTTPResponse, cid: CID) -> Refusal:
        page = _not_a(answer, RAW_TYPE)
        if page:
            # An error page, or the login page of a network: no lie about this block.
            return Refusal(self.url, f"{page}that is not the block {cid}")
        if answer.headers.get("Content-Length") is None and not answer.chunked:
            # Nothing says where the answer was to end; http.client takes even a header cut short for a whole one.
            return Refusal(self.url, f"it sent other bytes than the block {cid}, or not all of them", "broken")
        return Refusal(self.url, f"it sent other bytes than the block {cid}", "lie")


def retry_after(answer: BaseHTTPResponse) -> float | None:
    """Return the seconds after which a server wants to be asked again, None where it does not say so."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until, said = _date(text), _date(answer.headers.get("Date", ""))
    if until is None:
        return None
    # By the server's own clock where it shows it.
    return max(0.0, until - (time.time() if said is None else said))


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _not_a(answer: BaseHTTPResponse, wanted: str) -> str:
    """Say what was sent where it is declared as something else than ``wanted``; nothing where it is not."""
    kind = answer.headers.get("Content-Type", wanted).partition(";")[0].strip()
    return "" if kind in ("", wanted, "application/octet-stream") else f"it sent {kind[:64]!r}, and "
