"""Nobody can tell that we are there: what a user's script sees is the same plain and pinned."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

import pytest

from compat.running import Case, Outcome, cases, compare, read_case

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compatibility.md"
CASES = cases()
pytestmark = pytest.mark.torch


def parameter(case: Case) -> object:
    return pytest.param(case, id=case.identity, marks=() if case.always else pytest.mark.compat)


@pytest.mark.parametrize("case", [parameter(case) for case in CASES])
def test_a_script_sees_the_same(case: Case, checkpoints: Path, tmp_path: Path) -> None:
    if case.missing and "PINFORMERS_REQUIRE_COMPAT" not in os.environ:
        pytest.skip(f"needs {', '.join(case.missing)}")
    found = compare(case, checkpoints, tmp_path)
    assert not found.different, "\n".join(told(way, found.plain, other) for way, other in found.different.items())
    assert found.plain.stdout, "the case observes nothing"
    assert "Traceback" not in found.plain.stderr, found.plain.stderr


def told(way: str, plain: Outcome, other: Outcome) -> str:
    lines = [(f"status {seen.status}\n{seen.stdout}\n---\n{seen.stderr}").splitlines() for seen in (plain, other)]
    return "\n".join(difflib.unified_diff(*lines, "plain", way, lineterm="", n=1))


def test_no_case_knows_of_pinformers() -> None:
    assert not [case.identity for case in CASES if "pinformers" in case.script.read_text().split('"""', 2)[2].lower()]


def test_rows_have_names_of_their_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_the_page_has_a_row_for_each_case_and_each_says_same() -> None:
    rows = re.findall(r"^\| (.+?) \| .+ \| (\S+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    said = {name: same for name, same in rows if name != "case" and not name.startswith("-")}
    assert said == {case.name: "same" for case in CASES}, "run `tox -e table`"


def test_a_directive_that_means_nothing_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "case.py"
    script.write_text('"""Name\n\nmodel: bert\n"""\n')
    with pytest.raises(ValueError, match="model: bert"):
        read_case(script)


@pytest.mark.parametrize("told_apart", ["import sys; print(len(sys.meta_path))", "import os; print(os.getcwd()); 1/0"])
def test_a_difference_is_found(told_apart: str, tmp_path: Path) -> None:
    script = tmp_path / "case.py"
    script.write_text(f'"""Name"""\nimport os, sys\n{told_apart}\n')
    found = compare(read_case(script), tmp_path, tmp_path)
    assert bool(found.different) is ("meta_path" in told_apart)
    assert found.plain.status == (1 if "1/0" in told_apart else 0)
