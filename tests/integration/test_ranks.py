"""Two ranks of one `torchrun` that load the same pinned model at once, from a gateway, with the hub unreachable."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from environment import clean_env
from gateway_rooms import thread_server
from pin_rooms import make_resolver
from pinformers._composition import embedded
from pinformers.ipfs import CID, Block
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.lockfile import Lock, write_lock

pytestmark = pytest.mark.torch

RANK = """
import hashlib, json, time
import torch.distributed as dist
from transformers import AutoModelForCausalLM, AutoTokenizer

dist.init_process_group("gloo")
dist.barrier()
model = AutoModelForCausalLM.from_pretrained("tiny/mistral")
tokenizer = AutoTokenizer.from_pretrained("tiny/mistral")
digest = hashlib.sha256()
for name, tensor in sorted(model.state_dict().items()):
    digest.update(name.encode() + tensor.numpy().tobytes())
seen = [None, None]
dist.all_gather_object(seen, [model.name_or_path, digest.hexdigest(), tokenizer("the quick fox")["input_ids"]])
if dist.get_rank() == 0:
    print(json.dumps(seen))
dist.destroy_process_group()
# A thread of gloo's still lets go of a tensor of the last gathering. Where it waits for its turn until the interpreter
# ends, Python before 3.14 ends the thread, and the C++ runtime the process.
time.sleep(0.5)
"""


def torchrun(script: Path, env: Mapping[str, str]) -> list[list[object]]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, env=dict(env), cwd=env["HOME"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    seen: list[list[object]] = json.loads(done.stdout)
    return seen


def test_two_ranks_fetch_each_block_once_and_then_nothing(checkpoints: Path, tmp_path: Path) -> None:
    script, home = tmp_path / "rank.py", tmp_path / "home"
    script.write_text(RANK)
    home.mkdir()
    elsewhere = make_resolver(tmp_path / "elsewhere")
    pin = pin_folder(elsewhere, checkpoints / "mistral", "tiny/mistral").pin
    write_lock(home / "pinformers.lock", Lock({("tiny/mistral", "main"): pin}))
    source, asked, counting = embedded(elsewhere.catalog), Counter[str](), threading.Lock()

    def block(cid: CID) -> Block:
        with counting:
            asked[str(cid)] += 1
        return Block(cid, source.block(cid))

    env = clean_env(home, HF_ENDPOINT="http://127.0.0.1:9", PINFORMERS="1")
    with thread_server(block) as (host, port):
        first, second = torchrun(script, {**env, "PINFORMERS_GATEWAYS": f"http://{host}:{port}"})
    assert first == second
    assert first[0] == "tiny/mistral"
    files = {pin.files[path].cid for path in pin.files if path.endswith(".safetensors")}
    assert files <= set(asked)
    assert {cid: count for cid, count in asked.items() if count > 1} == {}
    # Nobody is there any more; gloo's own connections are what two ranks talk through.
    assert torchrun(script, env) == [first, first]
