"""A daemon that is killed in the middle of a gigabyte, and a process that is: nothing that was verified comes twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from environment import clean_env
from kubo_repo import KuboDaemon
from pin_rooms import REPO
from pinformers.ipfs import hash_file
from pinformers.pinning.cache import PART, RepoCache
from pinformers.pinning.fetching import fetch_file
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.sources.base import Chain
from pinformers.sources.gateway import GatewaySource
from pinformers.sources.kubo import KuboNode, KuboSource

pytestmark = pytest.mark.kubo
Start = Callable[..., KuboDaemon]
COMMIT = "c" * 40
CHUNK = 1 << 20


class Room:
    """One file, in the filestores of two daemons, and an empty cache."""

    def __init__(self, start: Start, folder: Path, chunks: int) -> None:
        self.kubo, self.other = (start(name, Experimental__FilestoreEnabled="true") for name in "ab")
        file = folder / "a" / "model.bin"
        with open(file, "wb") as out:
            for number in range(chunks):
                out.write(number.to_bytes(8, "big") * (CHUNK // 8))
        os.link(file, folder / "b" / "model.bin")
        dag = hash_file(file)
        for daemon, name in ((self.kubo, "a"), (self.other, "b")):
            KuboNode(daemon.multiaddr).add_nocopy(folder / name / "model.bin", dag.cid)
        self.file, self.blocks = file, chunks + len(dag.nodes)
        self.pin = Pin(REPO, COMMIT, {"model.bin": PinnedFile(dag.size, str(dag.cid), dag.dag_size, dag.sha256)})
        self.cache = RepoCache(str(folder / "hub"), REPO)
        self.dag_path = folder / "dags" / "x.car"

    def fetch(self, chain: Chain) -> None:
        fetched = fetch_file(self.cache, self.pin, "model.bin", chain.fetch, self.dag_path)
        assert fetched.verified
        assert hash_file(self.cache.file(COMMIT, "model.bin")).sha256 == self.pin.files["model.bin"].sha256


def test_a_gateway_goes_on_where_the_daemon_was_killed(start_daemon: Start, tmp_path: Path) -> None:
    room = Room(start_daemon, tmp_path, 1024)
    kubo = KuboSource(KuboNode(room.kubo.multiaddr), swarm_timeout=2.0)
    chain = Chain([kubo, GatewaySource([room.other.gateway], stall_timeout=10.0)])
    thread = threading.Thread(target=room.fetch, args=(chain,))
    thread.start()
    while chain.served.get("kubo", 0) < 300 and thread.is_alive():
        time.sleep(0.001)
    room.kubo.process.kill()
    thread.join(120)
    assert room.cache.file(COMMIT, "model.bin").is_file()
    assert set(chain.served) == {"kubo", "gateway"} and chain.dropped == ["kubo"]
    assert sum(chain.served.values()) == room.blocks, "no block came twice"


FETCH = """
import sys
from pathlib import Path
from pinformers.pinning.cache import RepoCache
from pinformers.pinning.fetching import fetch_file
from pinformers.pinning.pin import Pin
from pinformers.sources.base import Chain
from pinformers.sources.gateway import GatewaySource
import json
pin = Pin.from_json(json.loads(sys.argv[1]))
chain = Chain([GatewaySource([sys.argv[2]], stall_timeout=10.0)])
fetch_file(RepoCache(sys.argv[3], pin.repo), pin, "model.bin", chain.fetch, Path(sys.argv[4]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_was_ended_is_taken_up(start_daemon: Start, tmp_path: Path, number: int) -> None:
    room = Room(start_daemon, tmp_path, 256)
    arguments = [json.dumps(room.pin.to_json()), room.other.gateway, room.cache.cache_dir, str(room.dag_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, *arguments], env=clean_env(tmp_path), stderr=subprocess.PIPE
    )
    blobs = room.cache.folder / "blobs"
    while process.poll() is None and not any(part.stat().st_size > 32 * CHUNK for part in blobs.glob(f"*{PART}")):
        time.sleep(0.001)
    process.send_signal(number)
    process.communicate()
    assert process.returncode != 0, "it was quicker than the signal"
    (part,) = blobs.glob(f"*{PART}")
    left = part.stat().st_size // CHUNK
    chain = Chain([GatewaySource([room.other.gateway], stall_timeout=10.0)])
    room.fetch(chain)
    # The root was kept too.
    assert chain.served["gateway"] == room.blocks - 1 - left
    assert not list(blobs.glob(f"*{PART}"))
