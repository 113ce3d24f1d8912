"""Rows 6, 7, 9 and 15: models that are not here yet, over loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.results import Line
from benchmarks.rooms import MIB, Env, Shop, counting, gateway
from kubo_repo import KuboDaemon

REPO = "org/weights"
_SENDER = """
import pathlib, socket, sys
files = sorted(path for path in pathlib.Path(sys.argv[1]).iterdir())
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    with listener.accept()[0] as connection:
        connection.sendall(len(files).to_bytes(8, "big"))
        for path in files:
            connection.sendall(path.stat().st_size.to_bytes(8, "big"))
            with open(path, "rb") as stream:
                connection.sendfile(stream)
"""


def from_kubo(shop: Shop) -> None:
    """Row 6: both sides get the blocks from one daemon, and then load the same weights."""
    mib = shop.pick(128, 1024)
    folder = shop.llama(mib, 8)
    owner = shop.home("row-6", PINFORMERS_LOG="warning")
    root = shop.pin_folder(owner, folder, REPO)
    lock = shop.folder / "row-6.lock"
    shop.cli(owner, "lock", REPO, "-o", lock)
    # The owner's copy is of no use to anybody here.
    shutil.rmtree(Path(owner["HF_HOME"]) / "hub")
    with shop.kubo("row-6-kubo", folder, root) as daemon:
        extra = {"PINFORMERS": "1", "PINFORMERS_LOCKFILE": str(lock), "PINFORMERS_KUBO_API": daemon.multiaddr}
        extra |= {"PINFORMERS_SOURCES": "embedded,kubo", "PINFORMERS_LOG": "warning"}
        shop.book.turns(
            shop.pick(3, 10),
            lambda: _cold_load(shop, "6 ours", REPO, shop.home(**extra)),
            lambda: _get_and_load(shop, "6 ipfs get", daemon, root),
        )
    what = f"cold load of a model of {mib} MiB in 8 shards, its blocks in the local Kubo"
    shop.book.line(Line(6, what, "`ipfs get`, then a plain load", "6 ours", "6 ipfs get", 0.5))
    shop.book.line(
        Line(6, f"the limit: the plain load alone, {mib} MiB", "the same", "6 ipfs get, load alone", "6 ipfs get", None)
    )


def _cold_load(shop: Shop, series: str, model: str, env: Env) -> dict[str, float]:
    seconds = shop.book.taker.inside("load", model, "no", env=env).values[0]
    shop.leave(env)
    return {series: seconds}


def _get_and_load(shop: Shop, series: str, daemon: KuboDaemon, root: str) -> dict[str, float]:
    env = shop.home(HF_HUB_OFFLINE="1")
    out = Path(env["HOME"]) / "model"
    got = _ipfs_get(shop, daemon, root, out)
    loaded = _cold_load(shop, series, str(out), env)[series]
    return {series: got + loaded, f"{series}, load alone": loaded}


def _ipfs_get(shop: Shop, daemon: KuboDaemon, root: str, out: Path) -> float:
    command = [daemon.repo.binary, "get", "--progress=false", "-o", out, root]
    return shop.book.taker.command(command, daemon.repo.environ)


def from_gateways(shop: Shop) -> None:
    """Row 7: five ways to the same bytes; the hub answers at once, as if it were as near as the gateways."""
    mib = shop.pick(256, 1024)
    sizes = shop.weights(mib, 4)
    owner = shop.home("row-7", PINFORMERS_LOG="warning")
    root = shop.pin_folder(owner, sizes, REPO)
    with (
        shop.kubo("row-7-kubo", sizes, root) as daemon,
        shop.serve(owner) as url,
        shop.near(sizes, REPO),
        sender(sizes) as port,
    ):
        sides: dict[str, Callable[[Env], float]] = {
            "Kubo's gateway": lambda env: _inside(shop, env | gateway(daemon.gateway), "fetch", root),
            "pinformers serve": lambda env: _inside(shop, env | gateway(url), "fetch", root),
            "huggingface_hub": lambda env: _inside(shop, env, "download", REPO),
            "ipfs get": lambda env: _ipfs_get(shop, daemon, root, Path(env["HOME"]) / "got"),
            "copy and sha256": lambda env: _inside(shop, env, "copy", sizes, Path(env["HOME"]) / "copy"),
            "two hashes": lambda env: _inside(shop, env, "receive", port, Path(env["HOME"]) / "received"),
            "copy, sha256 and fsync": lambda env: _inside(
                shop, env, "copy", sizes, Path(env["HOME"]) / "copy", "durable"
            ),
        }
        shop.book.turns(shop.pick(5, 15), *[partial(_in_new_home, shop, "7", *side) for side in sides.items()])
    others = {"huggingface_hub": "huggingface_hub's download from the stub", "ipfs get": "`ipfs get`"}
    floor = "the floor: copy and sha256 of the same bytes"
    named = others | {"copy, sha256 and fsync": "the floor with an fsync of each file, as we do it"}
    targets = {
        "Kubo's gateway": {**dict.fromkeys(others, 1.0), "copy and sha256": None},
        "pinformers serve": {**dict.fromkeys(others, 1.0), "copy and sha256": 1.3, "copy, sha256 and fsync": None},
    }
    for ours, against in targets.items():
        for theirs, most in against.items():
            what = f"cold fetch of {mib} MiB in 4 files from {ours}"
            shop.book.line(Line(7, what, named.get(theirs, floor), f"7 {ours}", f"7 {theirs}", most))
    what = "the limit here: the bytes come over one socket, are hashed in block and file, and written; no HTTP, no DAG"
    shop.book.line(Line(7, what, floor, "7 two hashes", "7 copy and sha256", None))


@contextmanager
def sender(folder: Path) -> Iterator[str]:
    """Send the files of a folder, in their order, to whoever connects; yields the port."""
    with subprocess.Popen([sys.executable, "-c", _SENDER, folder], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _inside(shop: Shop, env: Env, work: str, *args: str | Path) -> float:
    return shop.book.taker.inside(work, *args, env=env).values[0]


def _in_new_home(shop: Shop, row: str, side: str, work: Callable[[Env], float]) -> dict[str, float]:
    env = shop.home()
    seconds = work(env)
    shop.leave(env)
    return {f"{row} {side}".strip(): seconds}


def memory(shop: Shop) -> None:
    """Row 9: the peak of a process that fetches one big file, against what it took before."""
    mib = shop.pick(512, 4096)
    folder = shop.weights(mib, 1, "row-9")
    owner = shop.home("row-9-owner", PINFORMERS_LOG="warning")
    root = shop.pin_folder(owner, folder, REPO)
    shutil.rmtree(folder)
    with shop.serve(owner) as url:
        for _ in range(shop.pick(3, 5)):
            env = shop.home(**gateway(url))
            said = Path(env["HOME"]) / "memory"
            shop.book.taker.inside("resident", root, env=env | {"MEMORY": str(said)})
            before, peak = map(int, said.read_text(encoding="ascii").split())
            shop.book.keep("9 before", before, "byte")
            shop.book.keep("9 peak", peak, "byte")
            shop.leave(env)
    shop.leave(owner)
    what = f"peak memory of a process that fetches a file of {mib} MiB"
    shop.book.line(Line(9, what, "the same process before the fetch", "9 peak", "9 before", 64 * MIB, "difference"))


def shards(shop: Shop) -> None:
    """Row 15: a gateway that answers late, out of the memory of this process."""
    mib = shop.pick(8, 64)
    folder = shop.weights(8 * mib, 8)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    server, root = counting(files, delay=0.02)
    with server:
        sides: dict[str, Callable[[Env], float]] = {
            how: partial(_late, shop, server.url, root, how) for how in ("together", "in turn")
        }
        shop.book.turns(shop.pick(5, 15), *[partial(_in_new_home, shop, "15", *side) for side in sides.items()])
    what = f"cold fetch of 8 shards of {mib} MiB, asked for at once, from a gateway that takes 20 ms a request"
    shop.book.line(Line(15, what, "the same, asked for one after the other", "15 together", "15 in turn", 0.9))


def _late(shop: Shop, url: str, root: str, how: str, env: Env) -> float:
    return _inside(shop, env | gateway(url), "fetch", root, how)
