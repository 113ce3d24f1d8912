"""Laws of the leaves that begin where tensors do, for any tensors in any order."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from ipfs_data import MemoryStore
from pinformers.ipfs import CHUNK, FileHasher, Leaf, known_leaves, read_file
from pinformers.ipfs.tensors import RUN, SMALL, leaf_sizes
from tensor_files import safetensors_file

EDGES = [0, 1, SMALL - 1, SMALL, RUN, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK]
sizes = st.sampled_from(EDGES) | st.integers(0, SMALL) | st.integers(0, 4 * CHUNK)


def headed(tensors: Mapping[str, int], note: str = "") -> tuple[bytes, int]:
    """The header of a file that is too big to be made, and its size."""
    said: dict[str, object] = {"__metadata__": {"note": note}}
    at = 0
    for name, size in tensors.items():
        said[name] = {"data_offsets": [at, at + size]}
        at += size
    header = json.dumps(said).encode()
    return len(header).to_bytes(8, "little") + header, 8 + len(header) + at


def tensor_leaves(tensors: Mapping[str, int], note: str) -> dict[str, list[int]] | None:
    """Of each tensor that is not small, the sizes of its leaves, which hold nothing else."""
    head, size = headed(tensors, note)
    found = leaf_sizes([head], size)
    if found is None:
        return None
    ends = list(itertools.accumulate(found))
    assert ends[-1] == size
    cuts = [0, *ends]
    assert all(0 < end - start <= CHUNK for start, end in itertools.pairwise(cuts))
    starts, at, leaves = set(cuts), len(head), dict[str, list[int]]()
    assert at in starts
    for name, length in tensors.items():
        if length >= SMALL:
            assert {at, at + length} <= starts
            inside = [cut for cut in cuts if at <= cut <= at + length]
            leaves[name] = [end - start for start, end in itertools.pairwise(inside)]
        at += length
    return leaves


@given(st.lists(sizes, max_size=30), st.randoms(), st.text(max_size=300))
def test_a_tensor_is_cut_alike_wherever_it_lies(lengths: list[int], chance: random.Random, note: str) -> None:
    tensors = {str(number): length for number, length in enumerate(lengths)}
    moved = dict(chance.sample(list(tensors.items()), len(tensors)))
    one, other = tensor_leaves(tensors, ""), tensor_leaves(moved, note)
    # A header that is longer may make the file more than a chunk.
    assert one is None or other is None or one == other


@given(st.lists(st.integers(1, SMALL - 1), min_size=1, max_size=300))
def test_small_tensors_share_and_none_is_torn(lengths: list[int]) -> None:
    head, size = headed({**{str(number): length for number, length in enumerate(lengths)}, "big": 2 * CHUNK})
    _, *runs, _, _ = leaf_sizes([head], size) or ()
    ends = set(itertools.accumulate(lengths))
    assert set(itertools.accumulate(runs)) <= ends and sum(runs) == sum(lengths)
    assert max(runs) <= RUN and all(one + other > RUN - SMALL for one, other in itertools.pairwise(runs))


@settings(max_examples=25, deadline=None)
@given(st.lists(sizes, min_size=1, max_size=6), st.randoms(), st.text(max_size=50))
def test_equal_tensors_are_equal_blocks_of_a_plain_file(lengths: list[int], chance: random.Random, note: str) -> None:
    tensors = {str(number): random.Random(number).randbytes(length) for number, length in enumerate(lengths)}
    moved = dict(chance.sample(list(tensors.items()), len(tensors)))
    one, other = stored(safetensors_file(tensors)), stored(safetensors_file(moved, note=note))
    if one is not None and other is not None:
        big = {name for name, content in tensors.items() if len(content) >= SMALL}
        assert all(of(one, tensors, name) == of(other, moved, name) for name in big)


Stored = tuple[int, list[Leaf]]


def stored(content: bytes) -> Stored | None:
    """Cut a file, read it back out of its blocks, and return where its tensors begin, and its leaves."""
    found = leaf_sizes([content], len(content))
    if found is None:
        return None
    store = MemoryStore()
    hasher = FileHasher(len(content), store.put, sizes=found)
    hasher.update(content)
    dag = hasher.finish()
    for node in dag.nodes:
        store.put(node.data)
    assert b"".join(read_file(dag.cid, store)) == content
    leaves = list(known_leaves(dag.cid, dag.size, {node.cid: node.data for node in dag.nodes}))
    return 8 + int.from_bytes(content[:8], "little"), leaves


def of(found: Stored, tensors: Mapping[str, bytes], name: str) -> list[str]:
    names = list(tensors)
    start = found[0] + sum(len(tensors[before]) for before in names[: names.index(name)])
    end = start + len(tensors[name])
    return [str(leaf.cid) for leaf in found[1] if start <= leaf.offset and leaf.offset + leaf.size <= end]


@given(st.binary(), st.integers(0, 1 << 30))
def test_any_bytes_are_cut_or_left_alone(content: bytes, more: int) -> None:
    found = leaf_sizes([content], len(content) + more)
    assert found is None or sum(found) == len(content) + more


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=30), st.data())
def test_leaves_of_any_sizes_do_not_depend_on_how_bytes_arrive(parts: list[bytes], data: st.DataObject) -> None:
    content, blocks = b"".join(parts), list[bytes]()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=8)))
    hasher = FileHasher(len(content), lambda block: blocks.append(bytes(block)), git=True, sizes=map(len, parts))
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        hasher.update(bytearray(content[start:end]))
    dag = hasher.finish()
    assert blocks == (parts or [b""]) and dag.sha256 == hashlib.sha256(content).hexdigest()
