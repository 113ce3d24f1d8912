"""What the start-up line costs and says, in processes of their own, with the package as it is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import pinformers
from environment import clean_env
from pinformers import _metadata

SOURCE = Path(pinformers.__file__ or "").parent.parent
ON = [
    "[INFO] Auto-patching transformers for distributed storage...",
    "[INFO] Successfully patched {} transformers classes",
]
CI = "[INFO] CI environment detected, disabling transformers patching"
DISABLED = "[INFO] Transformers patching disabled via environment variable"
LOCAL = "[INFO] Using local filesystem (distributed storage disabled)"
STANDING = """
import json, sys
print("before", file=sys.stderr, flush=True)
import transformers
print("after", file=sys.stderr, flush=True)
hooks = [type(finder).__module__ for finder in sys.meta_path if type(finder).__module__.startswith("pinformers")]
wrapper = vars(transformers.AutoConfig)["from_pretrained"].__func__
import pinformers
from pinformers.importing.standing_in import stands_in
status = pinformers.get_status()
print(json.dumps({
    "hooks": hooks,
    "wrapped": stands_in(wrapper),
    "module": type(transformers).__dict__.get("__reduce__").__module__,
    "status": {name: status[name] for name in ("enabled", "applied", "should_patch", "reason", "patched_classes")},
}))
"""
real = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")


def python(code: str, env: Mapping[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-c", code]
    done = subprocess.run(command, env=dict(env), cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def answers(code: str, env: Mapping[str, str], *flags: str) -> Any:
    return json.loads(python(code, env, *flags).stdout)


def modules(code: str, env: Mapping[str, str], *flags: str) -> set[str]:
    return set(answers(f"import sys\n{code}\nimport json; print(json.dumps(sorted(seen)))", env, *flags))


# -- off ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [None, "0", "off"])
def test_off_loads_one_small_module_of_ours_at_most(switch: str | None, tmp_path: Path) -> None:
    env = clean_env(tmp_path, **({} if switch is None else {"PINFORMERS": switch}))
    seen = modules("seen = {name for name in sys.modules if name.startswith('pinformers')}", env)
    # From Python 3.15 on the .start file is read, which names a function of ours.
    asked = switch is not None or sys.version_info >= (3, 15)
    assert seen == ({"pinformers", "pinformers._autostart"} if asked else set())
    finders = answers("import json, sys; print(json.dumps([str(f) for f in sys.meta_path]))", env)
    assert "pinformers" not in str(finders)


def test_importing_the_package_brings_in_nothing_but_itself(tmp_path: Path) -> None:
    # -S: without site, nothing is there that the start-up line could have brought in already.
    prepare = f"sys.path.insert(0, {str(SOURCE)!r}); "
    count = "before = set(sys.modules); import {}; seen = set(sys.modules) - before"
    env = clean_env(tmp_path)
    assert modules(prepare + count.format("pinformers"), env, "-S") <= {"__future__", "pinformers"}
    target = modules(prepare + "import os, __future__; " + count.format("pinformers._autostart"), env, "-S")
    assert target == {"pinformers", "pinformers._autostart"}


OURS = {"pinformers", "pinformers._autostart", "pinformers._waiting"}


@pytest.mark.parametrize("switch", ["0", "1", "force"])
def test_start_up_brings_in_nothing_but_the_place_of_our_finder(switch: str, tmp_path: Path) -> None:
    watch = "seen = {name for name in sys.modules}"
    # What other packages' .pth files import is there without us too.
    off = modules(watch, clean_env(tmp_path, PINFORMERS="0"))
    assert modules(watch, clean_env(tmp_path, PINFORMERS=switch)) - off <= OURS


def test_the_programs_own_modules_hide_those_of_the_standard_library_as_ever(tmp_path: Path) -> None:
    """What start-up imports is the standard library's for good: Python adds the program's folder later."""
    (tmp_path / "token.py").write_text("TOKEN = 'secret'")
    (tmp_path / "ipaddress.py").write_text("ip = '10.0.0.1'")
    script = tmp_path / "main.py"
    script.write_text("import token, ipaddress; print(token.TOKEN, ipaddress.ip)")
    env = clean_env(tmp_path, PINFORMERS="1")
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("secret 10.0.0.1\n", "")


@pytest.mark.parametrize(
    "question", ["import pinformers.auto", "import pinformers; pinformers.enable()", "import transformers"]
)
def test_whoever_comes_first_finds_it_switched_on(question: str, fake: dict[str, str]) -> None:
    code = f"""
import sys
others = [*sys.meta_path]
class Mine:
    def find_spec(self, *_): return None
mine = Mine()
sys.meta_path.insert(0, mine)
{question}
import pinformers
status = pinformers.get_status()
print(status["enabled"], status["displaced"], sys.meta_path[0] is mine, type(sys.meta_path[1]).__name__)
pinformers.disable()
print(sys.meta_path == [mine, *others[1:]], pinformers.get_status()["enabled"])
"""
    assert python(code, {**fake, "PINFORMERS": "1"}).stdout.splitlines() == ["True False True Finder", "True False"]


def test_a_place_that_somebody_took_away_stays_empty(fake: dict[str, str]) -> None:
    code = """
import sys
del sys.meta_path[0]
import pinformers
print(pinformers.get_status()["displaced"])
import transformers
print(pinformers.get_status()["applied"])
"""
    assert python(code, {**fake, "PINFORMERS": "1"}).stdout.split() == ["True", "False"]


def test_a_list_that_was_saved_before_it_came_may_be_put_back(fake: dict[str, str]) -> None:
    """As pytest does around a test, and monkeypatch."""
    code = """
import sys
saved = [*sys.meta_path]
import transformers
def ask():
    try: import transformers.nothing
    except ImportError: pass
sys.meta_path[:] = saved
ask()
import pinformers
status = pinformers.get_status()
print(status["applied"], status["displaced"], [type(one).__name__ for one in sys.meta_path].count("Finder"))
sys.meta_path[:] = saved
sys.meta_path.insert(1, pinformers._activation.finder())
ask()
print([type(one).__name__ for one in sys.meta_path][:2])
pinformers.disable()
ask()
"""
    done = python(code, {**fake, "PINFORMERS": "1"})
    assert done.stdout.splitlines() == ["True False 1", "['Waiting', 'Finder']"], done.stderr


def test_threads_that_come_first_together_start_it_once(fake: dict[str, str]) -> None:
    code = """
import sys, threading
gate = threading.Barrier(4)
def ask(number):
    gate.wait()
    if number % 2:
        import transformers
    else:
        import pinformers; pinformers.get_status()
threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
import pinformers
print(pinformers.get_status()["applied"], [type(one).__name__ for one in sys.meta_path].count("Finder"))
"""
    for _ in range(3):
        assert python(code, {**fake, "PINFORMERS": "1"}).stdout.split() == ["True", "1"]


# -- silence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [None, "0", "1", "force"])
@pytest.mark.parametrize("home", ["writable", "/proc/nonexistent"])
def test_start_up_prints_and_writes_nothing(switch: str | None, home: str, tmp_path: Path) -> None:
    env = clean_env(tmp_path if home == "writable" else Path(home))
    if switch is not None:
        env["PINFORMERS"] = switch
    done = python("import pinformers", env, "-X", "dev", "-W", "error")
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_waits_for_transformers(tmp_path: Path) -> None:
    """A process that never imports transformers does not even read our settings."""
    done = python("import json", clean_env(tmp_path, PINFORMERS="1", PINFORMERS_LOG="loud"))
    assert (done.stdout, done.stderr) == ("", "")


# -- with a transformers that costs nothing -------------------------------------------------------------------

FAKE = """
import sys
from types import ModuleType

class _LazyModule(ModuleType):
    _class_to_module = {"AutoModel": "models.auto.modeling_auto", "AutoConfig": "models.auto.configuration_auto"}
    def __getattr__(self, name):
        raise AttributeError(name)

sys.modules[__name__] = _LazyModule(__name__)
sys.modules[__name__].__spec__ = __spec__
sys.modules[__name__].__path__ = __path__
"""


@pytest.fixture
def fake(tmp_path: Path) -> dict[str, str]:
    """An environment with a `transformers` that is a lazy module and nothing else."""
    (tmp_path / "path" / "transformers").mkdir(parents=True)
    (tmp_path / "path" / "transformers" / "__init__.py").write_text(FAKE)
    return clean_env(tmp_path / "home", PYTHONPATH=str(tmp_path / "path"))


def lines(env: Mapping[str, str], code: str = "import transformers", **more: str) -> list[str]:
    done = python(code, {**env, **more})
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_the_two_lines_and_no_others(fake: dict[str, str]) -> None:
    two = [ON[0], ON[1].format(2)]
    assert lines(fake) == []
    assert lines(fake, PINFORMERS="1") == two
    assert lines(fake, "import transformers, importlib; importlib.reload(transformers)", PINFORMERS="1") == two
    assert lines(fake, "import pinformers.auto, transformers") == two
    assert lines(fake, "import transformers, pinformers.auto") == two
    assert lines(fake, "import pinformers.auto, pinformers; pinformers.enable(); import transformers") == two


def test_a_line_that_site_reads_twice_switches_on_once(fake: dict[str, str]) -> None:
    """It reads every .pth file of a virtual environment twice."""
    code = "from pinformers import _activation, _autostart; _autostart.main(); print(len(_activation._STATE._handles))"
    assert python(code, {**fake, "PINFORMERS": "1"}).stdout == "1\n"


@pytest.mark.parametrize(
    ("variable", "line"), [("CI", CI), ("TRANSFORMERS_PATCH_DISABLE", DISABLED), ("STORAGE_FORCE_LOCAL", LOCAL)]
)
def test_a_closed_gate_says_its_one_line(variable: str, line: str, fake: dict[str, str]) -> None:
    fake[variable] = "true"
    assert lines(fake, "", PINFORMERS="1") == []
    assert lines(fake, PINFORMERS="1") == [line]
    assert lines(fake, "import transformers, importlib; importlib.reload(transformers)", PINFORMERS="1") == [line]
    assert lines(fake, "import pinformers.auto, transformers") == [line]
    forced = [ON[0], ON[1].format(2)] if variable == "CI" else [line]
    assert lines(fake, PINFORMERS="force") == forced
    assert lines(fake, "import pinformers; pinformers.enable(force=True); import transformers") == forced


def test_a_forced_activation_passes_ci_whatever_start_up_said(fake: dict[str, str]) -> None:
    code = """
import pinformers
handle = pinformers.enable(force=True)
import transformers
print(pinformers.get_status()["applied"])
handle.disable()
print(pinformers.get_status()["enabled"])
"""
    done = python(code, {**fake, "CI": "true", "PINFORMERS": "1"})
    assert done.stdout.split() == ["True", "False"]
    assert done.stderr.splitlines() == [ON[0], ON[1].format(2)]


@pytest.mark.parametrize("gate", [{}, {"CI": "1"}, {"STORAGE_FORCE_LOCAL": "1"}])
@pytest.mark.parametrize("log", ["off", "warning"])
def test_log_off_says_nothing_even_where_the_gate_is_closed(
    gate: dict[str, str], log: str, fake: dict[str, str]
) -> None:
    assert lines(fake, PINFORMERS="1", PINFORMERS_LOG=log, **gate) == []
    assert lines(fake, "import pinformers.auto, transformers", PINFORMERS_LOG=log, **gate) == []


def test_the_innermost_settings_say_what_is_shown(fake: dict[str, str]) -> None:
    code = "import pinformers; pinformers.enable(log='off'); import transformers"
    assert lines(fake, code, PINFORMERS="1") == []


def test_a_variable_without_effect_is_warned_of_once_and_as_every_other_line(fake: dict[str, str]) -> None:
    warning = "[WARNING] The variable PINFORMERS_KUBO names no setting; `pinformers config` lists them."
    ways = ("import transformers", "import pinformers.auto, transformers")
    for code, switch in zip(ways, ("1", "0"), strict=True):
        code += "; import pinformers; pinformers.get_status()"
        given = {"PINFORMERS": switch, "PINFORMERS_KUBO": "x"}
        assert sorted(lines(fake, code, **given)) == sorted([warning, ON[0], ON[1].format(2)])
        assert lines(fake, code, PINFORMERS_LOG="warning", **given) == [warning]
        assert lines(fake, code, PINFORMERS_LOG="off", **given) == []


def test_an_application_that_configured_logging_gets_the_records(fake: dict[str, str]) -> None:
    shape = "%(name)s|%(levelname)s|%(message)s"
    code = f"import logging; logging.basicConfig(level={{}}, format='{shape}')\nimport transformers"
    records = [f"pinformers|INFO|{line.removeprefix('[INFO] ')}" for line in (ON[0], ON[1].format(2))]
    assert lines(fake, code.format("'INFO'"), PINFORMERS="1") == records
    assert lines(fake, code.format("'WARNING'"), PINFORMERS="1") == []


def test_a_wrong_setting_stops_the_import_with_one_sentence_each_time(fake: dict[str, str]) -> None:
    code = """
for _ in range(2):
    try:
        import transformers
    except ValueError as error:
        print(type(error).__name__, error)
"""
    done = python(code, {**fake, "PINFORMERS": "1", "PINFORMERS_ON_MISS": "maybe"})
    sentence = "SettingsError The setting on_miss is 'maybe' (from PINFORMERS_ON_MISS); it should be "
    assert [line[: len(sentence)] for line in done.stdout.splitlines()] == [sentence] * 2
    assert done.stderr == ""


def test_a_wrong_setting_is_told_of_once_where_only_the_hub_s_client_is_imported(fake: dict[str, str]) -> None:
    env = {**fake, "PINFORMERS": "1", "PINFORMERS_ON_MISS": "maybe"}
    line = "[WARNING] huggingface_hub is left as it is: The setting on_miss is 'maybe' (from PINFORMERS_ON_MISS); it "
    said = python("import huggingface_hub.hf_api, huggingface_hub.file_download", env).stderr
    assert (said[: len(line)], said.count("\n")) == (line, 1)
    # The import of transformers says it, by its error.
    package = Path(fake["PYTHONPATH"], "transformers", "__init__.py")
    package.write_text("import huggingface_hub.hf_api\n" + package.read_text())
    code = "import contextlib\nwith contextlib.suppress(ValueError):\n import transformers"
    assert python(code, env).stderr == ""


def test_a_wrong_setting_does_not_matter_where_the_gate_is_closed(fake: dict[str, str]) -> None:
    """The way out must work even when everything else of ours is misconfigured."""
    switches = {"PINFORMERS": "1", "TRANSFORMERS_PATCH_DISABLE": "1", "PINFORMERS_ON_MISS": "maybe"}
    assert lines(fake, **switches) == [DISABLED]


def test_a_closed_stderr_does_not_stop_the_import(fake: dict[str, str]) -> None:
    code = "import sys; sys.stderr.close(); import transformers; sys.stdout.write('here')"
    assert python(code, {**fake, "PINFORMERS": "1"}).stdout == "here"


# -- with the real one ----------------------------------------------------------------------------------------


@real
def test_the_switch_patches_when_transformers_is_imported_and_says_so_once(tmp_path: Path) -> None:
    done = python(STANDING, clean_env(tmp_path, PINFORMERS="1"))
    found = json.loads(done.stdout)
    names = found["status"]["patched_classes"]
    assert done.stderr.splitlines() == ["before", ON[0], ON[1].format(len(names)), "after"]
    assert len(names) > 40
    assert found["hooks"] == ["pinformers.importing.finder"]
    assert (found["wrapped"], found["module"]) == (True, "pinformers.importing.proxy")
    assert (found["status"]["enabled"], found["status"]["applied"]) == (True, True)


@real
def test_two_threads_reload_and_the_second_execution_say_it_once(tmp_path: Path) -> None:
    code = """
import importlib, sys, threading
barrier = threading.Barrier(2)
def work():
    barrier.wait()
    import transformers
    assert transformers.AutoConfig.from_pretrained
threads = [threading.Thread(target=work) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
import transformers
first = transformers
import transformers.processing_utils
assert sys.modules["transformers"] is not first, "the trap is gone: this test has lost its point"
importlib.reload(sys.modules["transformers"])
import transformers
import pinformers
from pinformers.importing.standing_in import stands_in
assert stands_in(transformers.AutoConfig.from_pretrained)
pinformers.enable()
print(len(pinformers.get_status()["patched_classes"]))
"""
    done = python(code, clean_env(tmp_path, PINFORMERS="1"))
    assert done.stderr.splitlines() == [ON[0], ON[1].format(done.stdout.strip())]


@real
def test_ci_is_said_when_transformers_is_imported_and_nothing_is_patched(tmp_path: Path) -> None:
    done = python(STANDING, clean_env(tmp_path, PINFORMERS="1", CI="true"))
    assert done.stderr.splitlines() == ["before", CI, "after"]
    found = json.loads(done.stdout)
    assert (found["hooks"], found["wrapped"]) == ([], False)
    assert found["module"] != "pinformers.importing.proxy"
    assert found["status"] == {
        "enabled": False,
        "applied": False,
        "should_patch": False,
        "reason": CI.removeprefix("[INFO] "),
        "patched_classes": [],
    }


# -- the end --------------------------------------------------------------------------------------------------


@pytest.mark.skipif((_metadata.version("transformers") or "0") < "5", reason="needs transformers 5")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 keeps it all the same")
def test_the_end_of_the_interpreter_finds_transformers_as_free_as_without_us(tmp_path: Path) -> None:
    """What the hook remembers would keep it for a second search for garbage, milliseconds for each process."""
    wiped = "# cleanup[3] wiping transformers\n"
    for switch in ("0", "1"):
        assert wiped not in python("import transformers", clean_env(tmp_path, PINFORMERS=switch), "-v").stderr
