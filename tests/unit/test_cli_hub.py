"""What the command line says of a hub that answers, refuses or is away."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from cli_rooms import invoke, settle
from hub_stub import HubStub
from pin_rooms import FILES, REPO, write_folder
from pinformers._composition import build_resolver
from pinformers._settings import Settings
from pinformers.pinning.lockfile import NAME

GATED = "org/gated"
TOKEN = "hf_test"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a token, in front of a hub with an open, a gated and a private model."""
    settle(monkeypatch, tmp_path, sources="embedded,hub", kubo_api="/ip4/127.0.0.1/tcp/9")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub.add(REPO, dict(FILES))
    hub.add(GATED, dict(FILES), gated_token=TOKEN)
    hub.add("org/private", dict(FILES), private_token=TOKEN)


@pytest.mark.parametrize(
    ("name", "said"), [(GATED, "accepted its terms"), ("org/private", "private"), ("org/none", "shows no model")]
)
def test_what_needs_a_login_says_so(name: str, said: str) -> None:
    line = invoke("pin", name, code=1).stderr
    assert line.startswith(f"pinformers: {name}: the hub ") and line.count("\n") == 1
    assert said in line and "`hf auth login`" in line and "HF_TOKEN" in line
    assert "FOLDER" not in line


def test_a_revision_that_is_none(hub: HubStub) -> None:
    assert "the hub has no such branch, tag or commit of it" in invoke("pin", REPO, "--revision", "v9", code=1).stderr


def test_a_gated_model_of_which_a_part_is_here_is_not_pushed(hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    invoke("pin", GATED, "--include", "config.json")
    monkeypatch.delenv("HF_TOKEN")
    hub.reset()
    said = invoke("push", GATED, code=1)
    assert said.stderr.startswith(f"pinformers: {GATED}: the hub keeps it gated, so it stays on this machine")
    assert hub.requests == []


@pytest.mark.parametrize("command", ["pin", "push"])
def test_a_file_gets_no_progress_bars(command: str) -> None:
    enable_progress_bars()
    try:
        assert "Fetching" not in invoke(command, REPO, code=int(command == "push")).stderr
    finally:
        disable_progress_bars()


def test_without_the_hub_it_says_what_else_there_is(hub: HubStub) -> None:
    hub.stop()
    line = invoke("pin", REPO, code=1).stderr
    assert line.count("\n") == 1
    assert f"`pinformers pin FOLDER --as {REPO}`" in line and "`pinformers import FILE.car`" in line


def test_who_was_asked_before_the_hub_is_named(hub: HubStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("pin", REPO)
    invoke("lock")
    invoke("rm", REPO)
    hub.stop()
    monkeypatch.setenv("PINFORMERS_CACHE_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PINFORMERS_SOURCES", "embedded,kubo,gateway,hub")
    monkeypatch.setenv("PINFORMERS_GATEWAYS", "http://127.0.0.1:9")
    line = invoke("pin", REPO, code=1).stderr
    first, _, then = line.partition("; then ")
    assert "no source delivered it" in first and "gateway: http://127.0.0.1:9: it cannot be reached" in first
    assert then.startswith("the hub did not answer for it")
    assert (tmp_path / NAME).is_file()


def test_a_load_names_the_lockfile(hub: HubStub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    invoke("pin", str(write_folder(tmp_path / "folder")), "--as", REPO)
    invoke("lock")
    invoke("rm", REPO)
    told: list[str] = []
    settings = Settings(cache_dir=tmp_path / "hub", state_dir=tmp_path / "pinformers", sources=("embedded",))
    pinned = build_resolver(settings, tell=told.append).resolve(REPO, None)
    assert pinned is not None and not pinned.deliver(["config.json"])
    assert told == [f"Using the lockfile {tmp_path / NAME}, which names 1 model"]
    assert f"{REPO}/config.json is pinned by {tmp_path / NAME} but not served" in caplog.text
