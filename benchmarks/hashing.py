"""Hash and pin bytes in memory and on disk against plain sha256: the floor that nobody gets under.

`python benchmarks/hashing.py [MIB]` prints MB/s and ratios.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pinformers.ipfs.unixfs import hash_file


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sha256_of(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(mib: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        with open(path, "wb") as out:
            for _ in range(mib):
                out.write(os.urandom(1 << 20))
        sha256_of(path)
        pairs = [(seconds(lambda: sha256_of(path)), seconds(lambda: hash_file(path))) for _ in range(7)]
        plain, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(second / first for first, second in pairs)
        print(f"sha256 {mib / plain:.0f} MiB/s; CID and sha256 in one pass {mib / ours:.0f} MiB/s; ratio {ratio:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
