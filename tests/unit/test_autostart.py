from __future__ import annotations

import pkgutil
import site
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pinformers
from pinformers import _activation, _autostart, _waiting

TRUTHY = ("1", "true", "yes", "on", "ON", "anything", " 1 ", "forced")
FORCE = ("force", "FORCE", " Force ")
FALSY = ("0", "false", "False", "no", "off", "OFF", " 0 ")
UNSAID = (None, "", "  ")


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / _autostart.MARKER
    monkeypatch.setattr(_autostart, "marker", lambda: str(path))
    monkeypatch.delenv(_autostart.SWITCH, raising=False)
    return path


def say(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("PINFORMERS", raising=False)
    else:
        monkeypatch.setenv("PINFORMERS", value)


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize(
    ("value", "how"), [*((v, "env") for v in TRUTHY), *((v, "force") for v in FORCE), *((v, None) for v in FALSY)]
)
def test_the_variable_wins_over_the_marker(
    value: str, how: str | None, marked: bool, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if marked:
        marker.touch()
    say(value, monkeypatch)
    assert _autostart.wanted() == how


@pytest.mark.parametrize("value", UNSAID)
def test_without_the_variable_the_marker_decides(
    value: str | None, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(value, monkeypatch)
    assert _autostart.wanted() is None
    marker.touch()
    assert _autostart.wanted() == "marker"


def test_the_marker_lies_where_python_reads_start_up_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules, other, places = (tmp_path / name for name in ("modules", "other", "site-packages"))
    monkeypatch.setattr(_autostart, "__file__", str(modules / "pinformers" / "_autostart.py"))
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(other), str(places)])
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(tmp_path / "user"))
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    # PYTHONPATH, or a folder that a program adds by itself.
    assert _autostart.marker() is None
    assert not _autostart.marked()
    places.mkdir()
    (places / "pinformers.pth").touch()
    # An editable installation.
    assert _autostart.marker() == str(places / _autostart.MARKER)
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "pinformers.pth").touch()
    assert _autostart.marker() == str(tmp_path / "user" / _autostart.MARKER)
    monkeypatch.setattr(site, "ENABLE_USER_SITE", False)
    assert _autostart.marker() == str(places / _autostart.MARKER)
    monkeypatch.setattr(_autostart, "__file__", str(other / "pinformers" / "_autostart.py"))
    assert _autostart.marker() == str(other / _autostart.MARKER)


@pytest.mark.parametrize("value", [None, "0", "1", "force"])
@pytest.mark.parametrize("late", [False, True])
def test_main_starts_what_is_wanted_and_nothing_else(
    value: str | None, late: bool, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(_activation, "start", started.append)
    monkeypatch.setattr(_waiting, "finder", None)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in (*_autostart.PACKAGES, "pinformers._activation"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    if late:
        monkeypatch.setitem(sys.modules, "huggingface_hub", ModuleType("huggingface_hub"))
        monkeypatch.setitem(sys.modules, "pinformers._activation", _activation)
    say(value, monkeypatch)
    _autostart.main()
    wanted = {None: [], "0": [], "1": ["env"], "force": ["force"]}[value]
    assert started == (wanted if late else [])
    waits = _waiting.finder
    assert [waits.how] == wanted if waits else not wanted or late
    assert waits is None or sys.meta_path[0] is waits


def test_the_start_lines_name_this_target() -> None:
    source = Path(pinformers.__file__ or "").parent.parent
    lines = [source / "pinformers.start", source / "pinformers.pth"]
    if not all(line.exists() for line in lines):
        pytest.skip("installed from a wheel: tests/integration/test_wheel.py looks there")
    start, pth = (line.read_text().strip() for line in lines)
    assert pkgutil.resolve_name(start) is _autostart.main
    # Python executes a line of a .pth file only where it begins like this, and prints a traceback where it fails.
    assert pth.startswith("import ")
    assert "\n" not in pth
    assert "ModuleNotFoundError" in pth
    asks, tells = "os.environ.get('PINFORMERS') and ", "activated=True"
    assert pth.replace(asks, "") == _autostart.LINE.replace(tells, "").strip()


@pytest.mark.parametrize(("value", "starts"), [(None, False), ("", False), ("0", True), ("1", True)])
def test_the_start_line_looks_at_the_variable_alone(
    value: str | None, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Path(pinformers.__file__ or "").parent.parent / "pinformers.pth"
    if not line.exists():
        pytest.skip("installed from a wheel: tests/integration/test_wheel.py looks there")
    started: list[bool] = []
    monkeypatch.setattr(_autostart, "main", lambda *, activated=False: started.append(activated))
    say(value, monkeypatch)
    exec(line.read_text(), {}, {})
    assert started == [False] * starts
    exec(_autostart.LINE, {}, {})
    assert started == [*[False] * starts, True]
