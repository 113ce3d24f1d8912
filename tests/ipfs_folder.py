"""Folders as others add them to IPFS: any profile, every block kept; and a source of them for other processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pinformers.ipfs import CID, UNIXFS_V1_2025, FileHasher, Profile
from pinformers.ipfs.dagpb import DIRECTORY_MESSAGE, encode_link, encode_node

Blocks = dict[CID, bytes]

# Installed as a plug-in by a folder on PYTHONPATH: it holds the blocks as files and writes down what it was asked.
_SHELF = """
from pathlib import Path
from pinformers._errors import BlockNotFound

HERE = Path(__file__).parent

class Shelf:
    name, local = "shelf", False

    def block(self, cid):
        with open(HERE / "asked.log", "a") as log:
            log.write(f"{cid}\\n")
        try:
            return (HERE / "blocks" / cid.multihash.hex()).read_bytes()
        except FileNotFoundError:
            raise BlockNotFound(self.name, "it was never put here") from None
"""


def add_file(content: bytes, blocks: Blocks, profile: Profile = UNIXFS_V1_2025) -> tuple[CID, int]:
    """Cut a file; returns its CID and the size of its DAG."""

    def leaf(block: bytes | memoryview) -> None:
        cid = CID.raw(hashlib.sha256(block).digest()) if profile.raw_leaves else profile.node(bytes(block)).cid
        blocks[cid] = bytes(block)

    hasher = FileHasher(leaf=leaf, profile=profile)
    hasher.update(content)
    dag = hasher.finish()
    blocks.update((node.cid, node.data) for node in dag.nodes)
    return dag.cid, dag.dag_size


def add_folder(folder: Path, blocks: Blocks, profile: Profile = UNIXFS_V1_2025) -> CID:
    """Add a folder, and all below it, as ``ipfs add -r`` does under this profile."""
    return _folder(folder, blocks, profile)[0]


def _folder(folder: Path, blocks: Blocks, profile: Profile) -> tuple[CID, int]:
    links, total = [], 0
    for path in sorted(folder.iterdir(), key=lambda path: path.name.encode()):
        added = _folder(path, blocks, profile) if path.is_dir() else add_file(path.read_bytes(), blocks, profile)
        links.append(encode_link(added[0], path.name.encode(), added[1]))
        total += added[1]
    node = profile.node(encode_node(links, DIRECTORY_MESSAGE))
    blocks[node.cid] = node.data
    return node.cid, total + len(node.data)


def write_shelf(place: Path, blocks: Mapping[CID, bytes]) -> Path:
    """Write a source named ``shelf``; ``asked.log`` beside it then names each CID that was asked for."""
    info = place / "shelf-1.0.dist-info"
    for folder in (info, place / "blocks"):
        folder.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pinformers.sources]\nshelf = shelf:Shelf\n")
    (place / "shelf.py").write_text(_SHELF)
    for cid, block in blocks.items():
        (place / "blocks" / cid.multihash.hex()).write_bytes(block)
    return place
