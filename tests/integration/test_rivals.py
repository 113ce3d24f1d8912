"""How others that load models by a CID fail: each failure, tried on us by a script that knows nothing of us.

``transformers-ipfs`` 0.2.0 was run against all of these. Its failures with other classes, sub-paths, revisions, names
and files that the CID lacks are in test_references.py, those with a broken home and after ``pip uninstall`` in
test_switches.py and test_wheel.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import bad_gateway as bad
from bad_gateway import BadGateway
from environment import clean_env
from ipfs_data import MemoryStore
from pinformers.ipfs import CID
from pinformers.pinning.ahead import WINDOW
from pinformers.pinning.cache import PART

pytestmark = pytest.mark.torch
MIB = 1 << 20
LEAVES = 24
BIG = "big.safetensors"
TEXT = "the quick brown fox"

WORKER = f"""
import hashlib, json, os, sys, time
from pathlib import Path
while not os.path.exists(os.environ["START"]):
    time.sleep(0.01)
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file
name = sys.argv[1]
kind = AutoConfig.from_pretrained(name).model_type
ids = AutoTokenizer.from_pretrained(name)({TEXT!r})["input_ids"]
weights = hashlib.sha256(Path(cached_file(name, {BIG!r})).read_bytes()).hexdigest()
print(json.dumps([kind, ids, weights]))
"""


class Room:
    """A model folder with 24 MiB of weights, known by its root alone, and workers that load it from gateways."""

    def __init__(self, place: Path, checkpoint: Path) -> None:
        self.place = place
        files = {path.name: path.read_bytes() for path in checkpoint.iterdir() if path.is_file()}
        self.weights = os.urandom(LEAVES * MIB)
        self.leaves = [f"/ipfs/{leaf_cid(self.weights[at : at + MIB])}" for at in range(0, LEAVES * MIB, MIB)]
        self.store = MemoryStore()
        self.name = f"ipfs://{self.store.add_folder({**files, BIG: self.weights}).cid}"
        self.folder = place / "plain"
        self.folder.mkdir()
        for name, content in {**files, BIG: self.weights}.items():
            (self.folder / name).write_bytes(content)
        self.start = place / "start"

    def worker(self, *gateways: BadGateway, home: str = "home", name: str | None = None) -> subprocess.Popen[str]:
        """Start a process that loads once the file ``start`` is there; plain where no gateway is given."""
        ours = {"PINFORMERS": "1", "PINFORMERS_GATEWAYS": ",".join(gateway.url for gateway in gateways)}
        # Without torch transformers is as good for this, and starts in half the time.
        extra = {"START": str(self.start), "USE_TORCH": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
        env = clean_env(self.place / home, **extra, **(ours if gateways else {}))
        Path(env["HOME"]).mkdir(exist_ok=True)
        command = [sys.executable, "-c", WORKER, name or self.name]
        out = subprocess.PIPE
        return subprocess.Popen(command, env=env, cwd=env["HOME"], stdout=out, stderr=out, text=True)

    def load(self, *gateways: BadGateway, home: str = "home") -> list[object]:
        """Load in one process; its stdout holds what the script prints, and nothing of ours."""
        self.start.touch()
        out, error = (worker := self.worker(*gateways, home=home)).communicate(timeout=120)
        assert worker.returncode == 0, error
        answer: list[object] = json.loads(out)
        return answer

    def plain(self) -> list[object]:
        self.start.touch()
        out, error = self.worker(home="other", name=str(self.folder)).communicate(timeout=120)
        answer: list[object] = json.loads(out)
        assert answer[2] == hashlib.sha256(self.weights).hexdigest(), error
        return answer

    def blobs(self) -> Iterator[Path]:
        """Every file in the hub cache that is not being brought."""
        found = (self.place / "home" / "hf" / "hub").glob("models--*/snapshots/*/*")
        return (path for path in found if path.is_file())

    def parts(self) -> Iterator[Path]:
        """What lies there of files that are on their way."""
        return (self.place / "home" / "hf" / "hub").glob(f"models--*/blobs/*{PART}")


@pytest.fixture
def room(tmp_path: Path, checkpoints: Path) -> Room:
    return Room(tmp_path, checkpoints / "bert")


def leaf_cid(block: bytes) -> CID:
    return CID.raw(hashlib.sha256(block).digest())


def fetched(gateway: BadGateway) -> Counter[str]:
    return Counter(path.partition("?")[0] for path in gateway.paths)


def zeroes_4_kib(visit: bad.Visit) -> None:
    """Answer as others were believed: the right length, with a hole."""
    if len(visit.block) < MIB:
        return bad.honest(visit)
    visit.reply(200, visit.block[:4096] + bytes(4096) + visit.block[8192:])


def test_four_processes_in_the_same_second_load_what_one_fetches(room: Room) -> None:
    with BadGateway(store=room.store) as gateway:
        workers = [room.worker(gateway) for _ in range(4)]
        room.start.touch()
        outputs = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, outputs
    assert {out for out, _ in outputs} == {json.dumps(room.plain()) + "\n"}
    assert {fetched(gateway)[leaf] for leaf in room.leaves} == {1}


def test_ctrl_c_in_a_download_and_again(room: Room) -> None:
    stalled = threading.Semaphore(0)

    def stalls_at_the_13th(visit: bad.Visit) -> None:
        if f"/ipfs/{visit.cid}" in room.leaves[12:]:
            stalled.release()
            return visit.wait_until_left()
        bad.honest(visit)

    with BadGateway(stalls_at_the_13th, room.store) as gateway:
        worker = room.worker(gateway)
        room.start.touch()
        for _ in range(WINDOW):
            assert stalled.acquire(timeout=30)
        # Those before may still be on their way into the file.
        until = time.monotonic() + 30
        while max((part.stat().st_size for part in room.parts()), default=0) < 11 * MIB and time.monotonic() < until:
            time.sleep(0.05)
        worker.send_signal(signal.SIGINT)
        _, error = worker.communicate(timeout=60)
        assert worker.returncode != 0
        assert "KeyboardInterrupt" in error
        assert BIG not in {path.name for path in room.blobs()}
        gateway.answer = bad.honest
        gateway.paths.clear()
        assert room.load(gateway) == room.plain()
    # The 12th may have been on its way into the file.
    assert not set(room.leaves[:11]) & set(fetched(gateway))
    assert set(room.leaves[12:]) <= set(fetched(gateway))


def test_4_kib_zeroed_by_a_gateway(room: Room) -> None:
    with BadGateway(zeroes_4_kib, room.store) as liar, BadGateway(store=room.store) as honest:
        assert room.load(liar, honest) == room.plain()
        room.start.touch()
        _, error = (worker := room.worker(liar, home="alone")).communicate(timeout=120)
    assert worker.returncode == 1
    assert "it sent other bytes than the block" in error.splitlines()[-1]


def test_4_kib_zeroed_in_the_cache(room: Room) -> None:
    with BadGateway(store=room.store) as gateway:
        right = room.load(gateway)
        (blob,) = (path.resolve() for path in room.blobs() if path.name == BIG)
        with open(blob, "r+b") as stream:
            stream.seek(MIB)
            stream.write(bytes(4096))
        # Its look says that it changed; where none but us would notice, the load is refused.
        room.start.touch()
        _, error = (worker := room.worker(gateway)).communicate(timeout=120)
        assert worker.returncode == 1
        assert "`pinformers verify --repair` mends it" in error.splitlines()[-1]
        home = room.place / "home"
        env = clean_env(home, PINFORMERS_GATEWAYS=gateway.url)
        mend = [sys.executable, "-m", "pinformers", "verify", "--repair", "--json"]
        gateway.paths.clear()
        done = subprocess.run(mend, env=env, cwd=home, capture_output=True, text=True, check=False, timeout=60)
        states = {finding["path"]: finding for finding in json.loads(done.stdout)}
        assert [path for path, finding in states.items() if finding["state"] != "good"] == [BIG], done.stderr
        assert states[BIG]["repaired_from"] == "gateway"
        assert room.load(gateway) == right
