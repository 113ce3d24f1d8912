from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result

from bad_gateway import BadGateway, honest
from cli_rooms import invoke, settle
from ipfs_data import MemoryStore
from pin_rooms import FILES, REPO, write_folder

Run = Callable[..., Result]


@pytest.fixture
def push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Push where no daemon answers: nobody listens at the discard port."""
    settle(monkeypatch, tmp_path, sources="embedded,kubo", kubo_api="/ip4/127.0.0.1/tcp/9")
    return partial(invoke, "push")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(write_folder(tmp_path / "folder"))


@pytest.mark.parametrize("publish", ["never", "auto", "required"])
def test_without_a_daemon_it_is_pinned_and_that_is_said(
    push: Run, folder: str, monkeypatch: pytest.MonkeyPatch, publish: str
) -> None:
    monkeypatch.setenv("PINFORMERS_PUBLISH", publish)
    result = push(folder, "--as", REPO, code=1)
    assert result.stderr.startswith("It is pinned here and not published. No Kubo daemon can be used at /ip4/127.0.0.1")
    assert "`pinformers serve`" in result.stderr and result.stderr.count("\n") == 1
    # First what went wrong, then what will hold once somebody offers it.
    assert result.output.index("not published") < result.output.index("Once somebody offers it, it is loaded")
    (line,) = json.loads(invoke("ls", "--json").stdout)
    lines = result.stdout.splitlines()
    assert f'AutoModel.from_pretrained("ipfs://{line["root"]}")' in lines
    assert f'AutoModel.from_pretrained("{REPO}")' in lines
    assert "published" not in result.stdout


def test_json(push: Run, folder: str) -> None:
    said = json.loads(push(folder, "--as", REPO, "--revision", "v1", "--json", code=1).stdout)
    assert said["load"] == f'AutoModel.from_pretrained("ipfs://{said["root"]}")'
    assert said["load_by_name"] == f'AutoModel.from_pretrained("{REPO}", revision="v1")'
    assert (said["published"], said["daemon"], said["files"]) == (False, None, {})
    assert "Kubo" in said["problem"]


def test_what_is_pinned_is_pushed_by_its_name(push: Run, folder: str) -> None:
    root_cid = json.loads(push(folder, "--as", REPO, "--json", code=1).stdout)["root"]
    assert json.loads(push(REPO, "--json", code=1).stdout)["root"] == root_cid


@pytest.mark.parametrize("command", ["pin", "push"])
def test_a_folder_wants_a_name(command: str, push: Run, folder: str) -> None:
    result = invoke(command, folder, code=2)
    assert result.stdout == "" and "--as org/model" in result.stderr


def test_a_cid_is_brought_whole_and_pushed(push: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    root = store.add_folder(dict(FILES)).cid
    monkeypatch.setenv("PINFORMERS_SOURCES", "embedded,gateway,kubo")
    with BadGateway(honest, store) as gateway:
        monkeypatch.setenv("PINFORMERS_GATEWAYS", gateway.url)
        text = push(f"ipfs://{root}", code=1).stdout
    assert f'AutoModel.from_pretrained("ipfs://{root}")' in text
    assert "all as pinned" in invoke("verify", f"ipfs://{root}").stdout
