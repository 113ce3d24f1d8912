from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from ipfs_data import MemoryStore
from pinformers.ipfs import CHUNK, FileDag, FileHasher, Leaf, hash_file, known_leaves, read_file
from pinformers.ipfs.tensors import RUN, SMALL, leaf_sizes
from tensor_files import KIB, MIB, layers, safetensors_file

# What the layout below must never stop giving, since others may hold it by this CID. Kubo serves it: tests/kubo.
GOLDEN = "bafybeigkdz5grlzm7tzamsoixcntl37j2txawgzv4qoltxpw35tlui5goy"


def golden_file() -> bytes:
    """Tensors of every kind: empty, small in a row, big, of a chunk, of a chunk and a bit."""
    sizes = {"a": 5, "b": 0, "c": 16 * KIB - 1, "d": 16 * KIB, "e": MIB, "f": MIB + 1, "g": 9 * KIB, "h": 700 * KIB}
    noise = random.Random(13)
    return safetensors_file({name: noise.randbytes(size) for name, size in sizes.items()}, format="pt")


def cut(content: bytes) -> list[int] | None:
    sizes = leaf_sizes(iter([content]), len(content))
    return None if sizes is None else list(sizes)


def header_of(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def blocks_of(dag: FileDag) -> list[Leaf]:
    return list(known_leaves(dag.cid, dag.size, {node.cid: node.data for node in dag.nodes}))


def hashed(content: bytes, folder: Path) -> FileDag:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    return hash_file(path, git=True, chunking="tensors")


def test_a_leaf_begins_where_a_tensor_does_and_the_small_ones_share() -> None:
    content = golden_file()
    small = 5 + 16 * KIB - 1
    assert cut(content) == [header_of(content), small, 16 * KIB, MIB, MIB, 1, 9 * KIB, 700 * KIB]


def test_a_run_of_small_tensors_has_an_end() -> None:
    content = safetensors_file({str(name): bytes(10 * KIB) for name in range(200)})
    head, *runs = cut(content) or ()
    assert head == header_of(content)
    assert runs == [60 * KIB] * 33 + [20 * KIB] and max(runs) <= RUN


def test_a_header_of_more_than_a_chunk_is_cut_too() -> None:
    content = safetensors_file({"a": b"x" * SMALL}, note="n" * (2 * MIB))
    assert cut(content) == [MIB, MIB, header_of(content) - 2 * MIB, SMALL]


def test_golden(tmp_path: Path) -> None:
    dag = hashed(golden_file(), tmp_path)
    assert str(dag.cid) == GOLDEN
    assert [leaf.size for leaf in blocks_of(dag)] == cut(golden_file())


def test_it_is_a_plain_file_of_the_same_bytes(tmp_path: Path) -> None:
    content, store = safetensors_file(layers(20)), MemoryStore()
    sizes = leaf_sizes([content], len(content))
    hasher = FileHasher(len(content), store.put, git=True, sizes=sizes)
    hasher.update(content)
    dag = hasher.finish()
    for node in dag.nodes:
        store.put(node.data)
    assert dag == hashed(content, tmp_path)
    assert b"".join(read_file(dag.cid, store)) == content
    fixed = hash_file(tmp_path / "model.safetensors", git=True)
    assert (dag.sha256, dag.git_blob, dag.size) == (fixed.sha256, fixed.git_blob, fixed.size)
    assert dag.dag_size == dag.size + sum(len(node.data) for node in dag.nodes)


def test_more_leaves_than_one_node_links(tmp_path: Path) -> None:
    tensors = {str(number): number.to_bytes(4, "little") * (SMALL // 4) for number in range(1100)}
    dag = hashed(safetensors_file(tensors), tmp_path)
    assert len(blocks_of(dag)) == 1101 and len(dag.nodes) == 3


@pytest.mark.parametrize("pieces", [[1] * 40, [9, 100_000], [8, 1], [300]])
def test_the_head_may_come_in_pieces(pieces: list[int]) -> None:
    content = golden_file()
    stream = io.BytesIO(content)
    given = [stream.read(size) for size in pieces] + [stream.read()]
    assert list(leaf_sizes(given, len(content)) or ()) == cut(content)


def with_header(header: bytes, room: int = 2 * MIB) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(room)


def offsets(*spans: object, room: int = 2 * MIB) -> bytes:
    said = {str(number): {"dtype": "U8", "data_offsets": span} for number, span in enumerate(spans)}
    return with_header(json.dumps(said).encode(), room)


WHOLE = 2 * MIB
OTHERS: Mapping[str, bytes] = {
    "no header": random.Random(1).randbytes(2 * MIB),
    "zeros": bytes(2 * MIB),
    "a zip, as torch writes": b"PK\x03\x04" + bytes(2 * MIB),
    "one chunk": safetensors_file({"a": bytes(MIB // 2), "b": bytes(MIB // 4)}),
    "a header beyond the file": (3 * MIB).to_bytes(8, "little") + b"{" + bytes(2 * MIB),
    "a header beyond the format's limit": (1 << 62).to_bytes(8, "little") + b"{" + bytes(2 * MIB),
    "no JSON": with_header(b"{" + bytes(100)),
    "a list": with_header(b"[]"),
    "not UTF-8": with_header(b'{"\xff": 1}'),
    "nested without end": with_header(b'{"a":' + b"[" * 200_000),
    "a number of a million digits": with_header(b'{"a":' + b"1" * 1_000_000 + b"}"),
    "no offsets": with_header(b'{"a": {"dtype": "U8"}}'),
    "no tensor": with_header(b'{"a": 5, "b": "text", "c": null}'),
    "bytes that no tensor has": offsets([0, WHOLE - 1]),
    "a tensor beyond the file": offsets([0, WHOLE + 1]),
    "a hole": offsets([0, 10], [11, WHOLE]),
    "an overlap": offsets([0, 10], [9, WHOLE]),
    "backwards": offsets([0, WHOLE], [WHOLE, 10]),
    "below zero": offsets([-1, 10], [10, WHOLE]),
    "three offsets": offsets([0, 10, WHOLE]),
    "one offset": offsets([0]),
    "a text": offsets([0, "x"]),
    "true": offsets([False, True], [1, WHOLE]),
    "a fraction": offsets([0.0, 10.0], [10, WHOLE]),
    "not a number": with_header(b'{"a": {"data_offsets": [NaN, Infinity]}}'),
    "an object": offsets({"0": 1, "1": 2}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_safetensors_file_is_cut_as_any_file(name: str, tmp_path: Path) -> None:
    content = OTHERS[name]
    assert cut(content) is None
    assert hashed(content, tmp_path) == hash_file(tmp_path / "model.safetensors", git=True)


def test_a_file_that_ends_in_its_header_is_cut_as_any_file() -> None:
    assert leaf_sizes([golden_file()[:50]], len(golden_file())) is None


def test_tensors_of_no_bytes_and_a_file_that_is_all_header() -> None:
    content = with_header(b'{"__metadata__":{"n":"' + b"x" * MIB + b'"},"a":{"data_offsets":[0,0]}}', 0)
    assert cut(content) == [CHUNK, len(content) - CHUNK]
