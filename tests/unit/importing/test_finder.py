from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import runpy
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pinformers.importing import finder
from pinformers.importing.finder import Finder

PACKAGE = "relayed"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("VALUE = 1\nLOADER = __spec__.loader\n")
    (folder / "child.py").write_text("import sys\nprint(__name__)\n")
    (folder / "broken.py").write_text("raise LookupError('half-way')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def seen(package: Path) -> Iterator[list[tuple[str, ModuleType]]]:
    found: list[tuple[str, ModuleType]] = []
    finder = Finder(PACKAGE, lambda name, module: found.append((name, module)))
    finder.install()
    yield found
    finder.remove()


def test_each_module_is_announced_once_after_it_ran(seen: list[tuple[str, ModuleType]]) -> None:
    module = importlib.import_module(f"{PACKAGE}.child")
    importlib.import_module(f"{PACKAGE}.child")
    assert [name for name, _ in seen] == [PACKAGE, f"{PACKAGE}.child"]
    assert seen[1][1] is module


def test_the_real_loader_is_back_before_the_code_runs(seen: list[tuple[str, ModuleType]]) -> None:
    module = importlib.import_module(PACKAGE)
    assert type(module.LOADER) is SourceFileLoader
    assert type(module.__spec__.loader) is SourceFileLoader
    assert module.__loader__ is module.__spec__.loader


def test_a_spec_that_nobody_executes_shows_the_loader_it_had(seen: list[tuple[str, ModuleType]]) -> None:
    spec = importlib.util.find_spec(f"{PACKAGE}.child")
    assert spec is not None
    assert isinstance(spec.loader, SourceFileLoader)
    assert "print" in spec.loader.get_source(f"{PACKAGE}.child")
    assert [name for name, _ in seen] == [PACKAGE]


def test_python_m_finds_the_code(seen: list[tuple[str, ModuleType]], capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module(f"{PACKAGE}.child", run_name="__main__")
    assert capsys.readouterr().out == "__main__\n"


def test_a_module_that_fails_fails_as_without_us(seen: list[tuple[str, ModuleType]]) -> None:
    with pytest.raises(LookupError, match="half-way"):
        importlib.import_module(f"{PACKAGE}.broken")
    assert f"{PACKAGE}.broken" not in sys.modules
    assert f"{PACKAGE}.broken" not in [name for name, _ in seen]


@pytest.fixture
def threshold() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


@pytest.mark.parametrize("first", [0, 77])
@pytest.mark.parametrize("name", ["collecting", "broken"])
def test_no_garbage_is_looked_for_while_a_module_runs(
    name: str, first: int, threshold: tuple[int, int, int], package: Path, seen: list[tuple[str, ModuleType]]
) -> None:
    (package / "inner.py").write_text("")
    (package / "collecting.py").write_text(f"import gc, {PACKAGE}.inner\nVALUE = gc.get_threshold()[0]\n")
    gc.set_threshold(first, *threshold[1:])
    with contextlib.suppress(LookupError):
        assert importlib.import_module(f"{PACKAGE}.{name}").VALUE == 0
    assert gc.get_threshold() == (first, *threshold[1:])


def test_what_another_import_had_lent_is_not_put_back_twice(
    threshold: tuple[int, int, int], package: Path, seen: list[tuple[str, ModuleType]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "collecting.py").write_text("")
    # Read while another thread lends it, which has ended by the time that this module runs.
    monkeypatch.setattr(
        finder, "gc", SimpleNamespace(get_threshold=lambda: (0, 10, 10), set_threshold=gc.set_threshold)
    )
    importlib.import_module(f"{PACKAGE}.collecting")
    assert gc.get_threshold() == threshold


def test_ctrl_c_while_it_is_put_back_leaves_it_as_it_was(
    threshold: tuple[int, int, int], package: Path, seen: list[tuple[str, ModuleType]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "collecting.py").write_text("")
    importlib.import_module(PACKAGE)
    reads = iter([threshold])

    def read() -> tuple[int, int, int]:
        for found in reads:
            return found
        raise KeyboardInterrupt

    monkeypatch.setattr(finder, "gc", SimpleNamespace(get_threshold=read, set_threshold=gc.set_threshold))
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module(f"{PACKAGE}.collecting")
    assert gc.get_threshold() == threshold
    assert not finder._LENT


def test_what_a_module_says_of_garbage_itself_holds(
    threshold: tuple[int, int, int], package: Path, seen: list[tuple[str, ModuleType]]
) -> None:
    (package / "collecting.py").write_text("import gc\ngc.set_threshold(99, 9, 9)\n")
    importlib.import_module(f"{PACKAGE}.collecting")
    assert gc.get_threshold()[0] == 99


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_meanwhile_looks_for_garbage(
    threshold: tuple[int, int, int], package: Path, seen: list[tuple[str, ModuleType]]
) -> None:
    (package / "collecting.py").write_text("import gc, os\nCHILD = os.fork()\nVALUE = gc.get_threshold()\n")
    with warnings.catch_warnings():
        # pytest-xdist has threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module(f"{PACKAGE}.collecting")
    if not module.CHILD:
        os._exit(0 if module.VALUE == gc.get_threshold() == threshold else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(module.CHILD, 0)[1]) == 0
    assert gc.get_threshold() == threshold


def test_an_absent_module_is_absent(seen: list[tuple[str, ModuleType]]) -> None:
    with pytest.raises(ModuleNotFoundError) as error:
        importlib.import_module(f"{PACKAGE}.nothing")
    assert error.value.name == f"{PACKAGE}.nothing"


def test_other_packages_are_not_ours(seen: list[tuple[str, ModuleType]]) -> None:
    assert Finder(PACKAGE, lambda *_: None).find_spec("relayed_too") is None
    importlib.import_module("json.tool")
    assert seen == []


def test_a_finder_before_us_wins_and_we_ask_only_those_after(package: Path) -> None:
    asked: list[str] = []

    class Other:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            asked.append(name)

    finder, before, after = Finder(PACKAGE, lambda *_: None), Other(), Other()
    finder.install()
    sys.meta_path.insert(0, before)  # type: ignore[arg-type]
    sys.meta_path.insert(2, after)  # type: ignore[arg-type]
    try:
        importlib.import_module(PACKAGE)
        assert asked == [PACKAGE, PACKAGE]
    finally:
        finder.remove()
        sys.meta_path.remove(before)  # type: ignore[arg-type]
        sys.meta_path.remove(after)  # type: ignore[arg-type]


def test_a_finder_after_us_that_has_find_module_alone_is_asked_as_without_us(package: Path) -> None:
    """Python up to 3.11 asks it, and warns; later ones pass it by."""
    asked: list[str] = []

    class Legacy:
        def find_module(self, name: str, path: object = None) -> None:
            asked.append(name) if name.startswith(PACKAGE) else None

    def seen() -> tuple[list[str], list[tuple[str, str]]]:
        asked.clear()
        with pytest.warns(ImportWarning) if sys.version_info < (3, 12) else contextlib.nullcontext([]) as warned:
            spec = importlib.util.find_spec(PACKAGE)
            assert spec is not None
        return [*asked], [(str(each.message), each.filename) for each in warned]

    finder, legacy = Finder(PACKAGE, lambda *_: None), Legacy()
    sys.meta_path.insert(0, legacy)  # type: ignore[arg-type]
    try:
        plain = seen()
        finder.install()
        assert seen() == plain
        assert bool(plain[0]) is (sys.version_info < (3, 12))
    finally:
        finder.remove()
        sys.meta_path.remove(legacy)  # type: ignore[arg-type]


def test_remove_takes_only_this_finder(package: Path) -> None:
    before = list(sys.meta_path)
    one, two = Finder(PACKAGE, lambda *_: None), Finder(PACKAGE, lambda *_: None)
    one.install()
    one.install()
    two.install()
    one.remove()
    assert not one.installed
    assert two.installed
    two.remove()
    assert sys.meta_path == before


def test_the_source_is_found_through_the_class_of_the_loader_as_jedi_asks(seen: list[tuple[str, ModuleType]]) -> None:
    spec = importlib.util.find_spec(f"{PACKAGE}.child")
    assert spec is not None and spec.loader is not None
    assert "print" in type(spec.loader).get_source(spec.loader, spec.name)  # type: ignore[attr-defined]


@pytest.fixture
def theirs(seen: list[tuple[str, ModuleType]]) -> Iterator[list[type]]:
    """The class of the loader that a finder after ours gives for the child."""
    classes: list[type] = []

    class Gives:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            if name != f"{PACKAGE}.child" or not classes:
                return None
            return importlib.util.spec_from_loader(name, classes[0](), origin="theirs")

    sys.meta_path.insert(1, Gives())  # type: ignore[arg-type]
    yield classes
    del sys.meta_path[1]


def test_what_a_loader_keeps_in_slots_is_seen(theirs: list[type]) -> None:
    class Loader(SourceFileLoader):
        __slots__ = ("secret",)

        def __init__(self) -> None:
            super().__init__("x", "y")
            self.secret = 1

        def told(self) -> int:
            return self.secret

    theirs.append(Loader)
    found: Any = importlib.util.find_spec(f"{PACKAGE}.child")
    assert (found.loader.secret, found.loader.told()) == (1, 1)
    with pytest.raises(AttributeError, match="'Loader' object has no attribute 'other'"):
        _ = found.loader.other


def test_a_loader_that_does_not_create_fails_as_without_us(theirs: list[type]) -> None:
    class Loader:
        def exec_module(self, module: ModuleType) -> None: ...

    theirs.append(Loader)
    with pytest.raises(ImportError, match="must also define create_module"):
        importlib.import_module(f"{PACKAGE}.child")


def test_a_spec_of_ours_that_somebody_kept_is_relayed_once(seen: list[tuple[str, ModuleType]]) -> None:
    kept = importlib.util.find_spec(f"{PACKAGE}.child")

    class Keeps:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            return kept if name == f"{PACKAGE}.child" else None

    sys.meta_path.insert(1, Keeps())  # type: ignore[arg-type]
    try:
        module = importlib.import_module(f"{PACKAGE}.child")
    finally:
        del sys.meta_path[1]
    assert type(module.__loader__) is SourceFileLoader
    assert [name for name, _ in seen] == [PACKAGE, f"{PACKAGE}.child"]


def test_the_loader_of_another_finder_that_asks_this_one_stays(seen: list[tuple[str, ModuleType]]) -> None:
    class Chained:
        """Wrap whatever loader the next finder gives."""

        def __init__(self, loader: object) -> None:
            self.loader = loader

        def create_module(self, spec: object) -> None:
            return None

        def exec_module(self, module: ModuleType) -> None:
            self.loader.exec_module(module)  # type: ignore[attr-defined]

    class Chaining:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            spec = sys.meta_path[1].find_spec(name, path, target)  # type: ignore[arg-type]
            if spec is not None and name.startswith(PACKAGE):
                spec.loader = Chained(spec.loader)  # type: ignore[assignment]
            return spec

    sys.meta_path.insert(0, Chaining())  # type: ignore[arg-type]
    try:
        module = importlib.import_module(f"{PACKAGE}.child")
    finally:
        del sys.meta_path[0]
    assert type(module.__spec__.loader) is type(module.__loader__) is Chained
    assert [name for name, _ in seen] == [PACKAGE, f"{PACKAGE}.child"]
