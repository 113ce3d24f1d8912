"""Carry a pinned model in one CAR file: its blocks out of the hub cache, and its pin's record as the last one."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pinformers._errors import BadBlock, BlockMismatch, PinError
from pinformers.ipfs.car import write_car
from pinformers.ipfs.cid import CID, IDENTITY, Block
from pinformers.ipfs.dag import leaf_block
from pinformers.ipfs.dagpb import MAX_BLOCK, parse_node
from pinformers.ipfs.unixfs import FileHasher
from pinformers.pinning.access import for_others
from pinformers.pinning.adoption import folder_nodes, kept_dag
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.records import AGE, left_aside, naming, replacing

Progress = Callable[[int], None]


def export_model(catalog: Catalog, pinned: PinnedRepo, out: BinaryIO, progress: Progress = lambda _: None) -> int:
    """Write the pinned files as CARv1 with the roots [folder, record of the pin]; return its length.

    Every leaf is hashed while it is read out of the cached file. Raises PinError for a file that is changed or missing.
    """
    cid, record = _record(pinned.pin)
    export = _Export(catalog, pinned, progress)
    return write_car(out, [CID.parse(pinned.pin.root), cid], _then(export.blocks(), record))


@contextmanager
def written_aside(target: Path) -> Iterator[BinaryIO]:
    """Write a file beside ``target`` that gets its name when it is complete, and is deleted when it fails.

    What is no regular file, such as a pipe, is written into as it is. What a killed process left for ``target`` goes.
    """
    if target.is_dir():
        raise PinError(str(target), "it is a folder; give the path of a file, or `-o -` for stdout")
    with naming(target):
        if target.exists() and not target.is_file():
            with open(target, "wb") as out:
                if out.isatty():
                    raise PinError(str(target), "a terminal shows no CAR file; send it into a file or a pipe")
                yield out
            return
        target = Path(os.path.realpath(target))
        if not target.parent.is_dir():
            raise PinError(str(target), f"the folder {target.parent} is not there; make it first")
        for left in left_aside(target):
            if time.time() - left.lstat().st_mtime > AGE:
                left.unlink(missing_ok=True)
        with replacing(target) as out:
            yield out


class _Export:
    """The blocks of one pin, each once: folders before what they hold, a file's inner nodes before its leaves."""

    def __init__(self, catalog: Catalog, pinned: PinnedRepo, progress: Progress) -> None:
        self._catalog, self._pin, self._progress = catalog, pinned.pin, progress
        places = (
            RepoCache(place.cache_dir, pinned.pin.repo, pinned.pin.repo_type) for place in catalog.places(self._pin)
        )
        self._caches = [pinned.cache, *places]
        self._files = {CID.parse(file.cid): path for path, file in self._pin.files.items()}
        self._folders = {node.cid: node.data for node in folder_nodes(catalog, self._pin)}
        self._seen = set[CID]()
        # Before a byte is written: what is missing is seen at once.
        self._found = {path: self._find(path) for path in self._files.values()}

    def blocks(self) -> Iterator[Block]:
        for block in self._below(CID.parse(self._pin.root)):
            if block.cid.hash_code != IDENTITY and block.cid not in self._seen:
                self._seen.add(block.cid)
                yield block

    def _below(self, cid: CID) -> Iterator[Block]:
        if cid in self._seen:
            return
        if cid in self._files:
            yield from self._file(cid, self._files[cid])
            return
        block = cid.digest if cid.hash_code == IDENTITY else self._folders.get(cid)
        if block is None:
            raise PinError(self._pin.repo, f"the folder {cid} is not here any more; remove the pin and pin it again")
        yield Block(cid, block)
        for link in parse_node(cid, block).links:
            yield from self._below(link.cid)

    def _find(self, path: str) -> Path:
        found = (cache.file(self._pin.commit, path) for cache in self._caches)
        target = next((file for file in found if file.is_file()), None)
        if target is None:
            raise PinError(f"{self._pin.repo}/{path}", f"it is not here; `pinformers pin {self._pin.repo}` brings it")
        return target

    def _file(self, cid: CID, path: str) -> Iterator[Block]:
        target, file = self._found[path], self._pin.files[path]
        inner, leaves = kept_dag(self._catalog, file)
        yield from (Block(*node) for node in inner.items())
        try:
            with open(target, "rb") as stream:
                if os.fstat(stream.fileno()).st_size != file.size:
                    raise BlockMismatch(str(cid))
                for leaf in leaves:
                    stream.seek(leaf.offset)
                    piece = stream.read(leaf.size)
                    block = leaf_block(leaf, piece, inner)
                    if block is not None:
                        yield Block(leaf.cid, block)
                    self._progress(len(piece))
        except FileNotFoundError as exc:
            raise PinError(str(target), f"it is gone; {self._mend}") from exc
        except (BadBlock, BlockMismatch) as exc:
            raise PinError(str(target), f"it is not what the pin says; {self._mend}") from exc

    @property
    def _mend(self) -> str:
        return f"`pinformers verify --repair {self._pin.repo}` mends it"


def _then(blocks: Iterator[Block], record: tuple[Block, ...]) -> Iterator[Block]:
    yield from blocks
    yield from record


def _record(pin: Pin) -> tuple[CID, tuple[Block, ...]]:
    """Encode a pin; from whom this machine learned it is nothing to another one."""
    value = for_others(pin).to_json()
    del value["learned"]
    text = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
    if len(text) <= MAX_BLOCK:
        cid = CID.raw(hashlib.sha256(text).digest())
        return cid, (Block(cid, text),)
    leaves: list[Block] = []
    hasher = FileHasher(leaf=lambda leaf: leaves.append(Block(CID.raw(hashlib.sha256(leaf).digest()), bytes(leaf))))
    hasher.update(text)
    dag = hasher.finish()
    return dag.cid, (*dag.nodes, *leaves)
