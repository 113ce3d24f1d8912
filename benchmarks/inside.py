"""Pieces of work that a process measures of itself with pyperf: `inside.py OUT VALUES LOOPS WORK ARGS...`

What is imported at the top of a piece of work, before it returns the callable, does not count.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Started by its path: the modules beside it must not stand before anybody else's.
    del sys.path[0]

import pyperf

MIB = 1 << 20
Work = Callable[[], object]


def load(model: str, tokenizer: str = "yes") -> Work:
    """Load as a worker does."""
    # As scripts do at their top; without it the first load would import it, which says nothing of loads.
    import torch  # noqa: F401
    from transformers import AutoModel, AutoTokenizer

    def work() -> None:
        if tokenizer == "yes":
            AutoTokenizer.from_pretrained(model)
        AutoModel.from_pretrained(model)

    return work


def turns(model: str) -> Callable[[int], float]:
    """Load with pinformers on, and as plain transformers does with the hub switched off, in turn.

    That is once on, twice off, twice on, and so forth. The load after each change does not count.
    """
    from huggingface_hub import constants

    import pinformers

    work, numbers = load(model), itertools.count(1)
    work()

    def timed(loops: int) -> float:
        on = next(numbers) // 2 % 2 == 0
        (pinformers.enable if on else pinformers.disable)()
        constants.HF_HUB_OFFLINE = not on
        work()
        begin = time.perf_counter()
        for _ in range(loops):
            work()
        return time.perf_counter() - begin

    return timed


def attribute() -> Work:
    """Look an Auto class up, 100,000 times."""
    import transformers

    assert transformers.AutoModel

    def work() -> None:
        for _ in range(100_000):
            transformers.AutoModel  # noqa: B018

    return work


def fetch(root: str, how: str = "together") -> Work:
    """Have our sources deliver a model that is named by its CID: all files at once, or one after the other."""
    # A load has it imported; so has the process that downloads.
    import huggingface_hub.file_download  # noqa: F401

    import pinformers.sources.gateway
    import pinformers.sources.kubo  # noqa: F401
    from pinformers._composition import build_resolver
    from pinformers._settings import read_settings

    def work() -> None:
        pinned = build_resolver(read_settings({}).settings).refer(f"ipfs://{root}", None)
        assert pinned is not None
        paths = list(pinned.pin.files)
        for part in [paths] if how == "together" else [[path] for path in paths]:
            assert pinned.deliver(part)

    return work


def download(repo: str) -> Work:
    """Have huggingface_hub download a model."""
    from huggingface_hub import snapshot_download

    return lambda: snapshot_download(repo)


def copy(folder: str, target: str, durable: str = "no") -> Work:
    """Copy a folder and hash it on the way: the floor of every fetch; a ``durable`` one outlives a power cut."""
    return lambda: _pass(Path(folder), Path(target), durable=durable == "durable")


def receive(port: str, target: str) -> Work:
    """Receive files over a socket, hash each byte twice, in its block and in its file, and write it once.

    No fetch that verifies blocks and files can go below that on the same cores.
    """

    def work() -> None:
        out = Path(target)
        out.mkdir(parents=True)
        with socket.create_connection(("127.0.0.1", int(port))) as connection:
            for number in range(int.from_bytes(_exactly(connection, memoryview(bytearray(8))), "big")):
                _receive_file(connection, out / str(number))

    return work


def _receive_file(connection: socket.socket, path: Path) -> None:
    left, whole = int.from_bytes(_exactly(connection, memoryview(bytearray(8))), "big"), hashlib.sha256()
    buffers = itertools.cycle([(memoryview(bytearray(MIB)), list[Future[Any]]()) for _ in range(3)])
    with ThreadPoolExecutor(1) as blocks, ThreadPoolExecutor(1) as files, open(path, "wb", buffering=0) as written:
        while left:
            buffer, hashing = next(buffers)
            while hashing:
                hashing.pop().result()
            piece = _exactly(connection, buffer[: min(left, MIB)])
            hashing += [blocks.submit(lambda piece: hashlib.sha256(piece).digest(), piece)]
            hashing += [files.submit(whole.update, piece)]
            written.write(piece)
            left -= len(piece)


def _exactly(connection: socket.socket, buffer: memoryview) -> memoryview:
    at = 0
    while at < len(buffer):
        size = connection.recv_into(buffer[at:])
        assert size, "the sender is gone"
        at += size
    return buffer


def sha256(folder: str) -> Work:
    """Hash a folder: the floor of every pin."""
    return lambda: _pass(Path(folder), None)


def _pass(folder: Path, target: Path | None, *, durable: bool = False) -> None:
    buffer = memoryview(bytearray(MIB))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            out = target / path.relative_to(folder) if target is not None else Path(os.devnull)
            out.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with open(path, "rb", buffering=0) as stream, open(out, "wb", buffering=0) as written:
                while count := stream.readinto(buffer):
                    digest.update(buffer[:count])
                    if target is not None:
                        written.write(buffer[:count])
                if durable:
                    os.fsync(written.fileno())
            digest.digest()


def pin(model: str, *name: str) -> Work:
    """Pin a folder under a name, or what the hub cache holds of a model."""
    from pinformers._composition import build_resolver
    from pinformers._settings import read_settings
    from pinformers.pinning.folder import pin_folder
    from pinformers.pinning.hub_pins import Wanted, pin_model

    def work() -> None:
        resolver = build_resolver(read_settings({}).settings)
        if name:
            pin_folder(resolver, Path(model), name[0])
        else:
            pin_model(resolver, Wanted(model), lambda _: lambda _: None)

    return work


def resident(root: str) -> Work:
    """Fetch as `fetch` does; writes the bytes of memory before and at the peak to the file MEMORY."""
    deliver = fetch(root)

    def work() -> None:
        before = _memory("VmRSS")
        # From here on the kernel counts the peak anew.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        deliver()
        Path(os.environ["MEMORY"]).write_text(f"{before} {_memory('VmHWM')}", encoding="ascii")

    return work


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


WORKS: dict[str, Callable[..., Any]] = {
    work.__name__: work for work in (load, turns, attribute, fetch, download, copy, receive, sha256, pin, resident)
}


def main(out: str, values: str, loops: str, work: str, *args: str) -> None:
    runner = pyperf.Runner()
    counts = (f"--loops={loops}", "--warmups=0", f"--values={values}")
    runner.parse_args(["--worker", *counts, "--quiet", f"--output={out}"])
    bench = runner.bench_time_func if work == "turns" else runner.bench_func
    try:
        bench(work, WORKS[work](*args))
    except BaseException:
        # Whoever started this process throws its output away, as `pyperf command` does.
        Path(out).with_suffix(".txt").write_text(traceback.format_exc(), encoding="utf-8")
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
