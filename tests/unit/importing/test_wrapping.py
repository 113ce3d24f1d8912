from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from pinformers.importing.wrapping import METHOD, MODELS, AutoWrappers, beside_models, public_auto_classes

HOME = "package.models.auto.modeling_auto"


class Base:
    @classmethod
    def from_pretrained(cls, name: str, *args: object, **kwargs: object) -> tuple[object, ...]:
        """Load."""
        return (cls, name, args, kwargs)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(Base, "from_pretrained", vars(Base)["from_pretrained"])
    made = ModuleType(HOME)
    made.AutoOwn = type("AutoOwn", (Base,), {"__module__": HOME, "from_pretrained": Base.__dict__["from_pretrained"]})  # type: ignore[attr-defined]
    made.AutoInherits = type("AutoInherits", (Base,), {"__module__": HOME})  # type: ignore[attr-defined]
    made.AutoForeign = type("AutoForeign", (Base,), {"__module__": "elsewhere"})  # type: ignore[attr-defined]
    made.AutoWithout = type("AutoWithout", (), {"__module__": HOME})  # type: ignore[attr-defined]
    made.Autos = {"a": 1}  # type: ignore[attr-defined]
    return made


@pytest.fixture
def loads() -> list[str]:
    return []


@pytest.fixture
def wrappers(loads: list[str]) -> AutoWrappers:
    @contextlib.contextmanager
    def loading(name: str) -> Iterator[None]:
        loads.append(name)
        yield

    return AutoWrappers(loading)


def test_the_module_s_own_loadable_auto_classes_are_wrapped_where_their_method_is(
    module: ModuleType, wrappers: AutoWrappers
) -> None:
    wrappers.wrap_module(module)
    assert [owner.__name__ for owner, _ in wrappers._before] == ["AutoOwn", "Base"]
    assert "from_pretrained" not in vars(module.AutoInherits)


@pytest.mark.parametrize("name", ["AutoOwn", "AutoInherits"])
def test_a_call_reaches_the_original_as_it_came(
    module: ModuleType, wrappers: AutoWrappers, loads: list[str], name: str
) -> None:
    cls: Any = getattr(module, name)
    wrappers.wrap_module(module)
    assert cls.from_pretrained("org/model", 1, key=2) == (cls, "org/model", (1,), {"key": 2})
    assert cls.from_pretrained(name="org/model") == (cls, "org/model", (), {})
    child = type("Child", (cls,), {})
    assert child.from_pretrained("x")[0] is child  # type: ignore[attr-defined]
    assert loads == [{"AutoInherits": "Base"}.get(name, name)] * 3


def test_signature_and_doc_are_the_original_s(module: ModuleType, wrappers: AutoWrappers) -> None:
    before, original = inspect.signature(module.AutoOwn.from_pretrained), vars(Base)["from_pretrained"].__func__
    wrappers.wrap_module(module)
    assert inspect.signature(module.AutoOwn.from_pretrained) == before
    assert module.AutoOwn.from_pretrained.__doc__ == "Load."
    assert module.AutoOwn.from_pretrained.__wrapped__ is original
    assert inspect.getsourcefile(module.AutoOwn.from_pretrained) == __file__
    assert inspect.getfullargspec(module.AutoOwn.from_pretrained).args == ["cls", "name"]


def test_undo_puts_back_exactly_what_was_there(module: ModuleType, wrappers: AutoWrappers) -> None:
    before = {name: dict(vars(getattr(module, name))) for name in ("AutoOwn", "AutoInherits")}
    wrappers.wrap_module(module)
    wrappers.wrap_module(module)
    wrappers.undo()
    for name, members in before.items():
        assert dict(vars(getattr(module, name))) == members


def test_undo_leaves_what_somebody_else_put_there(module: ModuleType, wrappers: AutoWrappers) -> None:
    wrappers.wrap_module(module)
    theirs = classmethod(lambda cls: None)
    module.AutoOwn.from_pretrained = theirs
    wrappers.undo()
    assert vars(module.AutoOwn)["from_pretrained"] is theirs


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_another_method_of_either_kind_can_be_wrapped(kind: Any, wrappers: AutoWrappers, loads: list[str]) -> None:
    before = kind(lambda *args, key=0: (args, key))
    cls: Any = type("Model", (), {"read": before})
    wrappers.wrap(cls, method="read")
    assert cls.read(1, key=2) == (((cls, 1) if kind is classmethod else (1,)), 2)
    assert loads == ["Model"]
    wrappers.undo()
    assert vars(cls)["read"] is before


@pytest.mark.parametrize("theirs", [mock.MagicMock(), classmethod(mock.MagicMock()), lambda cls: None])
def test_somebody_s_mock_stays(theirs: Any, wrappers: AutoWrappers) -> None:
    cls = type("AutoMocked", (), {METHOD: theirs})
    wrappers.wrap(cls)
    assert vars(cls)[METHOD] is theirs


def test_undo_once_more_undoes_what_came_after(module: ModuleType, wrappers: AutoWrappers) -> None:
    before = vars(module.AutoOwn)[METHOD]
    wrappers.undo()
    wrappers.wrap_module(module)
    wrappers.undo()
    assert vars(module.AutoOwn)[METHOD] is before


@pytest.mark.parametrize(("home", "seen"), [(MODELS, ["PreTrainedModel"]), ("elsewhere", [])])
def test_what_a_model_s_own_method_asks_is_asked_beside_it(
    home: str, seen: list[str], wrappers: AutoWrappers, loads: list[str]
) -> None:
    ask = beside_models(wrappers._loading, lambda name, key=0: (name, key, *loads))
    names: dict[str, Any] = {"__name__": home, "ask": ask}
    exec("def between(): return ask('x', key=1)\ndef from_pretrained(): return between()", names)
    assert names["from_pretrained"]() == ("x", 1, *seen)
    assert names["between"]() == ("x", 1, *seen)
    assert loads == seen


def test_names_come_from_the_lazy_table_and_nothing_is_imported() -> None:
    module = ModuleType("package")
    module._class_to_module = {  # type: ignore[attr-defined]
        "AutoModel": "models.auto.modeling_auto",
        "AutoVideoProcessor": "models.auto.video_processing_auto",
        "AutoformerModel": "models.autoformer.modeling_autoformer",
        "AutoRoundConfig": "utils.quantization_config",
        "MODEL_MAPPING": "models.auto.modeling_auto",
    }
    module._object_missing_backend = {"AutoVideoProcessor": ["torchvision"]}  # type: ignore[attr-defined]
    assert public_auto_classes(module) == ["AutoModel"]
    assert public_auto_classes(ModuleType("plain")) == []
