"""Fetch fine-tunes of a model that is here, cut every MiB and at their tensors; and hash one file in both cuts.

`python benchmarks/finetune.py [MIB]` makes a base of that size with tensors as an encoder has them, and fine-tunes in
which the last layers, a tenth of the bytes, are other ones. It prints the share of their bytes that is fetched where
the base is in the cache, and what cutting at tensors costs: a ratio of interleaved runs.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pinformers._composition import build_resolver, embedded
from pinformers._settings import Settings
from pinformers.ipfs.cid import CID
from pinformers.ipfs.tensors import Chunking
from pinformers.ipfs.unixfs import hash_file
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pin import Pin
from pinformers.pinning.removal import remove_pin
from pinformers.pinning.resolver import Resolver
from pinformers.sources.base import Source
from pinformers.sources.embedded import EmbeddedSource

WEIGHTS = "model.safetensors"
Tensors = Mapping[str, bytes]
CUTS: tuple[Chunking, Chunking] = ("fixed", "tensors")


def main(mib: int) -> None:
    base = encoder(mib)
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'a fine-tune with 90 % of its bytes from the base':50} {CUTS[0]:>9} {CUTS[1]:>9}")
        columns = [shares(base, cut, Path(folder) / cut) for cut in CUTS]
        for name in columns[0]:
            print(f"{name:50} " + " ".join(f"{column[name]:9.1%}" for column in columns))
        path = Path(folder) / WEIGHTS
        write(path, base)
        runs = [[seconds(path, cut) for cut in CUTS] for _ in range(9)]
        fixed, tensors = (path.stat().st_size / 1e6 / statistics.median(column) for column in zip(*runs, strict=True))
        ratio = statistics.median(second / first for first, second in runs)
        print(f"hashing: {fixed:.0f} MB/s, at tensors {tensors:.0f} MB/s; time ratio {ratio:.3f}")


def encoder(mib: int, width: int = 768) -> Tensors:
    """Make the layers of a BERT of ``width`` in fp32, as many as fill ``mib``, in the order of their names."""
    noise, layer = random.Random(0), 4 * 12 * width * width
    tensors: dict[str, bytes] = {}
    for number in range(max(1, (mib << 20) // layer)):
        prefix = f"encoder.layer.{number:03}."
        for name, rows in (
            ("attention.q", 1),
            ("attention.k", 1),
            ("attention.v", 1),
            ("dense", 1),
            ("up", 4),
            ("down", 4),
        ):
            tensors[f"{prefix}{name}.bias"] = noise.randbytes(4 * width * rows)
            tensors[f"{prefix}{name}.weight"] = noise.randbytes(4 * width * width * rows)
        for name in ("bias", "weight"):
            tensors[f"{prefix}norm.{name}"] = noise.randbytes(4 * width)
    return dict(sorted(tensors.items()))


def fine_tunes(base: Tensors) -> Mapping[str, tuple[Tensors, str]]:
    """Change a tenth of the bytes; return the tensors in their order, and a note for the header."""
    left, tuned = 0.1 * sum(map(len, base.values())), dict(base)
    for name, content in reversed(list(base.items())):
        # The rest of a tensor that would be too much stays: training with a mask, or rows that were added.
        changed = min(len(content), int(left))
        tuned[name] = content[: len(content) - changed] + random.Random(name).randbytes(changed)
        left -= changed
    shuffled = random.Random(1).sample(list(tuned.items()), len(tuned))
    return {
        "the same header": (tuned, ""),
        "a longer header": (tuned, "trained again"),
        "tensors in reverse order": (dict(reversed(tuned.items())), ""),
        "tensors in any order": (dict(shuffled), ""),
        "other names": ({f"model.{name}": content for name, content in tuned.items()}, ""),
    }


def write(path: Path, tensors: Tensors, note: str = "") -> Path:
    said: dict[str, object] = {"__metadata__": {"note": note}}
    at = 0
    for name, content in tensors.items():
        said[name] = {"dtype": "F32", "shape": [len(content) // 4], "data_offsets": [at, at + len(content)]}
        at += len(content)
    header = json.dumps(said).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        out.writelines(tensors.values())
    return path.parent


class Far:
    """Another machine's blocks, counted."""

    name, local = "far", False

    def __init__(self, source: EmbeddedSource) -> None:
        self._source, self.sent = source, 0

    def block(self, cid: CID) -> bytes:
        block = self._source.block(cid)
        self.sent += len(block)
        return bytes(block)


def shares(base: Tensors, cut: Chunking, folder: Path) -> Mapping[str, float]:
    """Return for each fine-tune which share of its bytes is fetched by a machine that has the base."""
    there, here = (
        build_resolver(Settings(cache_dir=folder / name / "hub", state_dir=folder / name / "state", chunking=cut))
        for name in ("there", "here")
    )
    far = Far(embedded(there.catalog))
    fetch = partial(_fetch, here, [embedded(here.catalog), far])
    fetch(pin_folder(there, write(folder / "base" / WEIGHTS, base), "org/base").pin)
    found: dict[str, float] = {}
    for name, (tensors, note) in fine_tunes(base).items():
        tuned = pin_folder(there, write(folder / "tuned" / WEIGHTS, tensors, note), "org/tuned").pin
        far.sent = 0
        fetch(tuned)
        found[name] = far.sent / tuned.size
        # Neither machine has it when the next one comes.
        for resolver in (here, there):
            remove_pin(resolver.catalog, tuned)
    return found


def _fetch(resolver: Resolver, sources: list[Source], pin: Pin) -> None:
    resolver.bind(pin, "main", sources).put(WEIGHTS)


def seconds(path: Path, cut: Chunking) -> float:
    start = time.perf_counter()
    hash_file(path, chunking=cut)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
