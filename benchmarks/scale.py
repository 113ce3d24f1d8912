"""The curves of the plots: how the cost grows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from benchmarks import catalogs, processes
from benchmarks.rooms import Env, Shop, gateway
from pin_rooms import make_resolver
from pinformers.pinning.folder import pin_folder

REPO = "org/curve"


def curves(shop: Shop) -> None:
    """Measure every curve."""
    sizes(shop)
    numbers(shop)
    processes.curve(shop)
    catalogs.curve(shop)


def sizes(shop: Shop) -> None:
    """A cold fetch, by the size of the model."""
    for mib in (16, 64, 256, *((1024,) if shop.full else ())):
        repo, folder = f"{REPO}-{mib}", shop.weights(mib, 4)
        owner = shop.home(f"curve-{mib}", PINFORMERS_LOG="warning")
        root = shop.pin_folder(owner, folder, repo)
        with shop.serve(owner) as url, shop.near(folder, repo):
            sides = {
                "from pinformers serve": ("fetch", gateway(url), root),
                "huggingface_hub": ("download", {}, repo),
                "copy and sha256": ("copy", {}, folder),
            }
            turns = [partial(_fetch, shop, f"curve size, {label}, {mib}", *side) for label, side in sides.items()]
            shop.book.turns(shop.pick(3, 10), *turns)
        for label in sides:
            shop.book.point(f"curve size, {label}, {mib}", curve="size", label=label, x=mib)
        shop.leave(owner)


def _fetch(shop: Shop, series: str, work: str, extra: Env, what: str | Path) -> dict[str, float]:
    env = shop.home(**extra)
    more = [Path(env["HOME"]) / "copy"] if work == "copy" else []
    seconds = shop.book.taker.inside(work, what, *more, env=env).values[0]
    shop.leave(env)
    return {series: seconds}


def numbers(shop: Shop) -> None:
    """Resolving a model that is here, by the number of its files."""
    counts = (1, 10, 100, *((1000,) if shop.full else ()))
    labels = {"a pin, every file checked against its record": _pinned, "huggingface_hub's look into the cache": _plain}
    turns, homes = [], {count: _pinned_home(shop, count) for count in counts}
    for count, (home, paths) in homes.items():
        for label, work in labels.items():
            series = f"curve files, {label}, {count}"
            turns.append(partial(_call, shop, series, partial(work, home, paths)))
            shop.book.point(series, curve="files", label=label, x=count)
    shop.book.turns(shop.pick(20, 100), *turns)


def _pinned_home(shop: Shop, count: int) -> tuple[Path, list[str]]:
    home = shop.folder / f"files-{count}"
    folder = home / "folder"
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"part-{number:04}.bin").write_bytes(b"%d" % number * 1000)
    return home, sorted(pin_folder(make_resolver(home), folder, REPO).pin.files)


def _pinned(home: Path, paths: list[str]) -> None:
    found = make_resolver(home).find(REPO, None)
    assert found is not None and found.deliver(paths)


def _plain(home: Path, paths: list[str]) -> None:
    assert all(try_to_load_from_cache(REPO, path, cache_dir=home / "hub") for path in paths)


def _call(shop: Shop, series: str, work: Callable[[], None]) -> dict[str, float]:
    return {series: shop.book.taker.call(work)}
