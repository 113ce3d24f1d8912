"""A Kubo repo in a folder of its own, used without a daemon."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SETTINGS = {
    "AutoConf.Enabled": "false",
    "Discovery.MDNS.Enabled": "false",
    "Routing.Type": '"none"',
    "Addresses.Swarm": '["/ip4/127.0.0.1/tcp/0"]',
    "Addresses.API": '"/ip4/127.0.0.1/tcp/0"',
    "Addresses.Gateway": '"/ip4/127.0.0.1/tcp/0"',
}


@dataclass(frozen=True)
class KuboRepo:
    """One repo and the command that works on it."""

    binary: str
    path: Path

    @classmethod
    def create(cls, binary: str, path: Path) -> KuboRepo:
        repo = cls(binary, path)
        repo.run("init", "--profile=test", "--empty-repo")
        for name, value in _SETTINGS.items():
            repo.run("config", "--json", name, value)
        repo.run("bootstrap", "rm", "all")
        repo.run("config", "profile", "apply", "unixfs-v1-2025")
        return repo

    def run(self, *args: str | Path) -> bytes:
        """Run ``ipfs`` and return what it prints; its error text becomes the failure's."""
        environ = os.environ | {"IPFS_PATH": str(self.path), "IPFS_TELEMETRY": "off"}
        done = subprocess.run([self.binary, *map(str, args)], env=environ, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def cid(self, path: Path) -> str:
        """The CID that Kubo gives a file or folder, hidden files included, without storing it."""
        return self.run("add", "-rnQH", "--progress=false", path).decode().strip()
