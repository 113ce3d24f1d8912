from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from pinformers.importing.swaps import Function, Swaps


def ask() -> str:
    return "original"


def wrap(original: Function) -> Function:
    def wrapper(*args: Any) -> Any:
        return f"wrapped {original(*args)}"

    return wrapper


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("swap_home")
    module.ask = ask  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("swap_user")
    module.ask = ask  # type: ignore[attr-defined]
    module.other = ask  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.fixture
def swaps() -> Iterator[Swaps]:
    made = Swaps()
    yield made
    made.undo()


def test_define_and_sweep_reach_every_binding_of_that_name(home: ModuleType, user: ModuleType, swaps: Swaps) -> None:
    swaps.define(home, "ask", wrap)
    swaps.sweep(user)
    assert home.ask() == user.ask() == "wrapped original"
    assert home.ask is user.ask
    assert user.other is ask


def test_undo_restores_early_and_late_bindings(home: ModuleType, user: ModuleType, swaps: Swaps) -> None:
    swaps.define(home, "ask", wrap)
    user.ask = home.ask
    swaps.undo()
    assert home.ask is ask
    assert user.ask is ask


def test_a_wrapper_is_never_wrapped(home: ModuleType, swaps: Swaps) -> None:
    swaps.define(home, "ask", wrap)
    wrapper = home.ask
    swaps.define(home, "ask", wrap)
    assert home.ask is wrapper


def test_a_name_that_is_not_there_is_left_alone(home: ModuleType, swaps: Swaps) -> None:
    swaps.define(home, "nothing", wrap)
    assert not hasattr(home, "nothing")


def test_a_computed_name_is_computed_again_after_undo(home: ModuleType, swaps: Swaps) -> None:
    home.__getattr__ = lambda name: ask if name == "lazy" else None  # type: ignore[method-assign]
    swaps.define(home, "lazy", wrap)
    assert home.lazy() == "wrapped original"
    swaps.undo()
    assert "lazy" not in vars(home)
    assert home.lazy is ask


def test_undo_leaves_what_somebody_else_put_there(home: ModuleType, swaps: Swaps) -> None:
    swaps.define(home, "ask", wrap)
    theirs = lambda: "theirs"  # noqa: E731
    home.ask = theirs
    swaps.undo()
    assert home.ask is theirs


def test_a_wrapper_for_one_module_stays_there(home: ModuleType, user: ModuleType, swaps: Swaps) -> None:
    elsewhere = ModuleType("elsewhere")
    elsewhere.ask = ask  # type: ignore[attr-defined]
    swaps.define(home, "ask", lambda original: lambda: f"here {original()}", here=True)
    swaps.define(elsewhere, "ask", wrap)
    swaps.sweep(home)
    swaps.sweep(user)
    assert (home.ask(), user.ask(), elsewhere.ask()) == ("here original", "wrapped original", "wrapped original")
