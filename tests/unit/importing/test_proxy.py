from __future__ import annotations

import pickle
import sys
from types import ModuleType, SimpleNamespace

import pytest

from pinformers.importing import proxy


class Lazy(ModuleType):
    """Like transformers' _LazyModule: computes names, keeps them, pickles by its class."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("Auto"):
            setattr(self, name, name)
            return name
        raise AttributeError(name)

    def __reduce__(self) -> tuple[object, ...]:
        return (self.__class__, (self.__name__,))


@pytest.fixture
def lazy() -> Lazy:
    return Lazy("lazy")


def test_the_object_stays_and_the_class_says_nothing(lazy: Lazy) -> None:
    before = type(lazy)
    proxy.seat(lazy, lambda *_: None)
    assert proxy.seated(lazy)
    assert isinstance(lazy, Lazy)
    assert (type(lazy).__name__, type(lazy).__module__, type(lazy).__qualname__) == (
        before.__name__,
        before.__module__,
        before.__qualname__,
    )


def test_a_resolved_name_is_announced_once(lazy: Lazy) -> None:
    heard: list[tuple[str, object]] = []
    proxy.seat(lazy, lambda name, value: heard.append((name, value)))
    assert lazy.AutoModel == lazy.AutoModel == "AutoModel"
    assert heard == [("AutoModel", "AutoModel")]
    with pytest.raises(AttributeError):
        _ = lazy.nothing
    assert len(heard) == 1


def test_seating_twice_is_once_and_unseating_gives_the_class_back(lazy: Lazy) -> None:
    proxy.seat(lazy, lambda *_: None)
    seat = type(lazy)
    proxy.seat(lazy, lambda *_: None)
    assert type(lazy) is seat
    proxy.unseat(lazy)
    assert type(lazy) is Lazy
    proxy.unseat(lazy)
    assert type(lazy) is Lazy


def test_pickle_names_the_class_that_others_know(lazy: Lazy) -> None:
    proxy.seat(lazy, lambda *_: None)
    assert type(pickle.loads(pickle.dumps(lazy))) is Lazy


def test_what_is_no_module_is_not_seated(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = SimpleNamespace()
    proxy.seat(stranger, lambda *_: None)  # type: ignore[arg-type]
    proxy.forward(stranger)  # type: ignore[arg-type]
    assert type(stranger) is SimpleNamespace


def test_a_replaced_module_answers_with_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = ModuleType("twice"), Lazy("twice")
    old.own = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "twice", new)
    proxy.forward(old)
    assert old.AutoModel == "AutoModel"
    assert old.own == 1
    with pytest.raises(AttributeError):
        _ = old.nothing
    monkeypatch.setitem(sys.modules, "twice", old)
    with pytest.raises(AttributeError, match="'twice' has no attribute 'AutoModel'"):
        _ = old.AutoModel
    proxy.unseat(old)
    assert type(old) is ModuleType
