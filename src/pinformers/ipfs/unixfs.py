"""Files and folders become UnixFS DAGs with the CIDs that Kubo gives them under unixfs-v1-2025."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple, TypeAlias

from pinformers._errors import PinError
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.dagpb import DIRECTORY_MESSAGE, MAX_DEPTH, encode_leaf, encode_link, encode_node
from pinformers.ipfs.hamt import Child, Subtree, build_shards
from pinformers.ipfs.layout import UNIXFS_V1_2025, Balanced, Part, Profile
from pinformers.ipfs.tensors import Chunking, leaf_sizes

CHUNK = UNIXFS_V1_2025.chunk
WIDTH = UNIXFS_V1_2025.width
# A folder whose block is bigger (not as big) becomes a HAMT.
HAMT_ABOVE = 256 << 10

# A second thread for the file's sha256 pays: 1940 MB/s instead of 1040 on 2 cores out of the page cache, where
# sha256 alone makes 2000 (hashlib releases the GIL). Reads of 2 to 16 MiB did equally well; 1 MiB leaves nothing
# to hash at the same time, and a small file is done before the thread has started.
BUFFER = 4 << 20
POOL_FROM = 16 << 20
# What is read at once of a file's beginning, which tells the leaves of a safetensors file.
_HEAD = 64 << 10

Leaf = Callable[[bytes | memoryview], None]
"""Takes each leaf's block when it is complete; the memory is reused when the call returns."""


class FileDag(NamedTuple):
    """Describe a hashed file; ``nodes`` are its inner nodes, parents before children, none for a single leaf.

    ``git_blob`` is empty unless it was asked for; ``dag_size`` counts every block, the leaves included.
    """

    cid: CID
    size: int
    sha256: str
    git_blob: str
    dag_size: int
    nodes: tuple[Block, ...]


class FileHasher:
    """Compute a file's CID, sha256 and git blob id while its bytes pass once.

    ``git`` needs ``size``, which git's header holds. With ``pool``, an update longer than a chunk hashes the leaves
    and the file at the same time. ``sizes`` are those of the leaves, where they are not all the profile's chunk.
    """

    def __init__(
        self,
        size: int | None = None,
        leaf: Leaf | None = None,
        *,
        git: bool = False,
        pool: Executor | None = None,
        profile: Profile = UNIXFS_V1_2025,
        sizes: Iterable[int] | None = None,
    ) -> None:
        if git and size is None:
            raise ValueError("git=True needs the size, which git hashes before the first byte.")
        self._announced, self._leaf, self._pool, self._profile = size, leaf, pool, profile
        self._tree = Balanced(profile)
        self._whole = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % (size or 0), usedforsecurity=False) if git else None
        # The first leaf is the file so far, so a file of one leaf is hashed once.
        self._leaf_hash = self._whole
        self._held = bytearray()
        self._sizes = iter(sizes or ())
        # Where the first leaf ends, and how long the one is that is being filled.
        self._first = self._room = next(self._sizes, profile.chunk)
        self._size = self._filled = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes, however the stream is cut."""
        view = memoryview(data).cast("B")
        first = view[: max(0, self._first - self._size)]
        rest = view[len(first) :]
        self._size += len(view)
        self._hash_file(first)
        self._cut(first)
        if self._pool is None or len(rest) <= self._profile.chunk:
            self._hash_file(rest)
            self._cut(rest)
            return
        job = self._submit(rest)
        try:
            self._cut(rest)
        finally:
            # Even after an error: the caller may reuse its buffer as soon as this returns.
            job.result()

    def finish(self) -> FileDag:
        """Describe the file, once; raises PinError when ``size`` was announced and is wrong."""
        if self._announced not in (None, self._size):
            raise PinError(f"A file of {self._size} bytes", f"{self._announced} were announced; hash it again")
        if self._filled or not self._size:
            self._close_leaf(memoryview(b""))
        root, nodes = self._tree.finish()
        git_blob = self._git.hexdigest() if self._git else ""
        return FileDag(root.cid, self._size, self._whole.hexdigest(), git_blob, root.dag_size, nodes)

    def _submit(self, view: memoryview) -> Future[None]:
        try:
            return self._pool.submit(self._hash_file, view)  # type: ignore[union-attr]
        except RuntimeError:
            # While the interpreter exits, executors take no more work, before any atexit callback has run.
            self._pool = None
            done: Future[None] = Future()
            self._hash_file(view)
            done.set_result(None)
            return done

    def _hash_file(self, view: memoryview) -> None:
        self._whole.update(view)
        if self._git:
            self._git.update(view)

    def _cut(self, view: memoryview) -> None:
        while view:
            piece = view[: self._room - self._filled]
            view = view[len(piece) :]
            self._filled += len(piece)
            if self._leaf_hash is not self._whole:
                self._leaf_hash.update(piece)
            if self._filled == self._room:
                self._close_leaf(piece)
            elif self._leaf or not self._profile.raw_leaves:
                self._held += piece

    def _close_leaf(self, last: memoryview) -> None:
        block = bytes(self._held + last) if self._held else last
        if self._profile.raw_leaves:
            cid, dag_size = CID.raw(self._leaf_hash.digest()), self._filled
            self._leaf_hash = hashlib.sha256()
        else:
            node = self._profile.node(encode_leaf(bytes(block)))
            cid, block, dag_size = node.cid, node.data, len(node.data)
        self._tree.add(Part(cid, self._filled, dag_size))
        if self._leaf:
            self._leaf(block)
        self._held.clear()
        self._filled, self._room = 0, next(self._sizes, self._profile.chunk)


def hash_file(
    path: str | os.PathLike[str],
    *,
    git: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    chunking: Chunking = "fixed",
) -> FileDag:
    """Hash a file in one pass over its bytes.

    ``progress`` gets the number of bytes since it was last called. Raises InterruptedError soon after ``stop()``
    turns true, and PinError when the file changed its size meanwhile.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        sizes = leaf_sizes(iter(partial(file.read, _HEAD), b""), size) if chunking == "tensors" else None
        file.seek(0)
        with ThreadPoolExecutor(1) if size >= POOL_FROM else nullcontext() as pool:
            hasher = FileHasher(size, git=git, pool=pool, sizes=sizes)
            buffer = memoryview(bytearray(min(BUFFER, size + 1)))
            while count := file.readinto(buffer):
                hasher.update(buffer[:count])
                if progress:
                    progress(count)
                if stop and stop():
                    raise InterruptedError(f"Hashing {os.fspath(path)} was stopped.")
            return hasher.finish()


class Entry(NamedTuple):
    """Say of a file what the folders above it need to know."""

    cid: CID
    size: int
    dag_size: int


class Directory(NamedTuple):
    """Describe a built folder; ``nodes`` are the blocks of its folders, root first, those of files not among them."""

    cid: CID
    dag_size: int
    nodes: tuple[Block, ...]


_Tree: TypeAlias = "dict[str, Entry | _Tree]"


def build_directory(files: Mapping[str, Entry]) -> Directory:
    """Build the folder that holds ``files`` under their relative POSIX paths.

    Raises PinError for a path that no folder can hold, and for one that is a file and a folder.
    """
    tree: _Tree = {}
    for path, entry in files.items():
        _place(tree, path, entry)
    folder = _build(tree)
    # Equal folders are one block.
    nodes = {node.cid: node for node in folder.nodes}
    return Directory(folder.nodes[0].cid, folder.dag_size, tuple(nodes.values()))


def _place(tree: _Tree, path: str, entry: Entry) -> None:
    *folders, name = _names(path)
    for folder in folders:
        inner = tree.setdefault(folder, {})
        if isinstance(inner, Entry):
            raise PinError(path, f"{folder!r} is a file as well as a folder; rename one of them")
        tree = inner
    if name in tree:
        raise PinError(path, "this is a file as well as a folder; rename one of them")
    tree[name] = entry


def _names(path: str) -> list[str]:
    names = path.split("/")
    if len(names) > MAX_DEPTH:
        raise PinError(path, f"folders lie deeper than {MAX_DEPTH} levels; move them up")
    for name in names:
        if name in ("", ".", "..") or "\0" in name:
            raise PinError(repr(path), "a path is relative, with neither empty names nor dots nor NUL; rename the file")
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            raise PinError(repr(path), "the name is not valid Unicode; rename the file") from exc
    return names


def _build(tree: _Tree) -> Subtree:
    children: list[Child] = []
    nodes: list[Block] = []
    for name, item in tree.items():
        if isinstance(item, Entry):
            children.append(Child(name.encode(), item.cid, item.dag_size))
        else:
            inner = _build(item)
            nodes += inner.nodes
            children.append(Child(name.encode(), inner.nodes[0].cid, inner.dag_size))
    children.sort(key=lambda child: child.name)
    links = [encode_link(child.cid, child.name, child.dag_size) for child in children]
    node = UNIXFS_V1_2025.node(encode_node(links, DIRECTORY_MESSAGE))
    if len(node.data) > HAMT_ABOVE:
        top = build_shards(children)
        return Subtree(top.dag_size, (*top.nodes, *nodes))
    return Subtree(len(node.data) + sum(child.dag_size for child in children), (node, *nodes))
