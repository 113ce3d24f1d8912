"""Rows 4, 5 and 14: `from_pretrained` of what is here, and of what is loaded for the first time."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.pairs import Child
from benchmarks.results import Line
from benchmarks.rooms import MINILM, TINY, Env, Shop

MODELS = {"tiny BERT": TINY, "MiniLM": MINILM}
CALLS = 21
FIRST, LATER, TURNS = "first call of a process", "later calls", "later calls, in one process in turn"


def warm(shop: Shop) -> None:
    """Rows 4 and 5: three sides, of which plain offline says how little a load can cost."""
    shop.publish()
    for name, repo in MODELS.items():
        sides = {
            "offline": shop.home("plain", HF_HUB_OFFLINE="1"),
            "online": shop.home("plain"),
            "ours": shop.home("ours", PINFORMERS="1", PINFORMERS_LOG="warning"),
        }
        for side in ("online", "ours"):
            shop.book.taker.inside("load", repo, env=sides[side])
        # Recorded before a process ends, it is pinned now: the rounds find it there.
        shop.cli(sides["ours"], "flush")
        asked: dict[str, list[int]] = {"online": [], "ours": []}
        turns = [partial(_turn, shop, f"4 {name}", repo, side, env, asked) for side, env in sides.items()]
        turns.append(partial(_in_turn, shop, f"4 {name}, {TURNS}", repo, sides["ours"], asked["ours"]))
        shop.book.turns(shop.pick(3, 12), *turns)
        _lines(shop, name, asked)


def _turn(shop: Shop, prefix: str, repo: str, side: str, env: Env, asked: dict[str, list[int]]) -> dict[str, float]:
    with _counted(shop, asked.get(side, [])):
        first, *later = shop.book.taker.inside("load", repo, env=env, values=CALLS).values
    return {f"{prefix}, {FIRST}, {side}": first, f"{prefix}, {LATER}, {side}": statistics.median(later)}


def _in_turn(shop: Shop, prefix: str, repo: str, env: Env, asked: list[int]) -> dict[str, float]:
    with _counted(shop, asked):
        values = shop.book.taker.inside("turns", repo, env=env, values=2 * shop.pick(6, 30), loops=3).values
    # As it takes them: on, off, off, on.
    on, off = ([value for at, value in enumerate(values, 1) if at // 2 % 2 == side] for side in (0, 1))
    return {f"{prefix}, ours": statistics.median(on), f"{prefix}, offline": statistics.median(off)}


@contextmanager
def _counted(shop: Shop, asked: list[int]) -> Iterator[None]:
    requests, connections = len(shop.hub.requests), shop.hub.connections
    yield
    asked.append(max(len(shop.hub.requests) - requests, shop.hub.connections - connections))


def _lines(shop: Shop, name: str, asked: dict[str, list[int]]) -> None:
    online = "plain online, 20 ms a request"
    for call, target in ((FIRST, 1.03), (TURNS, 1.03), (LATER, None)):
        of = {side: f"4 {name}, {call}, {side}" for side in ("ours", "offline", "online")}
        what = f"warm tokenizer and model, {name}, {call}"
        alone = ", in processes of their own" * (call == LATER)
        shop.book.line(Line(4, what + alone, "plain with HF_HUB_OFFLINE=1", of["ours"], of["offline"], target))
        if call != TURNS:
            shop.book.line(Line(5, what, online, of["ours"], of["online"], 1 / 3))
            floor = f"the floor of the line above: plain with HF_HUB_OFFLINE=1, {name}, {call}"
            shop.book.line(Line(5, floor, online, of["offline"], of["online"], None))
    series = {side: f"4 {name}, requests, {side}" for side in asked}
    for requests in asked["online"]:
        shop.book.keep(series["online"], requests, "integer")
    what = f"requests or connections of a process with {CALLS} warm loads or more, {name}"
    line = Line(4, what, "plain online", series["online"], series["online"], 0, "count", max(asked["ours"]))
    shop.book.line(line)


def first(shop: Shop) -> None:
    """Row 14: new homes each time, empty or with a hub cache that only plain transformers has used."""
    shop.publish()
    kept = shop.home("first-cached")
    shop.book.taker.inside("load", MINILM, env=kept)
    cases: dict[str, Callable[[Env], None]] = {
        "the hub cache holds it": lambda env: _fill(kept, env),
        "the hub delivers it": lambda env: None,
    }
    for case, prepare in cases.items():
        on = {"PINFORMERS": "1", "PINFORMERS_LOG": "warning"}
        sides = {f"14 {case}, plain": {}, f"14 {case}, ours": on}
        turns = [partial(_first, shop, series, prepare, extra) for series, extra in sides.items()]
        shop.book.turns(shop.pick(3, 12), *turns)
        for span in ("load", "whole process"):
            what = f"first load of MiniLM, {case}, {span}"
            shop.book.line(Line(14, what, "plain", f"14 {case}, ours, {span}", f"14 {case}, plain, {span}", 1.03))


def _first(shop: Shop, series: str, prepare: Callable[[Env], None], extra: Env) -> dict[str, float]:
    env = shop.home(**extra)
    prepare(env)
    child: Child = shop.book.taker.inside("load", MINILM, env=env)
    shop.leave(env)
    return {f"{series}, load": child.values[0], f"{series}, whole process": child.whole}


def _fill(kept: Env, env: Env) -> None:
    """Give a home the cache of another, as new files with the old times."""
    source, target = (Path(one["HF_HOME"]) / "hub" for one in (kept, env))
    shutil.copytree(source, target, symlinks=True)
