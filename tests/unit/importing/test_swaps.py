"""Replacements reach every binding in every module, and go without a trace."""

from __future__ import annotations

import functools
import gc
import importlib.util
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from pinformers.importing.standing_in import Function
from pinformers.importing.swaps import Swaps, loaded, namespace, weakly


class Api:
    def ask(self) -> str:
        return "original"


class Shy:
    """Like a proxy of settings that are not there yet: whoever asks what it is runs it."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise LookupError("not configured")


def ask() -> str:
    return "original"


def wrap(original: Function) -> Function:
    return lambda *args: f"wrapped {original(*args)}"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    def make(name: str, **names: Any) -> ModuleType:
        made = ModuleType(name)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    return make


@pytest.fixture
def swaps() -> Iterator[Swaps]:
    made = Swaps()
    yield made
    made.undo()


def test_a_function_is_replaced_under_every_name(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    home, user = module("sw_home", ask=ask), module("sw_user", ask=ask, other=ask, rest=len)
    swaps.function(home, "ask", wrap)
    assert home.ask is ask
    swaps.place(loaded())
    assert home.ask is user.ask is user.other
    assert home.ask() == "wrapped original" and user.rest is len
    user.late = home.ask
    swaps.undo()
    assert home.ask is user.ask is user.other is user.late is ask


def test_a_look_at_all_names_calls_nothing_for_each(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    """A process with torch holds 130 000 names, and id() of each was most of what disable() cost."""
    calls: list[object] = []
    large = module("sw_large", ask=ask, **{f"name_{count}": str(count) for count in range(1000)})
    swaps.function(large, "ask", wrap)
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, called: calls.append(called) if event == "c_call" else None)
    try:
        swaps.place([module("sw_other", **{**vars(large), "ask": len})])
    finally:
        sys.setprofile(before)
    assert len(calls) < 100
    swaps.place([large])
    assert large.ask() == "wrapped original"


def test_a_name_that_is_not_there_is_left_alone(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    home = module("sw_home")
    swaps.function(home, "ask", wrap)
    swaps.method(Api, "nothing", wrap)
    swaps.place([home])
    assert not hasattr(home, "ask") and not hasattr(Api, "nothing")


def test_what_is_replaced_is_not_replaced_again(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    home = module("sw_home", ask=ask)
    for _ in range(2):
        swaps.function(home, "ask", wrap)
        swaps.function(module("sw_other", ask=ask), "ask", wrap)
        swaps.method(Api, "ask", wrap)
        swaps.place([home])
    assert (home.ask(), Api().ask()) == ("wrapped original", "wrapped original")
    before = home.ask
    above = Swaps()
    above.function(home, "ask", wrap)
    above.place([home])
    assert home.ask is before


def test_a_method_is_replaced_where_it_is_bound_too(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    api, before = Api(), vars(Api)["ask"]
    bound = api.ask
    one, two = module("sw_one", ask=bound), module("sw_two", again=bound)
    swaps.method(Api, "ask", wrap)
    swaps.place(loaded())
    assert one.ask is two.again and one.ask.__self__ is api
    assert (one.ask(), api.ask()) == ("wrapped original", "wrapped original")
    two.late = api.ask
    swaps.undo()
    assert vars(Api)["ask"] is before
    assert one.ask is two.again is bound
    assert two.late == bound and two.late() == "original"


def test_one_may_lie_over_another(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    before, bound = vars(Api)["ask"], Api().ask
    user = module("sw_user", ask=bound)
    swaps.method(Api, "ask", wrap)
    swaps.place([user])
    below = user.ask
    above = Swaps()
    above.method(Api, "ask", wrap)
    above.place([user])
    assert Api().ask() == user.ask() == "wrapped wrapped original"
    above.undo()
    assert user.ask is below and Api().ask() == "wrapped original"
    swaps.undo()
    assert user.ask is bound and vars(Api)["ask"] is before


def test_undo_leaves_what_somebody_else_put_there(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    home, before = module("sw_home", ask=ask), vars(Api)["ask"]
    swaps.function(home, "ask", wrap)
    swaps.method(Api, "ask", wrap)
    swaps.place([home])
    theirs = lambda: "theirs"  # noqa: E731
    home.ask, Api.ask = theirs, theirs  # type: ignore[method-assign]
    swaps.undo()
    assert home.ask is theirs and vars(Api)["ask"] is theirs
    Api.ask = before  # type: ignore[method-assign]


def test_what_others_made_of_ours_is_theirs(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    home, before = module("sw_home", ask=ask), vars(Api)["ask"]
    swaps.function(home, "ask", wrap)
    swaps.method(Api, "ask", wrap)
    swaps.place([home])
    # functools.wraps copies whatever marks a function.
    traced = functools.wraps(home.ask)(lambda: f"traced {ask()}")
    method = functools.wraps(Api.ask)(lambda self: f"traced {before(self)}")
    home.ask, Api.ask = traced, method  # type: ignore[method-assign]
    swaps.undo()
    again = Swaps()
    again.function(home, "ask", wrap)
    again.method(Api, "ask", wrap)
    again.place([home])
    assert home.ask() == Api().ask() == "wrapped traced original"
    again.undo()
    assert home.ask is traced and vars(Api)["ask"] is method
    Api.ask = before  # type: ignore[method-assign]


def test_one_module_may_have_another_wrapper(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    home, user = module("sw_home", ask=ask), module("sw_user", ask=ask)
    swaps.function(home, "ask", wrap)
    swaps.place(loaded())
    swaps.here(user, "ask", lambda original: lambda: f"here {original()}")
    assert (home.ask(), user.ask()) == ("wrapped original", "here original")
    swaps.place(loaded())
    assert user.ask() == "here original"
    assert pickle.loads(pickle.dumps(user.ask)) is user.ask
    swaps.undo()
    assert home.ask is user.ask is ask


@pytest.mark.parametrize("make", [mock.MagicMock, Shy, lambda: len])
def test_what_is_no_function_is_somebody_s_own(
    make: Callable[[], Any], module: Callable[..., ModuleType], swaps: Swaps
) -> None:
    fake = make()
    home = module("sw_home", ask=fake)
    with mock.patch.object(Api, "ask", fake):
        swaps.function(home, "ask", wrap)
        swaps.method(Api, "ask", wrap)
        swaps.place([home])
        assert home.ask is fake and vars(Api)["ask"] is fake


def test_a_module_that_waits_to_be_loaded_waits_on(
    module: Callable[..., ModuleType], swaps: Swaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waiting.py").write_text("raise ImportError('an optional part is not here')")
    spec = importlib.util.spec_from_file_location("waiting", tmp_path / "waiting.py")
    assert spec is not None and spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    waiting = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(waiting)
    monkeypatch.setitem(sys.modules, "waiting", waiting)
    home = module("sw_home", ask=ask)
    swaps.function(home, "ask", wrap)
    swaps.place(loaded())
    swaps.undo()
    assert home.ask is ask
    with pytest.raises(ImportError):
        _ = waiting.ask


def test_nobody_is_asked_what_he_is(
    module: Callable[..., ModuleType], swaps: Swaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, user = module("sw_home", ask=ask), module("sw_user", settings=Shy(), ask=ask)
    monkeypatch.setitem(sys.modules, "sw_shy", Shy())  # type: ignore[arg-type]
    swaps.function(home, "ask", wrap)
    swaps.method(Api, "ask", wrap)
    swaps.place(loaded())
    assert user.ask() == "wrapped original"
    swaps.undo()
    assert user.ask is ask
    assert namespace(sys.modules["sw_shy"]) == namespace(None) == {}


def test_a_module_that_was_thrown_out_is_put_back_too(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    home = module("sw_home", ask=ask)
    swaps.function(home, "ask", wrap)
    swaps.place([home])
    del sys.modules["sw_home"]
    swaps.undo()
    assert home.ask is ask


def test_what_was_under_way_during_undo_is_undone_by_another(module: Callable[..., ModuleType], swaps: Swaps) -> None:
    home, other, before = module("sw_home", ask=ask), module("sw_other", ask=ask), vars(Api)["ask"]
    swaps.function(home, "ask", wrap)
    swaps.place([home])
    wrapper = home.ask
    swaps.undo()
    other.ask = wrapper
    swaps.method(Api, "ask", wrap)
    swaps.undo()
    assert other.ask is ask and vars(Api)["ask"] is before


def test_what_is_held_weakly_is_called_while_somebody_holds_it() -> None:
    class Owner:
        def method(self) -> str:
            return "called"

    owner = Owner()
    call = weakly(owner.method, "nobody is there")
    gc.collect()
    assert call() == "called"
    del owner
    gc.collect()
    assert call() == "nobody is there"
