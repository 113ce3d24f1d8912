from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cli_rooms import invoke, settle
from pin_rooms import FILES, PIN, REPO, make_resolver, write_folder
from pinformers.pinning.lockfile import NAME, Lock, render_lock


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch, tmp_path)


def test_a_name_that_moves_to_another_folder_is_said_so(tmp_path: Path) -> None:
    first, second = write_folder(tmp_path / "1"), write_folder(tmp_path / "2", {"config.json": b"{}"})
    assert invoke("pin", str(first), "--as", REPO).stderr == ""
    assert invoke("pin", str(first), "--as", REPO).stderr == ""
    (old,) = json.loads(invoke("ls", "--json").stdout)
    said = invoke("pin", str(second), "--as", REPO).stderr
    assert said.startswith(f"{REPO}@main was {old['commit'][:12]} and is ") and said.count("\n") == 1
    advice = f"pinformers rm {REPO} --revision {old['commit']}"
    assert f"stays pinned until `{advice}`." in said
    invoke(*advice.split()[1:])
    assert len(json.loads(invoke("ls", "--json").stdout)) == 1
    assert invoke("push", str(first), "--as", REPO, code=1).stderr.startswith(f"{REPO}@main was ")


def test_what_may_have_more_files_says_so_in_the_list(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    resolver.catalog.add(PIN)
    assert " 1 of 2 " in invoke("ls").stdout
    resolver.catalog.remove(PIN)
    shutil.rmtree(tmp_path / "pinformers")
    (tmp_path / NAME).write_text(render_lock(Lock()))
    invoke("pin", str(write_folder(tmp_path / "folder")), "--as", REPO)
    assert f" {len(FILES)} " in invoke("ls").stdout and " of " not in invoke("ls").stdout


def test_verify_where_no_file_has_arrived_says_what_brings_them(tmp_path: Path) -> None:
    make_resolver(tmp_path).catalog.add(PIN)
    for more in ([], ["--repair"]):
        result = invoke("verify", *more, code=1)
        assert result.stdout == "No pinned file is in a cache here.\n"
        assert result.stderr.startswith("1 model is pinned, and no file has arrived yet; ")
        assert f"`pinformers pin {REPO}`" in result.stderr
    assert invoke("verify", "--json", code=1).stderr == ""


def test_verify_finds_nothing_wrong_with_a_pin_that_names_no_file(tmp_path: Path) -> None:
    make_resolver(tmp_path).catalog.add(PIN._replace(files={}, listed=False))
    assert invoke("verify").stderr == ""


def test_a_lockfile_that_was_found_above_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert json.loads(invoke("status", "--json").stdout)["lockfile"] is None
    assert json.loads(invoke("config", "--json").stdout)["lockfile"] == {"value": None, "from": "default"}
    path = tmp_path / NAME
    path.write_text(render_lock(Lock()))
    assert json.loads(invoke("status", "--json").stdout)["lockfile"] == str(path)
    assert json.loads(invoke("config", "--json").stdout)["lockfile"] == {"value": str(path), "from": "found"}
    assert f"\nlockfile   {path}\n" in invoke("status").stdout
    monkeypatch.setenv("PINFORMERS_LOCKFILE", str(path))
    shown = json.loads(invoke("config", "--json").stdout)["lockfile"]
    assert shown == {"value": str(path), "from": "PINFORMERS_LOCKFILE"}


def test_status_names_the_sources_that_config_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFORMERS_SOURCES", "embedded,gateway,hub")
    monkeypatch.setenv("PINFORMERS_GATEWAYS", "")
    monkeypatch.setenv("HOME", "/nonexistent")
    assert "\nsources    embedded, gateway (none named), hub\n" in invoke("status").stdout
    monkeypatch.setenv("PINFORMERS_GATEWAYS", "http://127.0.0.1:9")
    assert "\nsources    embedded, gateway, hub\n" in invoke("status").stdout
