from __future__ import annotations

import hashlib

import pytest

from pinformers._errors import BadBlock
from pinformers.ipfs import CID, DAG_PB, SHA2_256, Node, parse_node
from pinformers.ipfs.dagpb import encode_leaf, encode_link, encode_node, file_message, shard_message

LEAF = CID.raw(hashlib.sha256(b"x").digest())
LINK = encode_link(LEAF, b"", 1)
DIRECTORY = b"\x0a\x02\x08\x01"


def parse(block: bytes) -> Node:
    return parse_node(CID.dag_pb(hashlib.sha256(block).digest()), block)


def test_file_node() -> None:
    node = parse(encode_node([LINK, LINK], file_message([1, 300])))
    assert (node.kind, node.file_size, node.block_sizes) == ("file", 301, (1, 300))
    assert [link.cid for link in node.links] == [LEAF, LEAF]


def test_leaves() -> None:
    assert parse_node(LEAF, b"x") == Node("raw", data=b"x", file_size=1)
    assert parse(encode_leaf(b"abc")) == Node("file", data=b"abc", file_size=3)
    assert parse(encode_leaf(b"")) == Node("file")


def test_older_and_other_spellings() -> None:
    # UnixFS type Raw; packed block sizes; data before links; mode and mtime; no file size; a link without a size.
    assert parse(b"\x0a\x07\x08\x00\x12\x01x\x18\x01") == Node("file", data=b"x", file_size=1)
    packed = parse(encode_node([], b"\x08\x02\x18\xad\x02\x22\x03\x01\xac\x02") + LINK + LINK)
    assert packed.block_sizes == (1, 300)
    assert parse(encode_node([], b"\x08\x01\x38\xed\x03\x42\x07\x08\x01\x15\0\0\0\0")).kind == "directory"
    assert parse(encode_node([LINK], b"\x08\x02\x20\x05")).file_size == 5
    name = LEAF.to_bytes()
    assert parse(b"\x12\x26\x0a\x24" + name + DIRECTORY).links[0].dag_size == 0


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "no UnixFS message"),
        (b"\x0a\x00", "type None"),
        (b"\x0a\x02\x08\x04", "type 4 is neither"),
        (b"\x0a\x02\x08\x03", "type 3 is neither"),
        (b"\x0a\x05\x08\x01", "cut short"),
        (b"\x0a\x02\x08", "cut short"),
        (DIRECTORY + DIRECTORY, "field 1"),
        (b"\x08\x01" + DIRECTORY, "field 1"),
        (b"\x1a\x00" + DIRECTORY, "field 3"),
        (b"\x0b" + DIRECTORY, "wire type 3"),
        (b"\x0a\x05\x0d\0\0\0\0", "wrong type"),
        (b"\x0a\x04\x08\x01\x10\x00", "wrong type"),
        (b"\x12\x00" + DIRECTORY, "names no CID"),
        (b"\x12\x04\x0a\x02\x01\x55" + DIRECTORY, "a link is broken"),
        (b"\x12\x02\x18\x01" + DIRECTORY, "names no CID"),
        (b"\x12\x05\x18\x01\x12\x01a" + DIRECTORY, "out of order"),
        (b"\x12\x02\x10\x01" + DIRECTORY, "does not belong into a link"),
        (b"\x12\x03\x12\x01\xff" + DIRECTORY, "decode"),
        (encode_node([LINK], file_message([1, 2])), "1 links and 2 block sizes"),
        (encode_node([LINK], b"\x08\x02\x18\x05\x20\x04"), "declares 5 bytes and its parts add up to 4"),
        (encode_node([], shard_message(0, 255)), "fanout 255"),
        (encode_node([], shard_message(0, 4)), "fanout 4"),
        (encode_node([], shard_message(0, 2048)), "fanout 2048"),
        (encode_node([], b"\x08\x05\x28\x11\x30\x80\x02"), "murmur3"),
    ],
)
def test_what_is_refused(block: bytes, reason: str) -> None:
    with pytest.raises(BadBlock, match=reason):
        parse(block)


def test_another_codec() -> None:
    with pytest.raises(BadBlock, match="codec 0x71"):
        parse_node(CID(1, 0x71, SHA2_256, bytes(32)), b"\xa0")
    assert parse_node(CID(0, DAG_PB, SHA2_256, bytes(32)), DIRECTORY).kind == "directory"
