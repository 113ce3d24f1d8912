"""A Kubo repo in a folder of its own, used without a daemon or with one that stays on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from programs import end

_SETTINGS = {
    "AutoConf.Enabled": "false",
    "Discovery.MDNS.Enabled": "false",
    "Routing.Type": '"none"',
    "Addresses.Swarm": '["/ip4/127.0.0.1/tcp/0"]',
    "Addresses.API": '"/ip4/127.0.0.1/tcp/0"',
    "Addresses.Gateway": '"/ip4/127.0.0.1/tcp/0"',
}
_PATIENCE = 60.0


@dataclass(frozen=True)
class KuboRepo:
    """One repo and the command that works on it."""

    binary: str
    path: Path

    @classmethod
    def create(cls, binary: str, path: Path, **settings: str) -> KuboRepo:
        """Make a repo; ``settings`` are further ``ipfs config --json`` values, "." written as "__"."""
        repo = cls(binary, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        repo.run("init", "--profile=test", "--empty-repo")
        further = {name.replace("__", "."): value for name, value in settings.items()}
        for name, value in {**_SETTINGS, **further}.items():
            repo.run("config", "--json", name, value)
        repo.run("bootstrap", "rm", "all")
        repo.run("config", "profile", "apply", "unixfs-v1-2025")
        return repo

    @property
    def environ(self) -> dict[str, str]:
        """What the command needs to find this repo."""
        return os.environ | {"IPFS_PATH": str(self.path), "IPFS_TELEMETRY": "off"}

    def run(self, *args: str | Path) -> bytes:
        """Run ``ipfs`` and return what it prints; its error text becomes the failure's."""
        done = subprocess.run([self.binary, *map(str, args)], env=self.environ, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def cid(self, path: Path) -> str:
        """The CID that Kubo gives a file or folder, hidden files included, without storing it."""
        return self.run("add", "-rnQH", "--progress=false", path).decode().strip()

    @contextmanager
    def daemon(self, *options: str) -> Iterator[KuboDaemon]:
        """Run a daemon on this repo for the length of a ``with`` block."""
        # Addresses of an earlier daemon would be taken for the new one's.
        for name in ("api", "gateway"):
            (self.path / name).unlink(missing_ok=True)
        with open(self.path / "daemon.log", "ab") as log:
            process = subprocess.Popen(
                [self.binary, "daemon", *options], env=self.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        try:
            yield KuboDaemon(self, process, self._api(process), self._gateway())
        finally:
            end(process)

    def _api(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                host, port = (self.path / "api").read_text().strip().split("/")[2::2]
                url = f"http://{host}:{port}"
                # The RPC, not the command: offline that takes the repo lock, and the daemon then fails to start.
                urllib.request.urlopen(
                    urllib.request.Request(f"{url}/api/v0/version", method="POST"), timeout=5
                ).close()
                if (self.path / "gateway").exists():
                    return url
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"no daemon: {(self.path / 'daemon.log').read_text()}")

    def _gateway(self) -> str:
        return (self.path / "gateway").read_text().strip()


@dataclass(frozen=True)
class KuboDaemon:
    """A running daemon: ``api`` and ``gateway`` are URLs."""

    repo: KuboRepo
    process: subprocess.Popen[bytes]
    api: str
    gateway: str

    @property
    def multiaddr(self) -> str:
        """The RPC address as Kubo itself writes it."""
        return (self.repo.path / "api").read_text().strip()

    @property
    def peer_address(self) -> str:
        """The swarm address, with the peer's id, for ``swarm connect`` elsewhere."""
        said = self.rpc("id")
        return str(next(address for address in said["Addresses"] if "/127.0.0.1/tcp/" in address))

    def rpc(self, command: str, *args: str, **options: str) -> dict[str, object] | list[object] | str:  # type: ignore[type-arg]
        """Call the RPC; returns the JSON of its (last) answer, or the text where it is none."""
        query = "&".join([*(f"arg={arg}" for arg in args), *(f"{name}={value}" for name, value in options.items())])
        request = urllib.request.Request(f"{self.api}/api/v0/{command}?{query}", method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode(errors="replace")
        try:
            return json.loads(text.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return text

    def connect(self, other: KuboDaemon) -> None:
        """Connect the two swarms."""
        self.rpc("swarm/connect", other.peer_address)
