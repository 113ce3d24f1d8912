"""Real IPFS Cluster peers that trust each other and stay on loopback, each with a Kubo daemon of its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubo_repo import KuboDaemon
from programs import build, end

_SOURCES = Path(__file__).parent / "cluster"
_SECRET = "5a" * 32
_PATIENCE = 60.0


def build_cluster() -> str:
    """Return an ``ipfs-cluster-service``: the one that is named, or one built once from the go.mod in ``cluster/``."""
    if named := os.environ.get("PINFORMERS_TEST_CLUSTER"):
        return named
    return build("ipfs-cluster-service", _SOURCES, "--version")


@dataclass(frozen=True)
class ClusterPeer:
    """A folder with the identity and the settings of one peer."""

    binary: str
    folder: Path
    daemon: KuboDaemon

    @classmethod
    def create(cls, binary: str, folder: Path, daemon: KuboDaemon) -> ClusterPeer:
        """Make an identity, and ports of its own."""
        peer = cls(binary, folder, daemon)
        folder.mkdir(parents=True)
        peer._run("init", "--randomports")
        return peer

    @property
    def identity(self) -> str:
        """The peer's id."""
        return str(self._read("identity.json")["id"])

    @property
    def api(self) -> str:
        """The URL of its REST API."""
        return (
            f"http://127.0.0.1:{self._port(self._read('service.json')['api']['restapi']['http_listen_multiaddress'])}"
        )

    @property
    def address(self) -> str:
        """Where the other peers reach it."""
        return f"{self._listens()}/p2p/{self.identity}"

    def configure(self, others: Sequence[ClusterPeer], credentials: Mapping[str, str] | None) -> None:
        """Trust the others, know where they are, and listen and look nowhere else."""
        said = self._read("service.json")
        alone = {"listen_multiaddress": [self._listens()], "mdns_interval": "0s", "enable_relay_hop": False}
        # Who is there is told every 15 seconds otherwise.
        said["cluster"] |= alone | {"monitor_ping_interval": "1s"}
        said["consensus"]["crdt"]["trusted_peers"] = [peer.identity for peer in others]
        said["api"] = {"restapi": said["api"]["restapi"] | {"basic_auth_credentials": credentials}}
        said["ipfs_connector"]["ipfshttp"]["node_multiaddress"] = self.daemon.multiaddr
        (self.folder / "service.json").write_text(json.dumps(said))
        (self.folder / "peerstore").write_text("".join(f"{peer.address}\n" for peer in others))

    @contextmanager
    def running(self) -> Iterator[ClusterPeer]:
        """Run it for the length of a ``with`` block."""
        with open(self.folder / "peer.log", "ab") as log:
            process = subprocess.Popen(
                [self.binary, "-c", self.folder, "daemon"], stdout=log, stderr=log, env=self._environ
            )
        try:
            self._wait(process)
            yield self
        finally:
            end(process)

    # -- inner ------------------------------------------------------------------------------------------------

    @property
    def _environ(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("CLUSTER_")}
        return ours | {"CLUSTER_SECRET": _SECRET}

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self.binary, "-c", self.folder, *arguments], env=self._environ, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def _read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def _listens(self) -> str:
        (address,) = [at for at in self._read("service.json")["cluster"]["listen_multiaddress"] if "/tcp/" in at]
        return f"/ip4/127.0.0.1/tcp/{self._port(address)}"

    def _port(self, address: str) -> str:
        return address.split("/")[4]

    def _room(self) -> urllib.request.Request:
        request = urllib.request.Request(f"{self.api}/monitor/metrics/freespace")
        for pair in (self._read("service.json")["api"]["restapi"]["basic_auth_credentials"] or {}).items():
            request.add_header("Authorization", f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}")
        return request

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            # It answers before it has told itself how much room it has, and until then gives pins to nobody.
            with suppress(OSError), urllib.request.urlopen(self._room(), timeout=5) as said:
                if json.loads(said.read()):
                    return
            time.sleep(0.05)
        raise AssertionError(f"no cluster peer: {(self.folder / 'peer.log').read_text()}")


@contextmanager
def cluster(
    binary: str, folder: Path, daemons: Mapping[str, KuboDaemon], credentials: Mapping[str, str] | None = None
) -> Iterator[dict[str, tuple[ClusterPeer, Callable[[], None]]]]:
    """Run a peer for each daemon; each comes with what ends it before the others."""
    peers = {name: ClusterPeer.create(binary, folder / name, daemon) for name, daemon in daemons.items()}
    for peer in peers.values():
        peer.configure([other for other in peers.values() if other is not peer], credentials)
    with ExitStack() as stack:
        running = {}
        for name, peer in peers.items():
            own = stack.enter_context(ExitStack())
            running[name] = (own.enter_context(peer.running()), own.close)
        yield running
