"""The versions that the documentation promises are those that the package declares and tox tries."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| (3\.\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
PAGE = (ROOT / "docs" / "reference" / "versions.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    declared: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return declared


def test_the_table_names_the_pythons_that_the_package_declares(project: dict[str, object]) -> None:
    declared = [name.rpartition(" ")[2] for name in project["classifiers"] if ":: 3." in name]  # type: ignore[attr-defined]
    assert [row[0] for row in _ROW.findall(PAGE)] == declared
    assert project["requires-python"] == f">={declared[0]}"


def test_the_table_names_the_transformers_that_the_package_declares(project: dict[str, object]) -> None:
    oldest, newest = re.findall(r"^\| Python \| transformers (\S+) \| transformers (\d+) \|$", PAGE, re.MULTILINE)[0]
    assert project["optional-dependencies"]["transformers"] == [f"transformers>={oldest}"]  # type: ignore[index]
    factors = configparser.ConfigParser(interpolation=None)
    factors.read(ROOT / "tox.ini", encoding="utf-8")
    deps = factors["testenv"]["deps"].split("\n")
    assert f"tf4: transformers>={oldest},<{newest}" in deps
    assert f"tf5: transformers>={newest}" in deps


def test_tox_tries_every_pair_of_the_table() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    tried = {name for name in tox["tox"]["env_list"].split() if name.startswith("py")}
    named = {cell.strip("`") for row in _ROW.findall(PAGE) for cell in row[1:] if cell != "-"}
    assert named == tried
    for python, *cells in _ROW.findall(PAGE):
        for factor, cell in zip(("tf4", "tf5"), cells, strict=True):
            assert cell in ("-", f"`py{python.replace('.', '')}-{factor}`")
