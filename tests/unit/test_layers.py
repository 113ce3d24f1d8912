"""The house of docs/concepts: floors look down only, and the two wings never meet."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "pinformers"
FLOORS = {
    "_asking": 0,
    "_errors": 0,
    "_settings": 0,
    "_gate": 0,
    "_waiting": 0,
    "_logging": 0,
    "_metadata": 0,
    "_discovery": 0,
    "ipfs": 1,
    "sources": 2,
    "importing": 3,
    "pinning": 3,
    "serving": 3,
    "_sharing": 4,
    "_composition": 4,
    "_activation": 4,
}
FACE = 5
WINGS = {"importing", "pinning", "serving"}
# What a room on a lower floor may name of ours: importing/ nothing but itself.
ONLY = {"importing": {"importing"}}


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "pinformers":
            found.update(f"pinformers.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module or "")
    return found


FILES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_floor_looks_down_only(path: Path) -> None:
    here = name_of(path)
    floor = FLOORS.get(here, FACE)
    for name in imports(path):
        if not name.startswith("pinformers"):
            continue
        there = room(name)
        assert here not in ONLY or there in ONLY[here], f"{here} may not know {name}"
        assert FLOORS.get(there, FACE) <= floor, f"{here} (floor {floor}) looks up to {name}"
        if here in WINGS:
            assert there not in WINGS - {here}, f"{here} knows the other wing: {name}"
        if floor == 0:
            assert there in {"", "_errors", "_discovery", "_metadata"}


@pytest.mark.parametrize("path", sorted((SOURCE / "importing").glob("*.py")), ids=lambda path: path.name)
def test_the_import_wing_is_standard_library_only(path: Path) -> None:
    import sys

    for name in imports(path):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names or top == "pinformers", f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sorted((SOURCE / "sources").glob("*.py")), ids=lambda path: path.name)
def test_urllib3_is_entered_by_its_front_door(path: Path) -> None:
    """Of two threads that import it by different doors, each finds half of it (`import requests` takes this one)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    froms = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    front = "urllib3" in {*froms, *names}
    assert front or not any(name.startswith("urllib3.") for name in froms)


def test_only_the_door_reads_the_environment() -> None:
    readers = {
        path.relative_to(SOURCE).as_posix() for path in FILES if "os.environ" in path.read_text(encoding="utf-8")
    }
    assert readers <= {"_settings.py", "_autostart.py", "_gate.py", "cli.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_rooms_are_not_overfull(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 50, f"{path.name}: {node.name} is too long"
