"""Processes beside, after and instead of each other on one cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from test_workers_pinned import offline

from environment import clean_env
from hub_stub import HubStub
from pin_rooms import REPO, make_resolver, tree, write_folder
from pinformers.ipfs import CHUNK
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.folder import pin_folder
from running import publish

WORKER = """
import os, time
while not os.path.exists(os.environ["START"]):
    time.sleep(0.01)
from transformers import AutoConfig, AutoTokenizer
from transformers.utils.hub import cached_file
AutoConfig.from_pretrained("tiny/bert")
AutoTokenizer.from_pretrained("tiny/bert")
print(cached_file("tiny/bert", "model.safetensors"))
"""


@pytest.mark.torch
def test_16_processes_on_one_cold_model_fetch_each_file_once(hub: HubStub, checkpoints: Path, tmp_path: Path) -> None:
    publish(hub, checkpoints, "bert")
    hub.delay = 0.02
    start = tmp_path / "start"
    # Without torch transformers is as good for this, and sixteen of it fit two cores.
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url, PINFORMERS="1", START=str(start), USE_TORCH="0")
    command = [sys.executable, "-c", WORKER]
    workers = [
        subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(16)
    ]
    start.touch()
    outputs = [worker.communicate(timeout=240) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 16, [error[-500:] for _, error in outputs]
    assert len({out for out, _ in outputs}) == 1
    fetched = Counter(request.file for request in hub.requests if request.kind == "file" and request.status < 300)
    assert fetched
    assert set(fetched.values()) == {1}, fetched
    hub.stop()
    log = tmp_path / "connections.log"
    subprocess.run(command, env=offline(env, log), cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert not log.exists(), log.read_text()


BRING = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from pin_rooms import REPO, make_resolver
resolver = make_resolver(Path(sys.argv[2]))
pinned = resolver.find(REPO, None, cache_dir=sys.argv[3])
print("ready", flush=True)
print(pinned.deliver(["model.safetensors"]), flush=True)
"""


def test_a_process_killed_while_it_brings_a_file_leaves_nothing_visible(tmp_path: Path) -> None:
    size = 64 * CHUNK
    folder = write_folder(tmp_path / "folder", {"model.safetensors": os.urandom(size)})
    pinned = pin_folder(make_resolver(tmp_path), folder, REPO)
    elsewhere = tmp_path / "elsewhere"
    command = [sys.executable, "-c", BRING, str(Path(__file__).parents[1]), str(tmp_path), str(elsewhere)]
    cache = RepoCache(str(elsewhere), REPO)
    killed = 0
    for attempt in range(6):
        process = subprocess.Popen(command, env=clean_env(tmp_path), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "ready\n"
            # At the first attempts before a byte, later further and further in.
            deadline = time.monotonic() + 20
            while attempt and not list(cache.folder.glob("blobs/*.incomplete")) and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.004 * attempt)
            process.send_signal(signal.SIGKILL)
            killed += process.wait(30) == -signal.SIGKILL
        visible = [name for name, (kind, _) in tree(cache.folder).items() if kind != "folder"]
        if any(name.startswith("snapshots") for name in visible):
            break
        assert all(name.endswith(".incomplete") for name in visible)
    assert killed
    done = subprocess.run(command, env=clean_env(tmp_path), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ready\nTrue\n"
    assert cache.file(pinned.commit, "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


AT_ONCE = """
from transformers.utils.hub import cached_file
for name in ("config.json", "model.safetensors"):
    cached_file("org/big", name)
"""


@pytest.mark.torch
def test_a_process_that_ends_right_after_a_first_load_records_it_quietly(hub: HubStub, tmp_path: Path) -> None:
    # Big enough to be hashed by two threads, at a time when the interpreter takes no new ones.
    commit = hub.add("org/big", {"config.json": b"{}", "model.safetensors": os.urandom(24 * CHUNK)})
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url, PINFORMERS="1", PINFORMERS_LOG="warning", USE_TORCH="0")
    command = [sys.executable, "-c", AT_ONCE]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")
    assert "pinned" not in done.stderr
    assert "Traceback" not in done.stderr
    resolver = make_resolver(tmp_path, cache_dir=tmp_path / "hf" / "hub", state_dir=tmp_path / "hf" / "pinformers")
    pin = resolver.catalog.pin("org/big", commit)
    assert pin is not None
    assert set(pin.files) == {"config.json", "model.safetensors"}
    assert not list((tmp_path / "hf" / "pinformers" / "pending").iterdir())


CUT_OFF = """
import os, sys
from transformers import AutoConfig, AutoModel
AutoModel.from_pretrained("tiny/bert")
os._exit(0)
"""


@pytest.mark.torch
def test_what_a_process_that_was_cut_off_left_the_next_one_takes_up(
    hub: HubStub, checkpoints: Path, tmp_path: Path
) -> None:
    publish(hub, checkpoints, "bert")
    env = clean_env(tmp_path, HF_ENDPOINT=hub.url, PINFORMERS="1")
    worker = [sys.executable, "-c", CUT_OFF]
    subprocess.run(worker, env=env, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    pending = tmp_path / "hf" / "pinformers" / "pending"
    left = list(pending.iterdir())
    flush = [sys.executable, "-c", "import pinformers; assert pinformers.flush(60)"]
    subprocess.run(flush, env=env, check=True, capture_output=True, timeout=120)
    assert left
    assert list(pending.iterdir()) == []
    hub.stop()
    log = tmp_path / "connections.log"
    subprocess.run(worker, env=offline(env, log), cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert not log.exists(), log.read_text()


PLAIN = """
from transformers import AutoConfig, AutoTokenizer
from transformers.utils.hub import cached_file
print(AutoConfig.from_pretrained("tiny/bert").model_type, len(AutoTokenizer.from_pretrained("tiny/bert")))
print(cached_file("tiny/bert", "model.safetensors"))
"""


@pytest.mark.torch
def test_plain_transformers_offline_loads_what_we_brought(checkpoints: Path, tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path / "hf")
    pinned = pin_folder(resolver, checkpoints / "bert", "tiny/bert")
    env = clean_env(tmp_path, HF_HUB_OFFLINE="1", USE_TORCH="0")
    command = [sys.executable, "-c", PLAIN]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bert ")
    assert pinned.commit in done.stdout
