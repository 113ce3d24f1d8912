"""Switching on and off around the real transformers, each scene in an interpreter that has not imported it yet.

One process imports torch and the hub's client once and forks for every scene: a scene costs what transformers costs.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import inspect
import json
import logging
import os
import re
import subprocess
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import IO, Any

import pytest

from environment import clean_env

TESTS = Path(__file__).parents[1]
HERE = importlib.util.find_spec("transformers") is not None and importlib.util.find_spec("torch") is not None
pytestmark = [pytest.mark.torch, pytest.mark.skipif(not HERE, reason="needs torch and transformers")]

PATCHING = "[INFO] Auto-patching transformers for distributed storage..."
REPO = "tiny/config"
CONFIG = {"model_type": "bert", "hidden_size": 12, "num_attention_heads": 2, "vocab_size": 77}
STATUS = {
    *("enabled", "applied", "scope", "patched_classes", "should_patch", "reason", "displaced", "versions"),
    *("cache_dir", "state_dir", "sources", "on_miss", "pins", "bytes", "hits", "misses", "fallbacks"),
}
ROUTED = ("cached_files", "resolve_revision", "list_repo_templates", "has_file", "hf_api", "auto_conversion")
# What transformers imports on the way to a model, and what takes longest.
PRELOADED = ("torch._dynamo", "scipy.stats", "sklearn.metrics", "accelerate", "PIL.Image", "jinja2", "trio")
Scene = Callable[..., None]
SCENES: dict[str, Scene] = {}


# -- the stage ------------------------------------------------------------------------------------------------


class Stage:
    """The process that forks, and a home for each of its children."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        paths = os.pathsep.join([str(TESTS), str(TESTS / "integration")])
        env = clean_env(folder / "home", PYTHONPATH=paths, HF_HUB_OFFLINE="1")
        command = [sys.executable, "-W", "ignore", __file__]
        self._process = subprocess.Popen(
            command, env=env, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def play(self, scene: str, *args: object) -> str:
        """Run a scene in a fork; return what it wrote to stderr."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        into, out = self._process.stdin, self._process.stdout
        assert into is not None
        assert out is not None
        into.write(json.dumps([scene, args, str(folder)]) + "\n")
        into.flush()
        answer = out.readline()
        assert answer, "the stage fell down"
        stdout, stderr = ((folder / name).read_text() for name in ("stdout", "stderr"))
        assert json.loads(answer) == 0, stderr
        assert stdout == ""
        return stderr

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage") / "folders")
    yield made
    made.close()


def scene(function: Scene) -> Scene:
    """Keep ``function`` for the stage, and make it a test when its name says so."""
    SCENES[function.__name__] = function

    def test(stage: Stage) -> None:
        stage.play(function.__name__)

    test.__name__, test.__doc__, test.__module__ = function.__name__, function.__doc__, function.__module__
    return test


def serve(orders: IO[str]) -> None:
    """Be the stage: one line in, one fork, its exit status out."""
    # importlib_metadata puts a finder into sys.meta_path when it is imported; the one test of that is further down.
    for name in ("huggingface_hub", "importlib_metadata", "numpy", "tokenizers", "torch", *PRELOADED):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert sys.modules["huggingface_hub"].hf_hub_download
    assert "transformers" not in sys.modules
    gc.freeze()
    for line in orders:
        name, args, folder = json.loads(line)
        child = os.fork()
        if child == 0:
            perform(SCENES[name], args, Path(folder))
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


def perform(scene: Scene, args: list[object], folder: Path) -> None:
    """Play a scene with its stdout and stderr in files, and end the process."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    code = 0
    try:
        scene(*args)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# -- what an interpreter looks like ---------------------------------------------------------------------------


def is_ours(value: object) -> bool:
    """Whether ``value`` is code of pinformers."""
    function = (
        getattr(value, "__func__", value) if isinstance(value, classmethod | staticmethod | MethodType) else value
    )
    from pinformers.importing.standing_in import stands_in

    return isinstance(function, FunctionType) and (
        stands_in(function) or "/pinformers/importing/" in function.__code__.co_filename
    )


def watched() -> Iterator[tuple[str, ModuleType]]:
    for name, module in sys.modules.copy().items():
        if name.partition(".")[0] in ("transformers", "huggingface_hub") and isinstance(module, ModuleType):
            yield name, module


def members() -> Iterator[tuple[str, object]]:
    """Yield everything that pinformers could have replaced, by its place."""
    for position, finder in enumerate(sys.meta_path):
        yield f"meta_path[{position}]", finder
    for name, module in watched():
        yield f"sys.modules[{name}]", module
        yield f"type({name})", type(module)
        for attribute, value in list(vars(module).items()):
            if not isinstance(value, FunctionType | MethodType | type | ModuleType):
                if type(value).__name__ == "HfApi":
                    yield from ((f"{name}.{attribute}.{own}", held) for own, held in vars(value).items())
                continue
            yield f"{name}.{attribute}", value
            if isinstance(value, type) and attribute.startswith(("Auto", "_Base", "HfApi")):
                yield from ((f"{name}.{attribute}.{own}", held) for own, held in list(vars(value).items()))
        for own, held in list(vars(type(module)).items()):
            yield f"type({name}).{own}", held


def traces() -> list[str]:
    """Name every place where pinformers shows."""
    finders = [
        str(finder) for finder in sys.meta_path if getattr(type(finder), "__module__", "").startswith("pinformers")
    ]
    return finders + [place for place, value in members() if is_ours(value)]


class Snapshot:
    """Every object by its place; the objects are held, so that an identity cannot be used twice."""

    def __init__(self) -> None:
        self._held = dict(members())

    def changes(self) -> list[str]:
        """Name the places whose object is another one now. New ones do not count: lazy modules fill themselves."""
        now = dict(members())
        return [place for place, value in self._held.items() if now.get(place) is not value]

    def __len__(self) -> int:
        return len(self._held)


def wrapped(cls: type) -> bool:
    return is_ours(inspect.getattr_static(cls, "from_pretrained", None))


def status() -> dict[str, Any]:
    import pinformers

    return pinformers.get_status()


def pin_config() -> None:
    """Pin a configuration as REPO, in the default cache: plain transformers finds it offline too."""
    from pin_rooms import make_resolver, write_folder
    from pinformers.pinning.folder import pin_folder

    home = Path(os.environ["HF_HOME"])
    folder = write_folder(home.parent / "source", {"config.json": json.dumps(CONFIG).encode()})
    pin_folder(make_resolver(home), folder, REPO)


def load(cls: Any = None) -> None:
    from transformers import AutoConfig

    found = (cls or AutoConfig).from_pretrained(REPO)
    assert {name: getattr(found, name) for name in CONFIG} == CONFIG
    assert found.name_or_path == (REPO if cls in (None, AutoConfig) else "")


# -- handles --------------------------------------------------------------------------------------------------


@scene
def test_enable_then_import_then_disable() -> None:
    import pinformers

    finders = list(sys.meta_path)
    assert traces() == []
    handle = pinformers.enable()
    assert (handle.active, handle.reason) == (True, "enabled by pinformers.enable()")
    assert "transformers" not in sys.modules
    assert [type(finder).__name__ for finder in sys.meta_path if finder not in finders] == ["Finder"]
    assert (status()["enabled"], status()["applied"], status()["patched_classes"]) == (True, False, [])
    import transformers

    assert status()["applied"]
    assert wrapped(transformers.AutoModel) and wrapped(transformers.AutoConfig) and wrapped(transformers.AutoTokenizer)
    assert is_ours(sys.modules["transformers.utils.hub"].cached_files)
    assert len(traces()) > 5
    handle.disable()
    assert (handle.active, handle.reason) == (False, "disabled by its handle")
    # transformers 5 brings a finder of its own.
    assert [finder for finder in sys.meta_path if not type(finder).__module__.startswith("transformers.")] == finders
    assert sys.modules["transformers"] is transformers
    assert transformers.AutoProcessor.from_pretrained  # resolved after the end
    assert traces() == []


@scene
def test_late_enabling_and_disabling_leave_every_object_as_it_was() -> None:
    import transformers
    import transformers.pipelines
    import transformers.processing_utils
    from transformers import AutoConfig, AutoModel, AutoTokenizer, BertModel

    import pinformers

    assert AutoConfig and AutoModel and AutoTokenizer and BertModel
    transformers = importlib.import_module("transformers")
    original = vars(AutoModel)["from_pretrained"]
    for _ in range(2):
        before = Snapshot()
        assert len(before) > 3000
        with pinformers.enable():
            changed = before.changes()
            assert {"type(transformers)", "transformers.utils.hub.cached_files"} <= set(changed)
            assert "transformers.models.auto.modeling_auto.AutoModel.from_pretrained" in changed
            assert sys.modules["transformers"] is transformers
            assert wrapped(AutoModel) and wrapped(transformers.AutoProcessor)
            if hasattr(transformers.utils.hub, "hf_api"):
                assert is_ours(transformers.utils.hub.hf_api().model_info)
            for name, module in watched():
                held = vars(module).get("cached_files")
                assert held is None or name == "transformers.utils.hub" or is_ours(held), name
        assert before.changes() == []
        assert vars(AutoModel)["from_pretrained"] is original
        assert traces() == []


@scene
def test_activations_are_counted_and_end_in_any_order() -> None:
    import transformers

    import pinformers

    def on() -> bool:
        assert wrapped(transformers.AutoConfig) is status()["enabled"]
        return status()["enabled"]

    outer = pinformers.enable()
    with pinformers.enable() as inner:
        assert outer.active and inner.active
    assert outer.active and not inner.active and on()
    inner.disable()
    inner.disable()
    assert outer.active and on()
    outer.disable()
    assert not on()
    inner.disable()
    first, second = pinformers.enable(), pinformers.enable()
    first.disable()
    assert second.active and on()
    first.disable()
    assert second.active and on()
    second.disable()
    assert not on()
    handles = [pinformers.enable() for _ in range(3)]
    pinformers.disable()
    assert not on()
    assert {(handle.active, handle.reason) for handle in handles} == {(False, "disabled by pinformers.disable()")}
    handles[0].disable()
    pinformers.disable()
    assert status()["reason"] == "disabled by pinformers.disable()"
    with contextlib.suppress(KeyError), pinformers.enable() as handle:
        assert on()
        raise KeyError
    assert not handle.active and not on()
    assert traces() == []


@scene
def test_the_innermost_settings_count() -> None:
    import pinformers

    home = Path(os.environ["HF_HOME"])
    pin_config()
    import transformers

    with pinformers.enable(on_miss="error", state_dir=home / "elsewhere"):
        assert (status()["on_miss"], status()["pins"]) == ("error", 0)
        with pytest.raises(pinformers.NotPinned):
            transformers.AutoConfig.from_pretrained(REPO)
        with pinformers.enable(on_miss="passthrough"):
            assert (status()["on_miss"], status()["pins"]) == ("passthrough", 1)
            load()
            assert (status()["hits"], status()["misses"]) == (1, 0)
        assert (status()["on_miss"], status()["pins"]) == ("error", 0)
        with pytest.raises(pinformers.NotPinned):
            transformers.AutoConfig.from_pretrained(REPO)
    load()


@scene
def test_a_wrong_setting_stops_enable_and_changes_nothing() -> None:
    import transformers

    import pinformers

    before = Snapshot()
    for wrong in ({"on_miss": "maybe"}, {"onmiss": "error"}, {"sources": "nobody"}):
        with pytest.raises(pinformers.SettingsError):
            pinformers.enable(**wrong)
    assert before.changes() == []
    assert not wrapped(transformers.AutoConfig)
    assert not status()["enabled"]


def test_with_nothing_imported_before_sys_meta_path_is_as_it_was(tmp_path: Path) -> None:
    code = """
import sys
from importlib.machinery import PathFinder
def seen():
    return [*map(id, sys.meta_path), *map(id, sys.path_hooks), id(getattr(PathFinder, "find_distributions", None))]
held = list(sys.meta_path), PathFinder.find_distributions
before = seen()
import pinformers
handle = pinformers.enable()
pinformers.get_status()
handle.disable()
print([str(finder) for finder in sys.meta_path if finder not in held[0]], seen() == before)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=clean_env(tmp_path), capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[] True\n", "")


# -- the ways of importing ------------------------------------------------------------------------------------

WAYS = {
    "import": "import transformers",
    "import_module": "import importlib; importlib.import_module('transformers')",
    "dunder": "__import__('transformers')",
    "name": "from transformers import AutoConfig",
    "pipeline": "from transformers import pipeline",
    "deep auto": "from transformers.models.auto import AutoModel",
    "deep module": "import importlib; importlib.import_module('transformers.models.auto.modeling_auto').AutoModel",
    "deep concrete": "from transformers.models.bert.modeling_bert import BertModel",
    "hub": "from transformers.utils.hub import cached_file",
    "processing": "import transformers.processing_utils",
}


@scene
def whatever_comes_first(way: str, late: bool) -> None:
    import pinformers

    names: dict[str, Any] = {}
    finders = list(sys.meta_path)
    if late:
        exec(WAYS[way], names)
    handle = pinformers.enable()
    if not late:
        exec(WAYS[way], names)
    transformers = sys.modules["transformers"]
    auto = importlib.import_module("transformers.models.auto")
    modeling = importlib.import_module("transformers.models.auto.modeling_auto")
    assert transformers.AutoModel is auto.AutoModel is modeling.AutoModel
    for cls in (transformers.AutoModel, auto.AutoConfig, auto.AutoTokenizer, auto.AutoProcessor):
        assert wrapped(cls), cls
    for value in names.values():
        assert not isinstance(value, type) or not value.__name__.startswith("Auto") or wrapped(value)
    assert importlib.import_module("transformers.models.bert.modeling_bert").BertModel is transformers.BertModel
    loaded = [(place, module) for place, module in watched() if place.startswith("transformers.")]
    bound = {(place, name): vars(module)[name] for place, module in loaded for name in ROUTED if name in vars(module)}
    assert {place for place, _ in bound} > {"transformers.utils.hub"}
    plain = [place for place, value in bound.items() if not is_ours(value)]
    assert plain == [], plain
    assert status()["applied"]
    assert "__getattr__" in vars(type(sys.modules["transformers"]))
    handle.disable()
    assert traces() == []
    assert [finder for finder in sys.meta_path if not type(finder).__module__.startswith("transformers.")] == finders


@pytest.mark.parametrize(
    ("way", "late"),
    [*((way, False) for way in WAYS), *((way, True) for way in ("import", "name", "deep concrete", "processing"))],
)
def test_whatever_is_imported_first_everything_is_covered(way: str, late: bool, stage: Stage) -> None:
    stderr = stage.play("whatever_comes_first", way, late)
    assert [line for line in stderr.splitlines() if line.startswith("[INFO] Auto-")] == [PATCHING]


@scene
def every_auto_class() -> None:
    import pinformers

    with pinformers.enable():
        import transformers

        named = status()["patched_classes"]
        found = set()
        for name in dir(transformers):
            if not name.startswith("Auto"):
                continue
            value = getattr(transformers, name)
            if isinstance(value, type) and wrapped(value) and value.__module__.startswith("transformers.models.auto."):
                found.add(f"transformers.{name}")
        assert found == set(named)
        assert named == sorted(named)
        assert status()["patched_classes"] == named
        assert {"transformers.AutoModel", "transformers.AutoTokenizer", "transformers.AutoProcessor"} < found
        assert not {name for name in found if "Autoformer" in name or "AutoRound" in name}
        # Every class of the auto package that transformers itself documents as public and can load here.
        for name in dir(transformers.models.auto):
            value = vars(transformers.models.auto).get(name)
            if isinstance(value, type) and name.startswith("Auto") and hasattr(value, "from_pretrained"):
                assert wrapped(value), name
        Path("named").write_text(str(len(named)))
    assert traces() == []
    assert not any(wrapped(getattr(transformers, name.partition(".")[2])) for name in named)


def test_the_classes_that_status_names_are_those_that_are_wrapped(stage: Stage) -> None:
    stderr = stage.play("every_auto_class")
    (count,) = re.findall(r"^\[INFO\] Successfully patched (\d+) transformers classes$", stderr, re.MULTILINE)
    assert int(count) == int((stage._folder / "named").read_text())
    assert int(count) > 40


@scene
def test_the_module_that_executes_itself_again_is_seated_again() -> None:
    import pinformers

    handle = pinformers.enable()
    import transformers

    first = transformers
    seat = type(first)
    assert any(is_ours(value) for value in vars(seat).values())
    importlib.import_module("transformers.processing_utils")
    second = sys.modules["transformers"]
    assert second is not first, "the trap is gone: this test has lost its point"
    assert any(is_ours(value) for value in vars(type(second)).values())
    assert wrapped(second.AutoModel) and second.AutoModel is first.AutoModel
    assert status()["patched_classes"]
    handle.disable()
    assert traces() == []
    assert type(first) is type(second) or type(first).__name__ == type(second).__name__
    assert not any(is_ours(value) for value in vars(type(first)).values())
    assert first.AutoTokenizer is second.AutoTokenizer


@scene
def test_reload_and_the_lazy_cache_survive() -> None:
    import pickle

    import pinformers

    with pinformers.enable():
        import transformers

        assert wrapped(transformers.AutoConfig)
        again = importlib.reload(transformers)
        assert again is sys.modules["transformers"]
        assert wrapped(again.AutoConfig) and wrapped(again.AutoModel)
        assert pickle.loads(pickle.dumps(again.AutoModel)) is again.AutoModel
        assert again.AutoModel.from_pretrained.__func__.__wrapped__
        assert status()["applied"]
    assert traces() == []


@scene
def eight_threads() -> None:
    import pinformers

    handle = pinformers.enable()
    barrier = threading.Barrier(8)
    wrong: list[object] = []
    held: list[Any] = []

    def work(number: int) -> None:
        barrier.wait()
        try:
            if number % 2:
                import transformers

                held.append(transformers)
                assert wrapped(transformers.AutoModel)
            else:
                from transformers import AutoModel, AutoTokenizer

                assert wrapped(AutoModel) and wrapped(AutoTokenizer)
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(held) == 4
    assert all(wrapped(module.AutoConfig) for module in held)
    handle.disable()
    assert traces() == []
    assert not any(is_ours(value) for module in held for value in vars(type(module)).values())


@pytest.mark.parametrize("turn", range(2))
def test_eight_threads_that_import_at_once_all_get_the_classes(turn: int, stage: Stage) -> None:
    stderr = stage.play("eight_threads")
    assert [line for line in stderr.splitlines() if line.startswith("[INFO] Auto-")] == [PATCHING]


@scene
def enable_beside_an_import(reached: str) -> None:
    import pinformers

    thread = threading.Thread(target=importlib.import_module, args=("transformers",))
    thread.start()
    while reached not in sys.modules:
        time.sleep(0)
    handle = pinformers.enable()
    thread.join()
    transformers = importlib.import_module("transformers")
    assert wrapped(transformers.AutoModel) and wrapped(transformers.AutoConfig)
    assert is_ours(sys.modules["transformers.utils.hub"].cached_files)
    assert status()["applied"]
    assert len(status()["patched_classes"]) > 40, status()
    handle.disable()
    assert traces() == []


@pytest.mark.parametrize("reached", ["transformers", "transformers.utils.hub"])
def test_enabling_while_another_thread_imports_covers_everything(reached: str, stage: Stage) -> None:
    stderr = stage.play("enable_beside_an_import", reached)
    assert re.findall(r"Successfully patched (\d+) ", stderr) not in (["0"], [])


# -- names that outlive ---------------------------------------------------------------------------------------


@scene
def test_names_bound_before_enable_are_routed_and_names_kept_after_disable_pass_through() -> None:
    import pinformers

    pin_config()
    from transformers import AutoConfig, BertConfig
    from transformers.configuration_utils import PretrainedConfig

    plain = AutoConfig.from_pretrained
    for cls in (AutoConfig, BertConfig):
        load(cls)
    handle = pinformers.enable()
    for number, cls in enumerate((AutoConfig, BertConfig), start=1):
        load(cls)
        assert status()["hits"] == number
    assert plain(REPO).vocab_size == CONFIG["vocab_size"]
    assert status()["hits"] == 3
    from transformers.utils.hub import cached_files

    kept, kept_type = AutoConfig.from_pretrained, sys.modules["transformers"]
    handle.disable()
    assert is_ours(cached_files) and is_ours(kept)
    for name in (kept, plain, BertConfig.from_pretrained, PretrainedConfig.get_config_dict):
        assert name(REPO)
    assert json.loads(Path(cached_files(REPO, ["config.json"])[0]).read_text()) == CONFIG
    assert kept_type.AutoConfig is AutoConfig
    assert (status()["hits"], status()["misses"]) == (0, 0)
    with pytest.raises(OSError):
        kept("tiny/nowhere")
    with pinformers.enable():
        assert kept(REPO).vocab_size == CONFIG["vocab_size"]
        assert status()["hits"] == 1
    assert traces() == []


@scene
def test_errors_are_those_of_transformers_on_and_off() -> None:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    import pinformers

    def outcome(cls: Any, *args: Any, **kwargs: Any) -> tuple[object, ...]:
        try:
            return ("value", type(cls.from_pretrained(*args, **kwargs)))
        except Exception as error:
            return (type(error), str(error))

    calls: list[tuple[Any, ...]] = [
        (cls, *args)
        for cls in (AutoConfig, AutoModel, AutoTokenizer)
        for args in (("tiny/nowhere",), ("./no/such/folder",), (7,), (None,), ("a b",), ("a/b/c",))
    ]
    off = [outcome(*call) for call in calls] + [
        outcome(AutoConfig),
        outcome(AutoConfig, pretrained_model_name_or_path="."),
    ]
    with pinformers.enable():
        on = [outcome(*call) for call in calls]
        on += [outcome(AutoConfig), outcome(AutoConfig, pretrained_model_name_or_path=".")]
    assert on == off


@scene
def test_what_others_patched_stays_theirs() -> None:
    from transformers import AutoConfig, AutoModel

    import pinformers

    class Finder:
        def find_spec(self, *_: object) -> None:
            return None

    def replaced(cls: type, *_: object) -> str:
        return "theirs"

    early, late = Finder(), Finder()
    sys.meta_path.insert(0, early)  # type: ignore[arg-type]
    original = vars(AutoModel)["from_pretrained"]
    handle = pinformers.enable()
    sys.meta_path.insert(0, late)  # type: ignore[arg-type]
    theirs = classmethod(replaced)
    AutoConfig.from_pretrained = theirs
    hub = sys.modules["transformers.utils.hub"]
    inner = hub.cached_file
    hub.cached_file = theirs_too = lambda *args, **kwargs: inner(*args, **kwargs)
    handle.disable()
    assert vars(AutoConfig)["from_pretrained"] is theirs
    assert hub.cached_file is theirs_too
    assert vars(AutoModel)["from_pretrained"] is original
    assert sys.meta_path[:2] == [late, early]
    handle = pinformers.enable()
    assert AutoConfig.from_pretrained("x") == "theirs"
    sys.meta_path.remove(sys.meta_path[0])
    assert status()["displaced"]
    handle.disable()
    assert vars(AutoConfig)["from_pretrained"] is theirs
    assert traces() == []


@scene
def test_what_others_put_in_huggingface_hub_stays_theirs() -> None:
    from unittest import mock

    import huggingface_hub

    import pinformers

    def theirs(*_: object) -> str:
        return "theirs"

    with (
        mock.patch("huggingface_hub.hf_hub_download") as download,
        mock.patch("huggingface_hub.HfApi.repo_exists") as ask,
    ):
        handle = pinformers.enable()
        assert importlib.import_module("transformers.utils.hub")
        assert huggingface_hub.hf_hub_download is download and huggingface_hub.HfApi.repo_exists is ask
        huggingface_hub.HfApi().repo_exists(REPO)
        ask.assert_called_once_with(REPO)
    assert is_ours(sys.modules["huggingface_hub.file_download"].hf_hub_download)
    huggingface_hub.hf_hub_download = huggingface_hub.model_info = theirs
    handle.disable()
    assert huggingface_hub.hf_hub_download is huggingface_hub.model_info is theirs
    assert traces() == []


@scene
def test_a_warning_names_the_file_of_the_caller() -> None:
    import warnings

    from transformers import BertModel, PreTrainedModel

    import pinformers

    before = vars(PreTrainedModel)["from_pretrained"]

    def warned() -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with contextlib.suppress(OSError):
                BertModel.from_pretrained("tiny/nowhere", tp_plan="auto")
        return [f"{seen.filename} {seen.message}" for seen in caught]

    off = warned()
    with pinformers.enable():
        assert vars(PreTrainedModel)["from_pretrained"] is before
        assert is_ours(vars(PreTrainedModel)["_load_pretrained_model"])
        assert warned() == off


# -- ends that meet something ---------------------------------------------------------------------------------


@scene
def test_an_enabling_that_fails_leaves_nothing() -> None:
    import transformers

    import pinformers
    from pinformers.importing.routing import Route

    assert transformers.AutoModel
    before = Snapshot()
    whole = Route.executed

    def fails(self: Any, name: str, module: ModuleType) -> None:
        whole(self, name, module)
        if name.endswith("modeling_auto"):
            raise KeyboardInterrupt

    Route.executed = fails  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        pinformers.enable()
    assert (status()["enabled"], status()["applied"], before.changes(), traces()) == (False, False, [], [])


@scene
def test_what_stands_for_transformers_and_is_no_module_is_left_alone() -> None:
    from types import SimpleNamespace
    from unittest import mock

    import pinformers

    for stranger in (mock.MagicMock(), SimpleNamespace(AutoModel=1), 1):
        with mock.patch.dict(sys.modules, {"transformers": stranger}), pinformers.enable(log="off"):
            assert (status()["enabled"], status()["applied"]) == (True, False)


@scene
def test_a_spec_that_was_found_before_the_end_is_executed_plain_after_it() -> None:
    import pinformers
    from pinformers.importing.hook import ImportHook

    handle = pinformers.enable()
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.loader is not None
    handle.disable()
    seen: list[object] = []
    ImportHook._take_in = lambda self, *_: seen.append(self)  # type: ignore[method-assign]
    with pinformers.enable():
        sys.modules["transformers"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        from transformers import AutoModel
    assert AutoModel and traces() == []
    # Its own hook has ended, and does not begin again.
    assert len(set(map(id, seen))) == 1


@scene
def test_an_end_in_the_middle_of_an_import_leaves_nothing() -> None:
    import pinformers
    from pinformers.importing.routing import Route
    from pinformers.importing.swaps import Swaps

    # Wherever it is: each of these in its turn finds all undone when it has just begun, and goes on.
    for name, cls in (("_install_client", Route), ("executed", Route), ("place", Swaps), ("function", Swaps)):
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0, name
            continue
        whole: Any = getattr(cls, name)
        ends: list[threading.Thread] = []

        def met(self: Any, *args: Any, whole: Any = whole, ends: Any = ends) -> Any:
            if not ends:
                ends.append(threading.Thread(target=pinformers.disable))
                ends[0].start()
                ends[0].join()
            return whole(self, *args)

        setattr(cls, name, met)
        pinformers.enable()
        from transformers import AutoConfig

        left = traces()
        assert ends and AutoConfig and left == [], left
        os._exit(0)


@scene
def test_a_fork_while_another_thread_holds_our_locks() -> None:
    import signal

    import pinformers
    from pinformers import _activation, _composition

    pin_config()
    pinformers.enable()
    import transformers

    build, held, go = _composition.build_resolver, threading.Event(), threading.Event()

    def slow(*args: Any) -> Any:
        with _activation._STATE._lock:
            held.set()
            go.wait()
            return build(*args)

    _composition.build_resolver = slow
    other = threading.Thread(target=load)
    other.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        _composition.build_resolver = build
        load()
        assert status()["hits"] == 1
        # Deep in a resolver are locks, too; the next child builds one anew.
        before = _activation._STATE.current()
        if os.fork() == 0:
            os._exit(_activation._STATE.current() is before)
        assert os.wait()[1] == 0
        pinformers.disable()
        assert not wrapped(transformers.AutoConfig)
        os._exit(0)
    go.set()
    other.join()
    assert os.waitpid(child, 0)[1] == 0


# -- status ---------------------------------------------------------------------------------------------------


@scene
def test_status_in_each_state() -> None:
    import importlib.metadata

    import pinformers

    def seen(*names: str) -> list[object]:
        found = pinformers.get_status()
        assert type(found) is dict
        assert set(found) == STATUS
        assert json.loads(json.dumps(found)) == found
        return [found[name] for name in names or ("enabled", "applied", "should_patch", "reason")]

    hub = Path(os.environ["HF_HOME"]) / "hub"
    pin_config()
    assert seen() == [False, False, True, "not enabled"]
    assert "transformers" not in sys.modules
    assert seen("cache_dir", "state_dir", "sources", "on_miss") == [
        str(hub),
        str(hub.parent / "pinformers"),
        ["embedded", "kubo", "hub"],
        "import",
    ]
    assert seen("pins", "hits", "misses", "fallbacks", "displaced") == [1, 0, 0, 0, False]
    assert status()["bytes"] == len(json.dumps(CONFIG))
    (versions,) = seen("versions")
    assert versions["transformers"] == importlib.metadata.version("transformers")
    assert set(versions) == {"python", "pinformers", "transformers", "huggingface_hub", "torch", "filelock"}
    handle = pinformers.enable(sources="hub", log="off")
    assert seen() == [True, False, True, "enabled by pinformers.enable()"]
    assert seen("sources", "patched_classes") == [["hub"], []]
    import transformers

    assert seen() == [True, True, True, "enabled by pinformers.enable()"]
    assert len(status()["patched_classes"]) > 40
    load()
    assert seen("hits", "misses") == [1, 0]
    with pytest.raises(OSError):
        transformers.AutoConfig.from_pretrained("tiny/nowhere")
    os.environ["CI"] = "true"
    assert seen("enabled", "applied", "should_patch") == [True, True, False]
    handle.disable()
    assert seen() == [False, False, False, "CI environment detected, disabling transformers patching"]
    assert seen("patched_classes") == [[]]
    assert not pinformers.enable(log="off").active
    assert not wrapped(transformers.AutoConfig)
    with pinformers.enable(force=True, log="off"):
        assert seen() == [True, True, True, "enabled by pinformers.enable()"]
    del os.environ["CI"]
    # The last word was the handle's.
    assert seen() == [False, False, True, "disabled by its handle"]


@scene
def test_a_gate_that_closes_before_the_import_undoes_all() -> None:
    import pinformers

    handle = pinformers.enable()
    os.environ["STORAGE_FORCE_LOCAL"] = "1"
    import transformers

    line = "Using local filesystem (distributed storage disabled)"
    assert (handle.active, handle.reason) == (False, line)
    assert traces() == []
    assert not wrapped(transformers.AutoModel)
    assert (status()["enabled"], status()["reason"]) == (False, line)


@scene
def test_import_auto() -> None:
    import pinformers
    import pinformers.auto

    assert pinformers.auto.handle.active
    importlib.import_module("pinformers.auto")
    import transformers

    assert wrapped(transformers.AutoModel)
    pinformers.auto.handle.disable()
    assert not status()["enabled"]
    assert traces() == []


@scene
def test_a_configured_application_gets_the_lines_as_records() -> None:
    records: list[tuple[str, int, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name.startswith("pinformers"):
                records.append((record.name, record.levelno, record.getMessage()))

    logging.basicConfig(level=logging.INFO, handlers=[Keep()])
    import pinformers

    pinformers.enable()
    import transformers

    assert transformers.AutoModel
    count = len(status()["patched_classes"])
    assert records == [
        ("pinformers", logging.INFO, "Auto-patching transformers for distributed storage..."),
        ("pinformers", logging.INFO, f"Successfully patched {count} transformers classes"),
    ]


# -- a transformers that is not there, or breaks --------------------------------------------------------------


@scene
def test_none_in_sys_modules_fails_as_always() -> None:
    import pinformers

    sys.modules["transformers"] = None  # type: ignore[assignment]

    def outcome() -> tuple[object, ...]:
        try:
            importlib.import_module("transformers")
        except ImportError as error:
            return type(error), str(error), error.name, error.path
        raise AssertionError("it was imported")

    off = outcome()
    with pinformers.enable():
        assert outcome() == off
        assert not status()["applied"]
    assert sys.modules["transformers"] is None


TRY = """
import json, sys
outcomes = []
for statement in ("import transformers", "from transformers import AutoModel", "import transformers.models.auto"):
    try:
        exec(statement)
        outcomes.append("imported")
    except BaseException as error:
        said = [type(error).__qualname__, str(error), getattr(error, "name", None), getattr(error, "path", None)]
        outcomes.append(said + [repr(error.__cause__), repr(error.__context__)])
    outcomes.append(sorted(name for name in sys.modules if name.startswith("transformers")))
print(json.dumps(outcomes))
"""
SWITCHES = ({}, {"PINFORMERS": "1"}, {"PINFORMERS": "force", "CI": "1"}, {"PINFORMERS": "1", "CI": "1"})
BROKEN = {
    "at once": {"__init__.py": "raise RuntimeError('half-way')"},
    "a dependency": {"__init__.py": "import no_such_dependency"},
    "a child": {"__init__.py": "from . import child", "child.py": "1 / 0"},
    "syntax": {"__init__.py": "def broken(:\n"},
    "exit": {"__init__.py": "raise SystemExit('too old')"},
    "after it replaced itself": {
        "__init__.py": "import sys, types\nsys.modules[__name__] = types.ModuleType(__name__)\nraise OSError(5, 'half')"
    },
    "a child later": {"__init__.py": "", "models/__init__.py": "", "models/auto/__init__.py": "raise LookupError('x')"},
    "only the second time": {
        "__init__.py": "import sys\nsys.tries = getattr(sys, 'tries', 0) + 1\n1 / (sys.tries - 1)"
    },
}


def outcomes(python: Path | str, home: Path, **extra: str) -> tuple[Any, list[str]]:
    env = clean_env(home, **extra)
    done = subprocess.run([str(python), "-c", TRY], env=env, cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr.splitlines()


def test_without_transformers_the_import_fails_as_without_us(tmp_path: Path) -> None:
    """In an environment with everything of this one, the start-up line too, but transformers."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True, timeout=120)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"(sentence_)?transformers\b", installed.name):
            (site / installed.name).symlink_to(installed)
    python = tmp_path / "venv" / "bin" / "python"
    plain = outcomes(python, tmp_path, PINFORMERS="0")
    assert plain[0][0][:3] == ["ModuleNotFoundError", "No module named 'transformers'", "transformers"]
    assert plain[1] == []
    for switch in SWITCHES:
        assert outcomes(python, tmp_path, **switch) == plain
    code = "import pinformers; pinformers.enable(); print(pinformers.get_status()['versions']['transformers'])"
    done = subprocess.run(
        [str(python), "-c", code], env=clean_env(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("None\n", "")


@pytest.mark.parametrize("broken", BROKEN)
def test_a_transformers_that_fails_half_way_fails_the_same(broken: str, tmp_path: Path) -> None:
    for name, content in BROKEN[broken].items():
        path = tmp_path / "path" / "transformers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = [outcomes(sys.executable, tmp_path, PYTHONPATH=str(tmp_path / "path"), **switch) for switch in SWITCHES]
    assert found[0][1] == []
    assert [outcome for outcome, _ in found] == [found[0][0]] * len(SWITCHES)
    # Not a line as long as it does not stand.
    stood = any("transformers" in outcome for outcome in found[0][0][1::2])
    assert [bool(stderr) for _, stderr in found] == [False, stood, stood, stood]
    assert stood is (broken in ("a child later", "only the second time"))


if __name__ == "__main__":
    serve(sys.stdin)
    os._exit(0)  # torch has much to say when it is taken apart
