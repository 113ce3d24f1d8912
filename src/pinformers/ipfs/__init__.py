"""Content addressing: CIDs, UnixFS DAGs and CAR files, and the one place that says whether bytes are true."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinformers.ipfs.car import append_car, read_car, write_car
    from pinformers.ipfs.cid import CID, DAG_PB, IDENTITY, RAW, SHA2_256, Block
    from pinformers.ipfs.dag import (
        Fetch,
        Leaf,
        known_leaves,
        leaves,
        list_directory,
        read_block,
        read_file,
        read_leaf,
        read_parts,
        walk_directory,
    )
    from pinformers.ipfs.dagpb import MAX_BLOCK, Link, Node, parse_node
    from pinformers.ipfs.layout import UNIXFS_V1_2025, V0_2015, Profile
    from pinformers.ipfs.unixfs import (
        CHUNK,
        WIDTH,
        Directory,
        Entry,
        FileDag,
        FileHasher,
        build_directory,
        hash_file,
    )

__all__ = [
    "CHUNK",
    "CID",
    "DAG_PB",
    "IDENTITY",
    "MAX_BLOCK",
    "RAW",
    "SHA2_256",
    "UNIXFS_V1_2025",
    "V0_2015",
    "WIDTH",
    "Block",
    "Directory",
    "Entry",
    "Fetch",
    "FileDag",
    "FileHasher",
    "Leaf",
    "Link",
    "Node",
    "Profile",
    "append_car",
    "build_directory",
    "hash_file",
    "known_leaves",
    "leaves",
    "list_directory",
    "parse_node",
    "read_block",
    "read_car",
    "read_file",
    "read_leaf",
    "read_parts",
    "walk_directory",
    "write_car",
]
_ROOMS = ("car", "cid", "dag", "dagpb", "layout", "unixfs")


def __getattr__(name: str) -> Any:
    """Import what is asked for alone (PEP 562): a load out of the hub cache builds no DAG and reads no CAR."""
    if name in __all__:
        for room in _ROOMS:
            module = importlib.import_module(f"{__name__}.{room}")
            if name in vars(module):
                globals()[name] = vars(module)[name]
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
