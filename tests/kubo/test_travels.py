"""A model that one machine loaded is loaded by every other one from IPFS: unedited worker, hub unreachable."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from environment import clean_env
from hub_stub import HubStub
from kubo_repo import KuboDaemon
from running import publish, run_worker

pytestmark = [pytest.mark.kubo, pytest.mark.torch]
NOBODY = "http://127.0.0.1:9"
FAMILY = "bert"
# IPNS between daemons (FACTS): a DHT of two, and records by pubsub; without bootstrap nothing leaves loopback.
WITH_IPNS = {
    "Routing__Type": '"dht"',
    "Ipns__UsePubsub": "true",
    "Pubsub__Enabled": "true",
    "Experimental__FilestoreEnabled": "true",
}


class Machine:
    """A home of its own, and the settings of whoever works there."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.env = clean_env(home, PINFORMERS="1", **{"HF_ENDPOINT": NOBODY, **settings})

    def cli(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "pinformers", *arguments]
        self.home.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def work(self) -> dict[str, object]:
        """What the unedited worker prints."""
        return run_worker(FAMILY, self.env)

    def sources(self, model: str = f"tiny/{FAMILY}") -> set[str]:
        return {file["source"] for file in json.loads(self.cli("explain", model, "--json"))["files"]}

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Run ``pinformers serve``; yields its URL."""
        command = [sys.executable, "-m", "pinformers", "serve", "--port", "0"]
        process = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield re.findall(r"http://[\d.:]+", process.stdout.readline())[0]
        finally:
            process.terminate()
            assert process.wait(20) == 0
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def daemons(start_daemon) -> tuple[KuboDaemon, KuboDaemon]:  # type: ignore[no-untyped-def]
    a, b = start_daemon("a", **WITH_IPNS), start_daemon("b", **WITH_IPNS)
    a.connect(b)
    return a, b


def test_one_download_for_four_machines(
    daemons: tuple[KuboDaemon, KuboDaemon], checkpoints: Path, tmp_path: Path
) -> None:
    with HubStub() as hub:
        publish(hub, checkpoints, FAMILY)
        plain = run_worker(FAMILY, clean_env(tmp_path / "plain", HF_ENDPOINT=hub.url))
        once = hub.count(kind="file")
        hub.reset()
        # A's home lies beside its daemon's repo, where the filestore takes files without a copy.
        a = Machine(
            tmp_path / "a" / "home",
            HF_ENDPOINT=hub.url,
            PINFORMERS_KUBO_API=daemons[0].multiaddr,
            PINFORMERS_PUBLISH="required",
        )
        assert a.work() == plain
        a.cli("flush")
        assert hub.count(kind="file") == once
        a.cli("pin", f"tiny/{FAMILY}")
        a.cli("push", f"tiny/{FAMILY}")
        name = re.findall(r"\bk51\w+", a.cli("catalog", "publish"))[0]
        root = json.loads(a.cli("explain", f"tiny/{FAMILY}", "--json"))["root"]
        hub.stop()

        # B: its own daemon, by name, through the swarm.
        b = Machine(tmp_path / "b" / "home", PINFORMERS_KUBO_API=daemons[1].multiaddr)
        b.cli("catalog", "follow", name)
        assert b.work() == plain
        assert json.loads(b.cli("explain", f"tiny/{FAMILY}", "--json"))["root"] == root
        assert b.work() == plain, "and once more, with nobody asked"

        # C: no daemon, through A's gateway.
        c = Machine(tmp_path / "c", PINFORMERS_GATEWAYS=daemons[0].gateway)
        c.cli("catalog", "follow", name)
        assert c.work() == plain

        # Through `pinformers serve` of A, by the lockfile.
        a.cli("lock", f"tiny/{FAMILY}", "-o", str(tmp_path / "pinformers.lock"))
        with a.serving() as url:
            served = Machine(
                tmp_path / "served", PINFORMERS_GATEWAYS=url, PINFORMERS_LOCKFILE=str(tmp_path / "pinformers.lock")
            )
            assert served.work() == plain

        # D: out of a CAR.
        car = tmp_path / "model.car"
        a.cli("export", f"tiny/{FAMILY}", "-o", str(car))
        d = Machine(tmp_path / "d", PINFORMERS_SOURCES="embedded")
        d.cli("import", str(car))
        assert d.work() == plain
        for machine in (a, b, c, served, d):
            said = json.loads(machine.cli("verify", "--json"))
            assert said, machine.home
