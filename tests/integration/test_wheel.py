"""The wheel carries the start-up line, and takes it away again; each test has a Python environment of its own."""

from __future__ import annotations

import csv
import importlib.util
import json
import pkgutil
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from environment import clean_env

ROOT = Path(__file__).parents[2]
LINES = [
    "[INFO] Auto-patching transformers for distributed storage...",
    "[INFO] Successfully patched 1 transformers classes",
]
FAKE = """
import sys
from types import ModuleType
module = ModuleType(__name__)
module._class_to_module = {"AutoModel": "models.auto.modeling_auto"}
sys.modules[__name__] = module
"""
SEEN = "import json, sys; print(json.dumps(sorted(name for name in sys.modules if name.startswith('pinformers'))))"
OFF = ["pinformers", "pinformers._autostart"]
# From Python 3.15 on the .start file is read, which can only name a function of ours.
SILENT: list[str] = [] if sys.version_info < (3, 15) else OFF


def build(tree: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tree / "dist")]
    done = subprocess.run(command, cwd=tree, env=clean_env(tree / "home"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    return wheel


def copy_checkout(folder: Path) -> Path:
    """Copy what a wheel is made of, so that nothing is written into the checkout."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(copy_checkout(tmp_path_factory.mktemp("checkout")))


class Environment:
    """A fresh virtual environment with a wheel unpacked into it, and the running one's packages, save ours."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True, timeout=120)
        (self.site,) = (folder / "venv" / "lib").glob("python*/site-packages")
        self.home, self.python = folder / "home", folder / "venv" / "bin" / "python"
        with zipfile.ZipFile(wheel) as content:
            content.extractall(self.site)
        (folder / "others").mkdir()
        for installed in Path(sysconfig.get_path("purelib")).iterdir():
            if "pinformers" not in installed.name and installed.suffix != ".pth":
                (folder / "others" / installed.name).symlink_to(installed)
        (self.site / "zz_others.pth").write_text(f"{folder / 'others'}\n")

    @property
    def record(self) -> list[str]:
        (path,) = self.site.glob("pinformers-*.dist-info/RECORD")
        return [row[0] for row in csv.reader(path.read_text().splitlines())]

    def fake_transformers(self) -> None:
        """Put a lazy `transformers` in front of the real one."""
        (self.site / "transformers").mkdir()
        (self.site / "transformers" / "__init__.py").write_text(FAKE)

    def run(self, code: str, *flags: str, **env: str) -> tuple[str, list[str]]:
        """Return what a process wrote to stdout, and the lines that it wrote to stderr."""
        command = [str(self.python), *flags, "-c", code]
        extra: Mapping[str, str] = clean_env(self.home, **env)
        done = subprocess.run(command, env=dict(extra), cwd="/", capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr.splitlines()

    def activate(self) -> Path:
        """Do what `pinformers activate` does; returns the start-up line that it left."""
        said = self.run("from pinformers._cli_switch import activate; activate(as_json=True)")[0]
        return Path(json.loads(said)["marker"])

    def modules(self, *flags: str, **env: str) -> list[str]:
        out, err = self.run(SEEN, *flags, **env)
        assert err == []
        found: list[str] = json.loads(out)
        return found

    def uninstall(self, *, tidy: bool) -> None:
        """Do what `pip uninstall` does: remove what RECORD names, and the bytecode that Python made of it."""
        for name in self.record:
            (self.site / name).unlink()
        package = self.site / "pinformers"
        for folder in [*sorted(package.rglob("*"), reverse=True), package] if tidy else ():
            if folder.name == "__pycache__":
                shutil.rmtree(folder)
            elif folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@pytest.fixture
def environment(tmp_path: Path, wheel: Path) -> Environment:
    made = Environment(tmp_path, wheel)
    made.fake_transformers()
    return made


# -- what is in it --------------------------------------------------------------------------------------------


def test_the_start_up_lines_lie_at_the_root_and_in_record(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
        recorded = {row[0]: row[1] for row in csv.reader(content.read(record).decode().splitlines())}
        start, pth = (content.read(name).decode() for name in ("pinformers.start", "pinformers.pth"))
    assert set(recorded) == set(names)
    assert recorded["pinformers.pth"].startswith("sha256=")
    assert recorded["pinformers.start"].startswith("sha256=")
    info = record.partition("/")[0]
    assert {name.partition("/")[0] for name in names} == {"pinformers", "pinformers.pth", "pinformers.start", info}
    assert {"pinformers/py.typed", "pinformers/_autostart.py", f"{info}/licenses/LICENSE"} <= set(names)
    # The forms that Python takes: one line each.
    assert pth.startswith("import ")
    assert pth.strip().count("\n") == start.strip().count("\n") == 0
    assert callable(pkgutil.resolve_name(start.strip()))


# -- on -------------------------------------------------------------------------------------------------------


def test_off_unless_the_variable_or_activate_says_so(environment: Environment) -> None:
    assert environment.modules() == SILENT
    assert environment.modules(PINFORMERS="0") == OFF
    assert environment.run("import transformers") == ("", [])
    assert environment.run("import transformers", PINFORMERS="1") == ("", LINES)
    marker = environment.activate()
    assert marker.parent == environment.site
    assert environment.run("import transformers") == ("", LINES)
    assert environment.run("import pinformers, transformers; print(pinformers.get_status()['reason'])")[0] == (
        "enabled by `pinformers activate`\n"
    )
    assert environment.modules(PINFORMERS="0") == OFF
    assert environment.run("import transformers", PINFORMERS="off") == ("", [])
    marker.unlink()
    assert environment.run("import transformers") == ("", [])


def test_both_lines_together_start_once(environment: Environment) -> None:
    environment.activate()
    seen = "import sys; print([type(one).__name__ for one in sys.meta_path].count('Waiting'))"
    assert environment.run(seen, PINFORMERS="1") == ("1\n", [])
    assert environment.run("import transformers", PINFORMERS="1") == ("", LINES)


@pytest.mark.parametrize("switch", ["variable", "marker"])
def test_isolated_python_obeys_the_switch_and_python_without_site_cannot(switch: str, environment: Environment) -> None:
    env = {"PINFORMERS": "1"} if switch == "variable" else {}
    if switch == "marker":
        environment.activate()
    for flag in ("-I", "-E", "-s"):
        assert environment.run("import transformers", flag, **env) == ("", LINES)
    assert environment.modules("-S", **env) == environment.modules("-I", "-S", **env) == []


def test_start_up_writes_nothing_and_survives_a_home_that_is_not_there(environment: Environment) -> None:
    environment.home = Path("/proc/nonexistent")
    assert environment.run("", "-B", PINFORMERS="1") == ("", [])
    assert environment.run("import transformers", "-B", PINFORMERS="1") == ("", LINES)
    assert not list(environment.site.glob("pinformers_activated*"))


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")
def test_the_wheel_patches_the_real_transformers(tmp_path: Path, wheel: Path) -> None:
    code = (
        "import transformers, pinformers; print(pinformers.__file__, len(pinformers.get_status()['patched_classes']))"
    )
    environment = Environment(tmp_path, wheel)
    out, err = environment.run(code, PINFORMERS="1")
    home, count = out.split()
    assert Path(home).is_relative_to(environment.site)
    assert err == [LINES[0], f"[INFO] Successfully patched {count} transformers classes"]
    assert int(count) > 40


# -- gone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tidy", [True, False])
def test_after_uninstall_nothing_acts_or_prints(tidy: bool, environment: Environment) -> None:
    marker = environment.activate()
    assert environment.run("import transformers") == ("", LINES)
    environment.uninstall(tidy=tidy)
    left = {path.relative_to(environment.site).parts[0] for path in environment.site.rglob("*") if path.is_file()}
    # Bytecode that stays is a folder of that name, which Python takes for a package without code.
    remains = [] if tidy else ["pinformers"]
    assert left - {"transformers", "zz_others.pth"} == {marker.name, *remains}
    for env in ({}, {"PINFORMERS": "1"}, {"PINFORMERS": "force"}):
        assert environment.modules(**env) == remains
        assert environment.run("import transformers", "-W", "error", "-X", "dev", **env) == ("", [])


@pytest.mark.parametrize("left", ["nothing", "empty folder", "bytecode"])
def test_a_line_whose_package_is_missing_says_nothing(left: str, environment: Environment) -> None:
    environment.run("import transformers", PINFORMERS="1")
    package = environment.site / "pinformers"
    for source in package.rglob("*.py"):
        source.unlink()
    if left != "bytecode":
        shutil.rmtree(package)
    if left == "empty folder":
        package.mkdir()
    assert (environment.site / "pinformers.pth").exists()
    for env in ({}, {"PINFORMERS": "1"}):
        assert environment.run("import transformers", **env) == ("", [])
