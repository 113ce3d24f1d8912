"""What somebody added to Kubo with settings of their own is loaded by its CID."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from environment import clean_env
from hub_stub import HubStub
from ipfs_data import keystream
from ipfs_folder import Blocks, add_folder
from kubo_repo import KuboDaemon
from pinformers.ipfs import V0_2015

# What `ipfs add -r` does in a repo without a profile, written out: the test repos have one.
V0 = ("--cid-version=0", "--raw-leaves=false", "--chunker=size-262144", "--max-file-links=174")
OTHERS = {
    "CIDv0, 256 KiB": V0,
    "rabin chunks, raw leaves": ("--cid-version=1", "--chunker=rabin"),
    "trickle, wrapped leaves": ("--trickle", "--raw-leaves=false", "--chunker=size-50000"),
    "inlined small files": ("--cid-version=1", "--inline", "--inline-limit=64"),
}
LOAD = """
import hashlib, json, sys
from transformers import AutoConfig
from transformers.utils.hub import cached_files
name = sys.argv[1]
config = AutoConfig.from_pretrained(name)
paths = cached_files(name, ["model.safetensors", "notes.txt", "sub/deep.txt"])
digests = [hashlib.sha256(open(path, "rb").read()).hexdigest() for path in paths]
print(json.dumps([config.model_type, config._name_or_path, digests]))
"""
pytestmark = [pytest.mark.kubo, pytest.mark.torch]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of several chunks in every layout here."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "sub").mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "notes.txt").write_text("short\n")
    (folder / "sub" / "deep.txt").write_text("deeper\n" * 40000)
    noise = np.frombuffer(b"".join(keystream("weights", 3 << 20)), dtype="<f4")
    save_file({"weights": noise}, folder / "model.safetensors")
    return folder


def load(home: Path, name: str, **settings: str) -> object:
    home.mkdir(parents=True, exist_ok=True)
    env = clean_env(home, PINFORMERS="1", USE_TORCH="0", **settings)
    command = [sys.executable, "-c", LOAD, name]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
def test_a_folder_that_others_added_loads_through_a_daemon(
    options: tuple[str, ...], start_daemon: Callable[..., KuboDaemon], model: Path, hub: HubStub, tmp_path: Path
) -> None:
    daemon = start_daemon("a")
    cid = daemon.repo.run("add", "-rQ", "--progress=false", *options, model).decode().strip()
    if options == V0:
        assert cid == str(add_folder(model, Blocks(), V0_2015))
    files = [model / name for name in ("model.safetensors", "notes.txt", "sub/deep.txt")]
    name = f"ipfs://{cid}"
    expected = ["bert", name, [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]]
    home = tmp_path / "home"
    sources = "embedded,kubo,hub"
    settings = {"PINFORMERS_KUBO_API": daemon.multiaddr, "PINFORMERS_SOURCES": sources, "HF_ENDPOINT": hub.url}
    assert load(home, name, **settings) == expected
    assert hub.requests == []
    daemon.process.terminate()
    daemon.process.wait(20)
    assert load(home, name, HF_ENDPOINT=hub.url) == expected
    assert hub.requests == []


def test_a_name_by_key_is_followed_and_remembered(
    start_daemon: Callable[..., KuboDaemon], model: Path, hub: HubStub, tmp_path: Path
) -> None:
    daemon = start_daemon("a", Routing__Type='"dht"', Ipns__UsePubsub="true", Pubsub__Enabled="true")
    cid = daemon.repo.run("add", "-rQ", "--progress=false", *V0, model).decode().strip()
    # Alone it has nobody to tell, so it keeps the record for those who ask it.
    said = daemon.rpc("name/publish", f"/ipfs/{cid}", **{"allow-offline": "true"})
    assert isinstance(said, dict)
    name = f"ipns://{said['Name']}"
    home, env = tmp_path / "home", {"PINFORMERS_KUBO_API": daemon.multiaddr, "HF_ENDPOINT": hub.url}
    found = load(home, name, **env)
    assert isinstance(found, list)
    assert found[:2] == ["bert", name]
    daemon.process.terminate()
    daemon.process.wait(20)
    assert load(home, name, **env) == found
    assert hub.requests == []
