from __future__ import annotations

import pytest

from dag_rooms import cbor, named
from pinformers._errors import BadBlock
from pinformers.ipfs import CID, dagcbor
from pinformers.ipfs.traversal import DAG_CBOR

A, B = CID.raw(bytes(32)), CID.dag_pb(b"\1" * 32)
VALUE = {"a": [1, -70000, {"deep": A}, None, True, 1.5], "text": "x" * 300, "b": B, "bytes": b"\xd8\x2a" * 20, "é": 7}
BLOCK = cbor(VALUE)
NAME = named(DAG_CBOR, BLOCK)


def child(*segments: str) -> int | None:
    at: int | None = 0
    for segment in segments:
        at = dagcbor.step(NAME, BLOCK, at, segment) if at is not None else None
    return at


def test_links_are_found_at_any_depth_and_nowhere_else() -> None:
    assert list(dagcbor.links(NAME, BLOCK)) == [A, B]
    deep = cbor(A)
    for _ in range(100_000):
        deep = b"\x81" + deep
    assert list(dagcbor.links(named(DAG_CBOR, deep), deep)) == [A]


def test_paths_go_through_maps_and_lists() -> None:
    deep, link, number = child("a", "2", "deep"), child("b"), child("é")
    assert deep is not None and dagcbor.link_at(NAME, BLOCK, deep) == A
    assert link is not None and dagcbor.link_at(NAME, BLOCK, link) == B
    assert number is not None and BLOCK[number] == 7 and dagcbor.link_at(NAME, BLOCK, number) is None


@pytest.mark.parametrize("path", ["nothing", "a/6", "a/-1", "a/02", "a/x", "a/" + "9" * 5000, "text/0", "b/0", "a/0/0"])
def test_paths_that_lead_nowhere(path: str) -> None:
    assert child(*path.split("/")) is None


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\x62a", "cut short"),
        (b"\x9f\xff", "a length that dag-cbor does not have"),
        (b"\x1b\0", "cut short"),
        (b"\xd8\x2a", "cut short"),
        (b"\xd8\x2a\x41\1", "tag 42 holds no CID"),
        (b"\xd8\x2a\x01", "tag 42 holds no CID"),
        (b"\xd8\x2a\x43\0\1\1", "a link is broken"),
    ],
)
def test_links_in_malformed_blocks_are_refused(block: bytes, reason: str) -> None:
    with pytest.raises(BadBlock, match=reason):
        list(dagcbor.links(named(DAG_CBOR, block), block))


@pytest.mark.parametrize("block", [b"", b"\xa1", b"\xa1\x61a", b"\xa2\x61b\x82\x01", b"\xbb" + b"\xff" * 8])
def test_paths_in_malformed_blocks_are_refused(block: bytes) -> None:
    cid = named(DAG_CBOR, block)
    with pytest.raises(BadBlock, match="cut short"):
        at = dagcbor.step(cid, block, 0, "a")
        dagcbor.link_at(cid, block, at or 0)
