"""Where a safetensors file is cut into leaves so that equal tensors are equal blocks, wherever in a file they lie."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Literal

from pinformers.ipfs.layout import UNIXFS_V1_2025

Chunking = Literal["fixed", "tensors"]
"""How new files are cut: every MiB as Kubo does, or that and where tensors begin."""

# The limit of the format's own library.
MAX_HEADER = 100_000_000
# Smaller tensors that follow each other share a leaf. A leaf costs a question to a source and 50 bytes in the tree; the
# biases and norms have some kilobytes each, and together are 0.14 % of MiniLM and 0.003 % of an 8 B Llama: it costs
# little to fetch all of them again because some changed, or went elsewhere. MiniLM has 147 leaves so, without runs 173;
# with tensors of up to 64 KiB in them it has 147 too.
SMALL = 16 << 10
RUN = 64 << 10


def leaf_sizes(pieces: Iterable[bytes], size: int) -> Iterator[int] | None:
    """Return the sizes of the leaves of a file of ``size`` bytes that begins with ``pieces``.

    None where they are those of any file: it is no safetensors file, or one chunk holds it.
    """
    if size <= UNIXFS_V1_2025.chunk:
        return None
    header = _read_header(pieces, size)
    tensors = _tensor_sizes(header, size - 8 - len(header)) if header is not None else None
    return _cut(8 + len(header), tensors) if header is not None and tensors is not None else None


def _read_header(pieces: Iterable[bytes], size: int) -> bytes | None:
    head = bytearray()
    for piece in pieces:
        head += piece
        # Eight bytes say how long it is, and the ninth opens it.
        if len(head) < 9:
            continue
        end = 8 + int.from_bytes(head[:8], "little")
        if end > min(size, 8 + MAX_HEADER) or head[8:9] != b"{":
            return None
        if len(head) >= end:
            return bytes(head[8:end])
    return None


def _tensor_sizes(header: bytes, room: int) -> list[int] | None:
    """Return the sizes of the tensors in the order of their bytes; None unless they fill the ``room`` side by side."""
    try:
        said = json.loads(header.decode())
        spans = sorted(tuple(about["data_offsets"]) for name, about in said.items() if name != "__metadata__")
        sizes, at = list[int](), 0
        for begin, end in spans:
            if (type(begin), type(end)) != (int, int) or begin != at or end < begin:
                return None
            sizes.append(end - begin)
            at = end
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return sizes if at == room else None


def _cut(header: int, tensors: Iterable[int]) -> Iterator[int]:
    yield from _chunks(header)
    run = 0
    for size in tensors:
        if run and (size >= SMALL or run + size > RUN):
            yield run
            run = 0
        if size < SMALL:
            run += size
        else:
            yield from _chunks(size)
    if run:
        yield run


def _chunks(size: int) -> Iterator[int]:
    chunk = UNIXFS_V1_2025.chunk
    for start in range(0, size, chunk):
        yield min(chunk, size - start)
