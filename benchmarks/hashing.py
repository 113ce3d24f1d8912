"""Rows 8 and 10: hashing and pinning a folder, and what a pinned model takes on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.results import Line
from benchmarks.rooms import MIB, Env, Shop, disk
from pinformers.ipfs.unixfs import hash_file

REPO = "org/weights"
# A folder on a file system that makes clones, where the machine has one.
SHARING = os.environ.get("PINFORMERS_BENCH_SHARING")
# One line: pyperf keeps the command as metadata, where lines may not break.
_HASH = "import pathlib, sys; from pinformers.ipfs.unixfs import hash_file; "
_HASH += "[hash_file(path) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())]"


def hashing(shop: Shop) -> None:
    """Row 8, from the page cache: one file against sha256, a folder against Kubo, pins against their floors."""
    mib = shop.pick(512, 2048)
    folder, repo = shop.weights(mib, 4), shop.repo("only-hash")
    file = folder / "model-00001-of-00004.safetensors"
    take, rounds = shop.book.taker, shop.pick(9, 30)
    shop.book.turns(
        rounds,
        lambda: {"8 hash_file": take.call(lambda: hash_file(file))},
        lambda: {"8 sha256": take.call(lambda: _sha256(file))},
    )
    what = f"CID and sha256 of a file of {mib // 4} MiB in one pass"
    shop.book.line(Line(8, what, "sha256 of the same bytes", "8 hash_file", "8 sha256", 1.15))
    env = shop.home("hashing")
    shop.book.turns(
        rounds,
        lambda: {"8 folder": take.command([sys.executable, "-c", _HASH, folder], env)},
        lambda: {"8 only-hash": take.command([repo.binary, "add", "-rnQH", "--progress=false", folder], repo.environ)},
    )
    what = f"CIDs and sha256 of a folder of {mib} MiB, whole process"
    against = "`ipfs add --only-hash` under the profile unixfs-v1-2025"
    shop.book.line(Line(8, what, against, "8 folder", "8 only-hash", 1.0))
    _pins(shop, folder, mib)


def _sha256(path: Path) -> None:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(MIB))
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
    digest.digest()


def _pins(shop: Shop, folder: Path, mib: int) -> None:
    shop.hub.add(REPO, folder)
    kept = shop.home("hashing-cached")
    shop.book.taker.inside("download", REPO, env=kept)
    sides: dict[str, tuple[str | Path, ...]] = {
        "pin of the cache": ("pin", REPO),
        "sha256 of the folder": ("sha256", folder),
        "pin of the folder": ("pin", folder, REPO),
        "copy, sha256 and fsync": ("copy", folder, "copy", "durable"),
    }
    with _sharing(folder) as shared:
        if shared is not None:
            sides["pin of the folder, shared"] = ("pin", shared, REPO)
        shop.book.turns(shop.pick(5, 15), *[partial(_pin, shop, kept, side, work) for side, work in sides.items()])
    cached, copied = f"pin {mib} MiB that the hub cache holds", f"pin a folder of {mib} MiB, which is copied"
    of_all, both = "sha256 of the same bytes", "copy, sha256 and fsync of the same bytes"
    shop.book.line(Line(8, cached, of_all, "8 pin of the cache", "8 sha256 of the folder", 1.15))
    shop.book.line(Line(8, copied, of_all, "8 pin of the folder", "8 sha256 of the folder", 1.15))
    shop.book.line(Line(8, copied, both, "8 pin of the folder", "8 copy, sha256 and fsync", None))
    if shared is not None:
        cloned = f"pin a folder of {mib} MiB, which is cloned on XFS or Btrfs"
        shop.book.line(Line(8, cloned, of_all, "8 pin of the folder, shared", "8 sha256 of the folder", 1.15))


@contextlib.contextmanager
def _sharing(folder: Path) -> Iterator[Path | None]:
    """Yield a copy of the folder where clones can be made, which has been left alone for long enough."""
    if SHARING is None:
        yield None
        return
    with tempfile.TemporaryDirectory(dir=SHARING) as there:
        copied = shutil.copytree(folder, Path(there) / "weights")
        os.sync()
        time.sleep(61)
        yield copied


def _pin(shop: Shop, kept: Env, side: str, work: tuple[str | Path, ...]) -> dict[str, float]:
    env = shop.home(PINFORMERS_LOG="warning")
    if work == ("pin", REPO):
        _link(Path(kept["HF_HOME"]) / "hub", Path(env["HF_HOME"]) / "hub")
    name, *args = work
    if side.endswith("shared"):
        env["HF_HOME"] = str(Path(args[0]).parent / "hub")
    if name == "copy":
        args[1] = Path(env["HOME"]) / args[1]
    free = shutil.disk_usage(SHARING).free if SHARING else 0
    child = shop.book.taker.inside(str(name), *args, env=env)
    if side.endswith("shared"):
        assert free - shutil.disk_usage(SHARING).free < 16 * MIB, "no clone was made: is it XFS or Btrfs?"
        shutil.rmtree(env["HF_HOME"])
    shop.leave(env)
    return {f"8 {side}": child.values[0]}


def _link(source: Path, target: Path) -> None:
    """Give a home the cache of another without a copy: only what is hashed is measured."""
    shutil.copytree(source, target, symlinks=True, copy_function=os.link)


def on_disk(shop: Shop) -> None:
    """Row 10: once, since nothing of it varies."""
    mib = shop.pick(128, 1024)
    folder = shop.weights(mib, 4, "disk")
    size = sum(path.stat().st_size for path in folder.iterdir())
    env = shop.home("disk-pin")
    root = shop.pin_folder(env, folder, REPO)
    shop.book.keep("10 its bytes", size, "byte")
    shop.book.keep("10 pinned", disk(Path(env["HOME"])), "byte")
    repo = shop.repo("disk-kubo")
    empty = disk(repo.path)
    assert repo.run("add", "-rQH", "--progress=false", folder).decode().strip() == root
    repo.run("get", "--progress=false", "-o", repo.path.parent / "got", root)
    shop.book.keep("10 Kubo", disk(repo.path.parent) - empty, "byte")
    shop.book.line(
        Line(10, f"disk that a pinned model of {mib} MiB takes", "its bytes", "10 pinned", "10 its bytes", 1.01)
    )
    what = "the same with `ipfs add` and `ipfs get`"
    shop.book.line(Line(10, what, "its bytes", "10 Kubo", "10 its bytes", None))
    shutil.rmtree(folder)
