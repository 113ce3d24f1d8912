"""Any sequence of enabling, disabling, importing, patching by others and loading leaves what a simple model predicts.

Two worlds play the same machine. A small package named `transformers` with the traits that matter (lazy, replaces
itself, executes itself again, binds functions by name, a dummy for a missing backend) can be imported anew for every
example. The real one cannot, and is imported once in a process of its own: there every example starts after it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import pinformers
from environment import clean_env
from pin_rooms import make_resolver, write_folder
from pinformers.pinning.folder import pin_folder

TESTS = Path(__file__).parents[1]
PACKAGE = "transformers"
REPO = "tiny/config"
CONTENT = json.dumps({"model_type": "bert", "hidden_size": 12, "num_attention_heads": 2, "vocab_size": 77}).encode()
METHOD = "from_pretrained"
GATES = ("CI", "TRANSFORMERS_PATCH_DISABLE", "STORAGE_FORCE_LOCAL", "PINFORMERS_CONFIG")

LAZY = """
import importlib, os
from types import ModuleType

class _LazyModule(ModuleType):
    def __init__(self, name, file, homes, spec):
        super().__init__(name)
        self.__file__, self.__path__, self.__spec__ = file, [os.path.dirname(file)], spec
        self._class_to_module, self._object_missing_backend = dict(homes), {"AutoVideoProcessor": ["video"]}

    def __getattr__(self, name):
        home = self._class_to_module.get(name)
        if home is None:
            raise AttributeError(f"module {self.__name__} has no attribute {name}")
        value = getattr(importlib.import_module(f"{self.__name__}.{home}"), name)
        setattr(self, name, value)
        return value
"""
INIT = """
import sys
from .utils import hub
from .utils.import_utils import _LazyModule
homes = {
    "AutoConfig": "models.auto.configuration_auto",
    "AutoModel": "models.auto.modeling_auto",
    "AutoProcessor": "models.auto.processing_auto",
    "AutoVideoProcessor": "models.auto.video_processing_auto",
    "AutoformerModel": "models.autoformer",
    "BertConfig": "models.bert",
}
sys.modules[__name__] = _LazyModule(__name__, __file__, homes, __spec__)
"""
HUB_5 = """
import os
from huggingface_hub import HfApi, hf_hub_download
_hf_api = None
def hf_api():
    global _hf_api
    _hf_api = _hf_api or HfApi()
    return _hf_api
def resolve_revision(path_or_repo_id, *, revision=None, cache_dir=None, local_files_only=False):
    return revision or "main"
def cached_files(path_or_repo_id, filenames, cache_dir=None, force_download=False, revision=None,
                 local_files_only=False, subfolder="", repo_type=None, **kwargs):
    assert hf_api().repo_exists
    cache_dir = cache_dir or os.environ["FAKE_CACHE"]
    return [hf_hub_download(path_or_repo_id, name, cache_dir=cache_dir, revision=revision, local_files_only=True)
            for name in filenames]
"""
HUB_4 = """
import os
from huggingface_hub import hf_hub_download, list_repo_files, model_info
def cached_files(path_or_repo_id, filenames, cache_dir=None, force_download=False, revision=None,
                 local_files_only=False, subfolder="", repo_type=None, _commit_hash=None, **kwargs):
    cache_dir = cache_dir or os.environ["FAKE_CACHE"]
    return [hf_hub_download(path_or_repo_id, name, cache_dir=cache_dir, revision=revision, local_files_only=True)
            for name in filenames]
"""
AUTO = """
from ...utils.hub import cached_files
class AutoConfig:
    @classmethod
    def from_pretrained(cls, name, **kwargs):
        with open(cached_files(name, ["config.json"], **kwargs)[0], "rb") as file:
            return file.read()
"""
INHERITS = "from .configuration_auto import AutoConfig as _Base\nclass {}(_Base):\n    pass\n"
TRAP = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("transformers", os.path.join(os.path.dirname(__file__), "__init__.py"))
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""
DUMMY = """
class Meta(type):
    def __getattribute__(cls, name):
        if name == "from_pretrained":
            raise ImportError("AutoVideoProcessor requires video")
        return super().__getattribute__(name)
class AutoVideoProcessor(metaclass=Meta):
    pass
"""
FAKE: Mapping[str, str] = {
    "__init__.py": INIT,
    "utils/__init__.py": "",
    "utils/import_utils.py": LAZY,
    "processing_utils.py": TRAP,
    "models/__init__.py": "",
    "models/autoformer.py": AUTO.replace("...utils", "..utils").replace("AutoConfig", "AutoformerModel"),
    "models/bert.py": AUTO.replace("...utils", "..utils").replace("AutoConfig", "BertConfig"),
    "models/auto/__init__.py": "",
    "models/auto/configuration_auto.py": AUTO,
    "models/auto/modeling_auto.py": INHERITS.format("AutoModel"),
    "models/auto/processing_auto.py": "from ... import processing_utils\n" + INHERITS.format("AutoProcessor"),
    "models/auto/video_processing_auto.py": DUMMY,
}


def is_ours(value: object) -> bool:
    function = getattr(value, "__func__", value) if isinstance(value, classmethod | MethodType) else value
    return isinstance(function, FunctionType) and "/pinformers/importing/" in function.__code__.co_filename


def loaded() -> list[tuple[str, ModuleType]]:
    names = (PACKAGE, "huggingface_hub")
    return [(name, module) for name, module in sys.modules.items() if name.partition(".")[0] in names]


class World:
    """The package, and what is known of its names."""

    auto: tuple[str, ...] = ("AutoConfig", "AutoModel", "AutoProcessor")
    plain: tuple[str, ...] = ("AutoformerModel", "BertConfig")
    inherits: tuple[str, ...] = ("AutoModel", "AutoProcessor")
    loadable: tuple[str, ...] = (*auto, *plain)
    modules: tuple[str, ...] = (PACKAGE, f"{PACKAGE}.models.auto.modeling_auto", f"{PACKAGE}.processing_utils")

    def reset(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]

    def below(self, cls: type) -> object:
        """Return what stood in ``cls`` before it was wrapped: None where it inherits, or the function."""
        return None if cls.__name__ in self.inherits else vars(cls)[METHOD].__func__.__wrapped__

    def read(self, found: object) -> bytes:
        assert isinstance(found, bytes)
        return found


class RealWorld(World):
    """Imported for good; only configurations are loaded, so that no example needs torch."""

    auto = ("AutoConfig", "AutoTokenizer", "AutoFeatureExtractor", "AutoProcessor")
    plain = ("BertConfig", "AutoformerConfig")
    loadable = ("AutoConfig", "BertConfig")
    modules = (PACKAGE, f"{PACKAGE}.models.auto.tokenization_auto", f"{PACKAGE}.processing_utils")

    def __init__(self) -> None:
        importlib.import_module(f"{PACKAGE}.processing_utils")
        package = importlib.import_module(PACKAGE)
        self._classes = [getattr(package, name) for name in (*self.auto, *self.plain)]
        self._original = [vars(cls).get(METHOD) for cls in self._classes]

    def reset(self) -> None:
        for cls, original in zip(self._classes, self._original, strict=True):
            if vars(cls).get(METHOD) is not original:
                setattr(cls, METHOD, original) if original is not None else delattr(cls, METHOD)

    def below(self, cls: type) -> object:
        return dict(zip(self._classes, self._original, strict=True))[cls]

    def read(self, found: Any) -> bytes:
        known = json.loads(CONTENT)
        return json.dumps({name: getattr(found, name) for name in known}).encode()


class Switching(RuleBasedStateMachine):
    """Handles, classes seen, patches by others; every invariant compares them with the interpreter."""

    world = World()

    def __init__(self) -> None:
        super().__init__()
        self.world.reset()
        self.finders, self.base = [], list(sys.meta_path)
        self.handles: list[list[Any]] = []  # handle, open, expected hits
        self.original: dict[type, object] = {}
        self.theirs: dict[type, object] = {}
        self.on_top: dict[type, str] = {}
        self.kept: list[Any] = []

    # -- the model --------------------------------------------------------------------------------------------

    @property
    def open(self) -> list[list[Any]]:
        return [entry for entry in self.handles if entry[1]]

    @property
    def imported(self) -> bool:
        return PACKAGE in sys.modules

    def see(self) -> None:
        """Learn of the Auto classes that have come in; the first look at a class is before or under our wrapper."""
        for name, module in loaded():
            for attribute, value in list(vars(module).items()) if name.startswith(f"{PACKAGE}.models.auto.") else ():
                if attribute in self.world.auto and isinstance(value, type) and value not in self.on_top:
                    held = vars(value).get(METHOD)
                    self.on_top[value] = "ours" if self.open else "original"
                    self.original[value] = self.world.below(value) if self.open else held

    def switched(self, was: bool) -> None:
        """Follow a change between on and off."""
        for cls, top in self.on_top.items():
            if self.open and not was:
                self.on_top[cls] = "ours"
            elif was and not self.open:
                self.on_top[cls] = "theirs" if cls in self.theirs else "original"
            else:
                self.on_top[cls] = top

    # -- switching --------------------------------------------------------------------------------------------

    @rule(on_miss=st.sampled_from(["import", "passthrough", "error"]))
    def enable(self, on_miss: str) -> None:
        was = bool(self.open)
        handle = pinformers.enable(on_miss=on_miss, log="off")
        assert handle.active
        self.handles.append([handle, True, 0])
        self.switched(was)

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), leave=st.booleans())
    def end_one(self, data: st.DataObject, leave: bool) -> None:
        was = bool(self.open)
        entry = data.draw(st.sampled_from(self.handles), label="handle")
        entry[0].__exit__(None, None, None) if leave else entry[0].disable()
        entry[1] = False
        self.switched(was)

    @rule()
    def disable(self) -> None:
        was = bool(self.open)
        pinformers.disable()
        for entry in self.handles:
            entry[1] = False
        self.switched(was)

    # -- importing --------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def import_something(self, data: st.DataObject) -> None:
        importlib.import_module(data.draw(st.sampled_from(self.world.modules), label="module"))
        self.see()

    @precondition(lambda self: self.imported)
    @rule(data=st.data())
    def look_up(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from((*self.world.auto, *self.world.plain)), label="name")
        value = getattr(sys.modules[PACKAGE], name)
        assert value is getattr(sys.modules[PACKAGE], name)
        assert value.__name__ == name
        self.see()

    @precondition(lambda self: self.imported)
    @rule()
    def reload(self) -> None:
        importlib.reload(sys.modules[PACKAGE])
        self.see()

    # -- others -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.on_top)
    @rule(data=st.data())
    def somebody_wraps_a_class(self, data: st.DataObject) -> None:
        cls = data.draw(st.sampled_from(sorted(self.on_top, key=lambda cls: cls.__name__)), label="class")
        inner = getattr(cls, METHOD).__func__

        def from_pretrained(cls: type, *args: Any, **kwargs: Any) -> Any:
            return inner(cls, *args, **kwargs)

        self.theirs[cls] = classmethod(from_pretrained)
        setattr(cls, METHOD, self.theirs[cls])
        self.on_top[cls] = "theirs"

    @rule(first=st.booleans())
    def somebody_adds_a_finder(self, first: bool) -> None:
        class Finder:
            def find_spec(self, *_: object) -> None:
                return None

        finder = Finder()
        sys.meta_path.insert(0 if first else len(sys.meta_path), finder)  # type: ignore[arg-type]
        self.finders.insert(0 if first else len(self.finders), finder)

    # -- loading ----------------------------------------------------------------------------------------------

    def _loads(self, load: Any) -> None:
        assert self.world.read(load(REPO)) == CONTENT
        self.see()
        if self.open:
            self.open[-1][2] += 1
            assert pinformers.get_status()["hits"] == self.open[-1][2]

    @precondition(lambda self: self.imported)
    @rule(data=st.data(), keep=st.booleans())
    def load(self, data: st.DataObject, keep: bool) -> None:
        cls = getattr(sys.modules[PACKAGE], data.draw(st.sampled_from(self.world.loadable), label="class"))
        self.see()
        if keep:
            self.kept.append(getattr(cls, METHOD))
        self._loads(getattr(cls, METHOD))

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def load_by_a_name_that_was_kept(self, data: st.DataObject) -> None:
        self._loads(data.draw(st.sampled_from(self.kept), label="kept"))

    @rule()
    def ask_the_status(self) -> None:
        status = pinformers.get_status()
        assert status["enabled"] is bool(self.open)
        assert status["applied"] is (bool(self.open) and self.imported)
        named = set(status["patched_classes"])
        assert named >= ({f"{PACKAGE}.{name}" for name in self.world.auto} if status["applied"] else set())
        assert not named & {f"{PACKAGE}.{name}" for name in (*self.world.plain, "AutoVideoProcessor")}
        assert status["pins"] == 1

    # -- always -----------------------------------------------------------------------------------------------

    @invariant()
    def handles_are_as_predicted(self) -> None:
        assert [entry[0].active for entry in self.handles] == [entry[1] for entry in self.handles]

    @invariant()
    def finders_are_as_predicted(self) -> None:
        ours = [finder for finder in sys.meta_path if type(finder).__module__.startswith("pinformers")]
        assert len(ours) == bool(self.open)
        rest = [finder for finder in sys.meta_path if finder not in ours]
        assert [finder for finder in rest if finder in self.finders] == self.finders
        known = [finder for finder in rest if finder not in self.finders]
        assert [finder for finder in known if not type(finder).__module__.startswith(f"{PACKAGE}.")] == [
            finder for finder in self.base if not type(finder).__module__.startswith(f"{PACKAGE}.")
        ]

    @invariant()
    def classes_are_as_predicted(self) -> None:
        for cls, top in self.on_top.items():
            held = vars(cls).get(METHOD)
            if top == "ours":
                assert is_ours(held)
            elif top == "theirs":
                assert held is self.theirs[cls]
            else:
                assert self.original[cls] in (held, getattr(held, "__func__", None))
                assert (held is None) is (self.original[cls] is None)
        for name, module in loaded():
            for attribute in self.world.plain if name == PACKAGE else ():
                assert not is_ours(vars(vars(module).get(attribute, object)).get(METHOD))

    @invariant()
    def modules_are_as_predicted(self) -> None:
        package = sys.modules.get(PACKAGE)
        seated = package is not None and any(is_ours(value) for value in vars(type(package)).values())
        assert seated is (bool(self.open) and self.imported)
        routed = [name for name, module in loaded() for value in vars(module).values() if is_ours(value)]
        assert bool(routed) is (bool(self.open) and self.imported), routed
        apis = [value for _, module in loaded() for value in vars(module).values() if type(value).__name__ == "HfApi"]
        assert self.open or not any(is_ours(value) for api in apis for value in vars(api).values())

    def teardown(self) -> None:
        pinformers.disable()
        for entry in self.handles:
            entry[1] = False
        self.switched(True)
        self.handles_are_as_predicted()
        self.finders_are_as_predicted()
        self.classes_are_as_predicted()
        self.modules_are_as_predicted()
        for finder in self.finders:
            sys.meta_path.remove(finder)
        self.world.reset()


def pin(folder: Path) -> None:
    """Pin the tiny model below ``folder``."""
    source = write_folder(folder / "source", {"config.json": CONTENT})
    pin_folder(make_resolver(folder), source, REPO)


def play(world: World, examples: int, steps: int) -> None:
    Switching.world = world
    importlib.import_module("importlib_metadata")  # it adds a finder of its own
    budget = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(Switching, settings=budget)


@pytest.mark.parametrize("hub", [HUB_5, HUB_4], ids=["as in 5.x", "as in 4.57"])
def test_a_package_that_can_be_imported_anew(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "path" / PACKAGE, {name: text.encode() for name, text in FAKE.items()})
    (tmp_path / "path" / PACKAGE / "utils" / "hub.py").write_text(hub)
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.setenv("FAKE_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PINFORMERS_CACHE_DIR", str(tmp_path / "hub"))
    monkeypatch.setenv("PINFORMERS_STATE_DIR", str(tmp_path / "pinformers"))
    pin(tmp_path)
    for variable in GATES:
        monkeypatch.delenv(variable, raising=False)
    real = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == PACKAGE}
    try:
        play(World(), examples=60, steps=30)
    finally:
        World().reset()
        sys.modules.update(real)


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="needs transformers")
def test_the_real_package(tmp_path: Path) -> None:
    env = clean_env(tmp_path, PYTHONPATH=str(TESTS), HF_HUB_OFFLINE="1")
    command = [sys.executable, "-W", "ignore", __file__]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def main() -> None:
    """Play with the real package; the default cache is the pinned one, so that it loads without us too."""
    logging.disable(logging.CRITICAL)
    pin(Path(os.environ["HF_HOME"]))
    play(RealWorld(), examples=25, steps=25)


if __name__ == "__main__":
    main()
