"""Replacements reach every binding in every module, and go without a trace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from pinformers.importing.everywhere import Everywhere, loaded
from pinformers.importing.swaps import Function


class Api:
    def ask(self) -> str:
        return "original"


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
def everywhere() -> Iterator[Everywhere]:
    made = Everywhere()
    yield made
    made.undo()


def test_a_function_is_replaced_under_every_name(module: Callable[..., ModuleType], everywhere: Everywhere) -> None:
    home, user = module("ev_home", ask=ask), module("ev_user", ask=ask, other=ask, rest=len)
    everywhere.function(home, "ask", wrap)
    assert home.ask is ask
    everywhere.place(loaded())
    assert home.ask is user.ask is user.other
    assert home.ask() == "wrapped original" and user.rest is len
    user.late = home.ask
    everywhere.undo()
    assert home.ask is user.ask is user.other is user.late is ask


def test_a_name_that_is_not_there_is_left_alone(module: Callable[..., ModuleType], everywhere: Everywhere) -> None:
    home = module("ev_home")
    everywhere.function(home, "ask", wrap)
    everywhere.method(Api, "nothing", wrap)
    everywhere.place([home])
    assert not hasattr(home, "ask") and not hasattr(Api, "nothing")


def test_what_is_replaced_is_not_replaced_again(module: Callable[..., ModuleType], everywhere: Everywhere) -> None:
    home = module("ev_home", ask=ask)
    for _ in range(2):
        everywhere.function(home, "ask", wrap)
        everywhere.method(Api, "ask", wrap)
        everywhere.place([home])
    assert (home.ask(), Api().ask()) == ("wrapped original", "wrapped original")


def test_a_method_is_replaced_where_it_is_bound_too(module: Callable[..., ModuleType], everywhere: Everywhere) -> None:
    api, before = Api(), vars(Api)["ask"]
    bound = api.ask
    one, two = module("ev_one", ask=bound), module("ev_two", again=bound)
    everywhere.method(Api, "ask", wrap)
    everywhere.place(loaded())
    assert one.ask is two.again and one.ask.__self__ is api
    assert (one.ask(), api.ask()) == ("wrapped original", "wrapped original")
    two.late = api.ask
    everywhere.undo()
    assert vars(Api)["ask"] is before
    assert one.ask is two.again is bound
    assert two.late == bound and two.late() == "original"


def test_undo_leaves_what_somebody_else_put_there(module: Callable[..., ModuleType], everywhere: Everywhere) -> None:
    home = module("ev_home", ask=ask)
    everywhere.function(home, "ask", wrap)
    everywhere.method(Api, "ask", wrap)
    everywhere.place([home])
    theirs, before = (lambda: "theirs"), vars(Api)["ask"].__closure__[0].cell_contents
    home.ask, Api.ask = theirs, theirs  # type: ignore[method-assign]
    everywhere.undo()
    assert home.ask is theirs and vars(Api)["ask"] is theirs
    Api.ask = before  # type: ignore[method-assign]


def test_one_module_may_have_another_wrapper(module: Callable[..., ModuleType], everywhere: Everywhere) -> None:
    home, user = module("ev_home", ask=ask), module("ev_user", ask=ask)
    everywhere.function(home, "ask", wrap)
    everywhere.place(loaded())
    everywhere.here(user, "ask", lambda original: lambda: f"here {original()}")
    assert (home.ask(), user.ask()) == ("wrapped original", "here original")
    everywhere.undo()
    assert home.ask is user.ask is ask
