"""The documentation names what there is, and its links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path

import click
import pytest

import pinformers
from pinformers import _gate
from pinformers._settings import PREFIX, Settings
from pinformers.cli import root

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| `(\w+)` \| (.+?) \|$", re.MULTILINE)
# Machines and hosts that no reader has.
_FOREIGN = re.compile(r"/root/|/work/|pypi\.org|pythonhosted|huggingface\.co|proxy\.golang")


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    # As GitHub makes them: lower case, no punctuation, a hyphen for each space.
    found = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(page)))
    return set(found)


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in _LINK.findall(prose(page)):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def section(name: str) -> str:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    found = re.search(rf"^## `{name}`$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"cli.md has no section for {name}"
    return found[1]


def written(setting: Field[object]) -> str | None:
    """Return the default as the table writes it; None where words stand for it."""
    if setting.default is None or setting.default == ():
        return None
    if isinstance(setting.default, tuple):
        return ", ".join(setting.default)
    return str(setting.default)


@pytest.mark.parametrize(("page", "target"), list(links()), ids=lambda value: str(value).removeprefix(f"{ROOT}/"))
def test_a_link_leads_to_a_file_and_a_heading(page: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page
    assert file.exists(), f"{page.name}: {target} leads nowhere"
    if anchor:
        assert anchor in anchors(file), f"{page.name}: {file.name} has no heading for #{anchor}"


def test_the_index_names_every_page() -> None:
    index = DOCS / "index.md"
    named = {(DOCS / target.partition("#")[0]).resolve() for target in _LINK.findall(prose(index))}
    pages = {page for page in DOCS.rglob("*.md") if DOCS / "changelog" not in page.parents}
    assert pages - {index} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_no_machine_of_ours(page: Path) -> None:
    assert _FOREIGN.findall(page.read_text(encoding="utf-8")) == []


def test_the_table_of_settings_is_complete_and_true() -> None:
    text = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    rows = {name: (default, variable, about) for name, default, variable, about in _ROW.findall(text)}
    assert list(rows) == [setting.name for setting in fields(Settings)]
    for setting in fields(Settings):
        default, variable, _ = rows[setting.name]
        assert variable == PREFIX + setting.name.upper()
        if written(setting) is not None:
            assert default == f"`{written(setting)}`"


@pytest.mark.parametrize("name", sorted(root.commands))
def test_the_reference_names_every_command_and_option(name: str) -> None:
    text = section(name)
    options = [parameter for parameter in root.commands[name].params if isinstance(parameter, click.Option)]
    for option in options:
        assert option.opts[-1] in text, f"cli.md does not name {name} {option.opts[-1]}"


def test_the_reference_names_no_command_that_does_not_exist() -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## `(\w+)`$", text, re.MULTILINE)) == set(root.commands)


def test_pages_name_only_commands_that_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"pinformers ([a-z]+)\b", " ".join(_code(page))):
            assert name in root.commands, f"{page.name} names `pinformers {name}`"


def _code(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (?:\w+=\S+ )*(pinformers .*)$", text, re.MULTILINE)
    return commands + re.findall(r"`(pinformers [^`\n]+)`", _FENCE.sub("", text))


def test_the_api_page_names_every_public_name() -> None:
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    for name in pinformers.__all__:
        assert f"`{name}" in text, f"api.md does not name {name}"


def test_every_error_of_the_api_page_can_be_imported() -> None:
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text.partition("## Errors")[2].partition("\n## ")[0], re.MULTILINE)
    names = re.findall(r"`(\w+)`", " ".join(rows))
    assert set(names) == {name for name in pinformers.__all__ if hasattr(getattr(pinformers, name), "__cause__")}
    assert "NotLocked" in names


def test_the_docstring_of_explain_names_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFORMERS_CACHE_DIR", str(tmp_path / "hub"))
    assert [key for key in pinformers.explain("org/model") if f"``{key}``" not in str(pinformers.explain.__doc__)] == []


def test_the_api_page_names_every_key_of_the_status_and_of_an_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINFORMERS_CACHE_DIR", str(tmp_path / "hub"))
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    for key in (*pinformers.get_status(), *pinformers.explain("org/model")):
        assert f"`{key}`" in text, f"api.md does not name {key}"


def test_the_environment_page_has_the_exact_log_lines() -> None:
    text = (DOCS / "reference" / "environment.md").read_text(encoding="utf-8")
    lines = (_gate.PATCHING, _gate.PATCHED.format(count=54), _gate.CI, _gate.DISABLED, _gate.LOCAL)
    for line in lines:
        assert f"[INFO] {line}\n" in text
