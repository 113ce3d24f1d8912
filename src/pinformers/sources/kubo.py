"""A Kubo daemon: its blocks and those of its swarm to read, and what is told it to keep."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pinformers._errors import BlockMismatch, BlockNotFound, SourceError, SourceUnavailable
from pinformers.ipfs.car import append_car, write_car
from pinformers.ipfs.cid import CID, IDENTITY, Block
from pinformers.ipfs.dag import Run, read_run
from pinformers.ipfs.dagpb import MAX_BLOCK
from pinformers.ipfs.layout import UNIXFS_V1_2025
from pinformers.sources.flatfs import Flatfs
from pinformers.sources.kubo_rpc import NAME, Rpc, is_json

# Pin names came with this one.
OLDEST = (0, 27)
# After the swarm had nothing, or the daemon did not answer, nobody waits for it again so soon.
PAUSE = 30.0
_READ = 1 << 20
# CIDs in a URL: 60 bytes each, and Go's server takes a megabyte.
_ARGUMENTS = 1000
_logger = logging.getLogger("pinformers")
T = TypeVar("T")


class KuboNode:
    """The RPC of one daemon at ``address``, a multiaddr or a URL; ``timeout`` (s) is for each wait and each answer.

    Every method raises SourceUnavailable where the daemon does not answer, and SourceError where it refuses; those that
    send or count blocks raise InterruptedError between two of them once ``stop()`` is true.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        timeout: float = 60.0,
        ca_bundle: Path | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._rpc, self._timeout = Rpc(address, token=token, timeout=timeout, ca_bundle=ca_bundle), timeout
        self._stop = stop

    @property
    def url(self) -> str:
        """Where it is."""
        return self._rpc.url

    @property
    def local(self) -> bool:
        """Whether it runs on this machine."""
        return self._rpc.local

    # -- about it ---------------------------------------------------------------------------------------------

    def version(self) -> str:
        """Return its version; never an error because it is new."""
        said = is_json(self._rpc.read("version", wait=5.0))
        if not isinstance(said, dict) or not isinstance(said.get("Version"), str):
            raise SourceUnavailable(NAME, "what answers there is not a Kubo daemon")
        return str(said["Version"])

    def too_old(self) -> str | None:
        """Say what is wrong with its version, if anything."""
        version = self.version()
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if numbers is None or (int(numbers[1]), int(numbers[2])) >= OLDEST:
            return None
        return f"Kubo {version} knows no pin names; {'.'.join(map(str, OLDEST))} or newer does"

    def id(self) -> str:
        """Return its peer id."""
        return self._rpc.control(lambda client: str(client.id()["ID"]))

    def peers(self) -> int:
        """Return with how many peers it is connected."""
        return self._rpc.control(lambda client: len(client.swarm.peers()["Peers"] or ()))

    def filestore_enabled(self) -> bool:
        """Whether it can take files without a second copy."""
        return self._rpc.control(lambda client: bool(client.config.get()["Experimental"].get("FilestoreEnabled")))

    def repo_path(self) -> Path:
        """Return the folder of its repo, on its machine."""
        return self._rpc.control(lambda client: Path(client.repo.stat()["RepoPath"]))

    def blockstore(self) -> Flatfs | None:
        """Return its repo's blocks to read beside it, where it runs on this machine and keeps them in files."""
        if not self.local:
            return None
        # repo/stat says it, too, when it has looked at each block.
        said = is_json(self._rpc.read("diag/sys", wait=2.0))
        try:
            path = Path(said["environment"]["IPFS_PATH"] or "~/.ipfs").expanduser()
        except (KeyError, TypeError, RuntimeError):
            return None
        return Flatfs.of_repo(path) if path.is_absolute() else None

    # -- blocks -----------------------------------------------------------------------------------------------

    def has(self, cid: CID) -> bool:
        """Whether its own repo holds a block, and can read it."""
        self._go_on()
        try:
            self._rpc.read("block/stat", arg=cid, offline=True)
        except SourceUnavailable:
            raise
        except SourceError:
            # Not found, or a file of the filestore moved or changed: it says so in the words of its system.
            return False
        return True

    def block(self, cid: CID, *, offline: bool, timeout: float) -> bytes:
        """Return a block from its repo or, unless ``offline``, its swarm, within ``timeout`` seconds."""
        deadline = None if offline else f"{max(timeout, 0.001):.3f}s"
        try:
            return self._rpc.read(
                "block/get", MAX_BLOCK, wait=timeout + 1.0, arg=cid, offline=offline, timeout=deadline
            )
        except SourceUnavailable as exc:
            if offline or getattr(exc.__cause__, "kind", "") != "stalled":
                raise
            raise BlockNotFound(NAME, f"it did not deliver within {timeout:g} s") from exc
        except SourceError as exc:
            # As for has(): a file of its filestore that moved.
            raise BlockNotFound(NAME, exc.reason) from exc

    def run(self, run: Run, *, timeout: float) -> Iterator[tuple[CID, bytes]]:
        """Yield the verified leaves of a run out of its repo; ``timeout`` is for each wait, in seconds.

        Raises BlockMismatch where its repo has other bytes.
        """
        options = {"arg": run.node, "offset": run.first, "length": run.last + 1 - run.first, "offline": True}
        with self._rpc.stream("cat", wait=timeout, **options) as body:
            yield from read_run(run, body)

    def import_car(self, blocks: Iterable[Block], roots: Sequence[CID]) -> None:
        """Store blocks as they come, and pin nothing."""
        said = self._rpc.send("dag/import", _car(self._held(blocks), roots), pin_roots=False, stats=True)
        if not any("Stats" in line for line in said):
            raise SourceError(NAME, f"it did not take the blocks: {json.dumps(said)[:200]}")

    def add_nocopy(self, path: Path, expected: CID) -> None:
        """Have it refer to the leaves of a file where it lies; raises SourceError unless the CID is ``expected``."""
        if not str(path).isprintable():
            raise SourceError(NAME, f"the path {str(path)!r} fits no header of the RPC")
        profile = UNIXFS_V1_2025
        said = self._rpc.send(
            "add",
            self._held(_chunks(path)),
            f"Abspath: {path}\r\n",
            nocopy=True,
            cid_version=profile.cid_version,
            raw_leaves=profile.raw_leaves,
            chunker=f"size-{profile.chunk}",
            max_file_links=profile.width,
            pin=False,
            progress=False,
        )
        found = [line["Hash"] for line in said if "Hash" in line]
        if not found or CID.parse(found[-1]).to_bytes() != expected.to_bytes():
            raise SourceError(NAME, f"it made {found[-1] if found else said} of {path}, and not {expected}")

    def forget_dead(self, cids: Sequence[CID]) -> None:
        """Have its filestore drop what it cannot read of these blocks, pinned or not, so that they can be put anew.

        A block that it has is never written again, and a file that moved still counts as had.
        """
        for start in range(0, len(cids), _ARGUMENTS):
            batch = [str(cid) for cid in cids[start : start + _ARGUMENTS]]
            # Line by line: it reads a gigabyte from a disk that may be slow.
            for _ in self._rpc.follow("filestore/verify", arg=batch, remove_bad_blocks=True):
                pass

    # -- pins -------------------------------------------------------------------------------------------------

    def pin(self, cid: CID, name: str) -> None:
        """Pin a DAG under a name of at most 255 bytes."""
        short = name.encode()[:255].decode(errors="ignore")
        seen, since = -1, time.monotonic()
        # Not by ipfshttpclient: every block is read, which takes minutes for a big model, and this tells how far it is.
        for said in self._rpc.follow("pin/add", arg=cid, name=short, progress=True):
            if "Pins" in said:
                return
            self._go_on()
            if said.get("Progress") != seen:
                seen, since = int(said.get("Progress") or 0), time.monotonic()
            elif time.monotonic() - since > self._timeout:
                # A block that it does not have makes it look in the swarm for ever.
                raise SourceUnavailable(NAME, f"it finds no more than {seen} blocks of {cid}")
        raise SourceError(NAME, f"it did not pin {cid}")

    def unpin(self, cid: CID) -> None:
        """Pin a DAG no longer."""
        try:
            self._rpc.control(lambda client: client.pin.rm(str(cid)))
        except SourceError as exc:
            if "not pinned" not in exc.reason:
                raise

    def pins(self, name: str | None = None) -> dict[CID, str]:
        """Return the recursive pins with their names; only those whose names hold ``name``, where one is given."""
        options = {"names": "true", "type": "recursive", **({"name": name} if name else {})}

        def asked(client: Any) -> dict[CID, str]:
            found = client.pin.ls(opts=options).get("Keys") or {}
            return {CID.parse(cid): str(about.get("Name", "")) for cid, about in found.items()}

        return self._rpc.control(asked)

    # -- names ------------------------------------------------------------------------------------------------

    def keys(self) -> dict[str, str]:
        """Return the IPNS keys by their names."""
        return self._rpc.control(lambda client: {key["Name"]: key["Id"] for key in client.key.list()["Keys"] or ()})

    def key_gen(self, name: str) -> str:
        """Make an Ed25519 key and return its IPNS name."""
        # By the RPC: ipfshttpclient always sends a size, which Kubo refuses for this kind.
        return str(is_json(self._rpc.read("key/gen", arg=name, type="ed25519"))["Id"])

    def publish_name(self, cid: CID, *, key: str, lifetime: float, ttl: float) -> str:
        """Sign that the key's name stands for ``cid``, for ``lifetime`` seconds; return the name."""
        said = self._rpc.read(
            "name/publish",
            arg=f"/ipfs/{cid}",
            key=key,
            lifetime=f"{lifetime:.0f}s",
            ttl=f"{ttl:.0f}s",
            allow_offline=True,
            resolve=False,
        )
        return str(is_json(said)["Name"])

    def name_record(self, name: str) -> bytes:
        """Return the signed record of a name, true or not."""
        return self._rpc.read("name/get", 10 << 10, arg=name, wait=15.0)

    # -- inner ------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._stop():
            raise InterruptedError(f"What was going on with the daemon at {self.url} was stopped.")

    def _held(self, parts: Iterable[T]) -> Iterator[T]:
        for part in parts:
            self._go_on()
            yield part


class KuboSource:
    """Blocks of a daemon: from its repo first, beside it where that can be read, then from its swarm.

    That has ``swarm_timeout`` seconds.
    """

    name = NAME
    local = False

    def __init__(self, node: KuboNode, *, swarm_timeout: float) -> None:
        self._node, self._swarm_timeout = node, swarm_timeout
        # Set whole, without a lock, which a fork could find held.
        self._away: tuple[float, str] = (0.0, "")
        self._silent_until = self._alone_until = 0.0
        self._delivers, self._looked = False, False
        self._store: Flatfs | None = None

    def run(self, run: Run) -> Iterator[tuple[CID, bytes]]:
        """Yield the verified leaves of a run, where the daemon's repo has them."""
        stored = self._stored_ones(run)
        first = next(stored, None)
        if first is not None:
            yield first
            yield from stored
            return
        # Its repo may be of another kind, and of a file of its filestore it has the inner blocks alone.
        if not self._delivers or time.monotonic() < max(self._alone_until, self._away[0]):
            return
        try:
            yield from self._node.run(run, timeout=self._node_timeout)
        except (SourceError, BlockMismatch) as exc:
            # Each is asked for by itself next, in the swarm too, and the daemon is judged by that.
            self._alone_until = time.monotonic() + PAUSE
            _logger.debug("%s did not deliver blocks together: %s", self._node.url, exc)

    def block(self, cid: CID) -> bytes:
        """Return the verified block."""
        if cid.hash_code == IDENTITY:
            return cid.digest
        until, why = self._away
        if time.monotonic() < until:
            raise SourceUnavailable(NAME, why)
        try:
            stored = self._stored(cid)
            if stored is not None:
                return stored
            block = self._block(cid)
            cid.verify(block)
            return block
        except SourceUnavailable as exc:
            self._away = time.monotonic() + PAUSE, exc.reason
            raise

    def _stored_ones(self, run: Run) -> Iterator[tuple[CID, bytes]]:
        """Yield the leaves of a run that lie in its repo's folder, as far as none is missing."""
        store = self._store
        if store is None:
            return
        for leaf in run.leaves:
            block = store.block(leaf.cid, leaf.size)
            if block is None:
                return
            yield leaf.cid, block

    def _stored(self, cid: CID) -> bytes | None:
        if not self._looked:
            self._looked = True
            try:
                self._store = self._node.blockstore()
            except SourceError as exc:
                # It is judged by what it says of blocks: whoever stands before it may let through no more than that.
                _logger.debug("%s does not say where its repo is: %s", self._node.url, exc)
                # It may be about to start.
                self._looked = getattr(exc.__cause__, "kind", "") != "failed"
        return None if self._store is None else self._store.block(cid)

    def _block(self, cid: CID) -> bytes:
        try:
            block = self._node.block(cid, offline=True, timeout=self._node_timeout)
            self._delivers = True
            return block
        except BlockNotFound:
            if self._swarm_timeout <= 0:
                raise
        if time.monotonic() < self._silent_until:
            # A file of a thousand blocks must not wait a thousand times.
            raise BlockNotFound(NAME, f"its repo does not hold {cid}, and its swarm had nothing just now")
        try:
            block = self._node.block(cid, offline=False, timeout=self._swarm_timeout)
        except BlockNotFound as exc:
            self._silent_until = time.monotonic() + PAUSE
            reason = f"its repo does not hold {cid}, nor did its swarm within {self._swarm_timeout:g} s"
            raise BlockNotFound(NAME, reason) from exc
        return block

    @property
    def _node_timeout(self) -> float:
        return max(self._swarm_timeout, 5.0)


def _car(blocks: Iterable[Block], roots: Sequence[CID]) -> Iterator[bytes]:
    out = _Pieces()
    write_car(out, roots, ())  # type: ignore[arg-type]
    yield out.taken()
    for block in blocks:
        append_car(out, [block])  # type: ignore[arg-type]
        yield out.taken()


class _Pieces:
    """What was written since it was last taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_READ):
            yield chunk
