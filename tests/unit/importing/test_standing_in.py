"""A stand-in looks like what it stands for, and is known as ours only by us."""

from __future__ import annotations

import functools
import inspect
import pickle
import threading
from types import FunctionType
from typing import Any

import pytest

from pinformers.importing.standing_in import stand_in, stands_in


def everything(a: int, /, b: str = "b", *rest: int, c: list[int], d: object = None, **more: object) -> Any:
    """Say what came."""
    return a, b, rest, c, d, more


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def bare() -> None: ...


def keyword(*, only: int) -> int:
    return only


signed = decorated(keyword)
signed.__signature__ = inspect.Signature([inspect.Parameter("other", inspect.Parameter.POSITIONAL_OR_KEYWORD)])


class Home:
    @classmethod
    def load(cls, name: str = "x", *args: object) -> Any:
        return cls, name, args


copied = functools.update_wrapper(
    FunctionType(Home.load.__func__.__code__, globals(), argdefs=("y",)),  # type: ignore[attr-defined]
    Home.load.__func__,  # type: ignore[attr-defined]
)


@pytest.mark.parametrize("original", [everything, decorated(everything), bare, keyword, signed, copied])
def test_it_shows_what_the_original_shows(original: Any) -> None:
    function = stand_in(original, original)
    for look in (
        inspect.signature,
        inspect.getfullargspec,
        lambda seen: inspect.signature(seen, follow_wrapped=False),
        inspect.getsourcefile,
        inspect.getsource,
        inspect.getdoc,
        lambda seen: (seen.__name__, seen.__qualname__, seen.__module__, seen.__defaults__, seen.__kwdefaults__),
        lambda seen: {name: value for name, value in vars(seen).items() if name != "__wrapped__"},
    ):
        assert look(function) == look(original)
    assert function.__wrapped__ is original  # type: ignore[attr-defined]
    told = {"co_filename", "co_firstlineno", "co_name", "co_qualname", "co_argcount", "co_posonlyargcount"}
    told |= {"co_kwonlyargcount"}
    assert [getattr(function.__code__, name, None) for name in told] == [
        getattr(original.__code__, name, None) for name in told
    ]


def test_a_call_comes_as_it_came() -> None:
    calls: list[Any] = []

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return everything(*args, **kwargs)

    function: Any = stand_in(everything, wrapper)
    mine: list[int] = []
    assert function(1, c=mine) == (1, "b", (), mine, None, {})
    assert function(1, "x", 2, 3, c=mine, d=4, e=5) == (1, "x", (2, 3), mine, 4, {"e": 5})
    assert calls[1] == ((1, "x", 2, 3), {"c": mine, "d": 4, "e": 5})
    assert calls[0][1]["c"] is mine


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1,), {}), ((), {"a": 1})])
def test_a_wrong_call_is_told_of_in_the_same_words(args: Any, kwargs: Any) -> None:
    said = []
    for function in (everything, stand_in(everything, everything)):
        with pytest.raises(TypeError) as caught:
            function(*args, **kwargs)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_only_we_know_it() -> None:
    function = stand_in(keyword, keyword)
    assert stands_in(function) and stands_in(function.__get__(Home()))
    assert not stands_in(decorated(function)) and not stands_in(keyword) and not stands_in(Home)
    assert set(vars(function)) == {"__wrapped__"}


def test_written_by_value_it_needs_nothing_of_ours() -> None:
    """cloudpickle writes a method so, and what it finds no more under its name; what it closes over may have locks."""
    lock = threading.RLock()

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return "ours"

    (cell,) = stand_in(keyword, wrapper).__closure__ or ()
    content = pickle.dumps(cell.cell_contents)
    assert b"pinformers" not in content
    assert pickle.loads(content)(only=1) == 1
