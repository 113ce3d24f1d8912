"""Find the Kubo daemon and the gateways that a machine's other IPFS tools are already told of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

DEFAULT_API = "/ip4/127.0.0.1/tcp/5001"


def discovered(environ: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    """Return ``kubo_api`` and ``gateways`` as far as they are known, each with where it came from.

    The RPC address is what a daemon writes to ``$IPFS_PATH/api``; the gateways are those of IPFS_GATEWAY, or else of
    the first file of the ones that IPFS tools share (IPIP-280).
    """
    found: dict[str, tuple[object, str]] = {}
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or "/nonexistent")
    repo = Path(environ["IPFS_PATH"]).expanduser() if environ.get("IPFS_PATH") else home / ".ipfs"
    for address in _lines(repo / "api"):
        found["kubo_api"] = (address, str(repo / "api"))
        break
    if environ.get("IPFS_GATEWAY"):
        found["gateways"] = (environ["IPFS_GATEWAY"], "IPFS_GATEWAY")
        return found
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [repo / "gateway", home / ".ipfs" / "gateway", config / "ipfs" / "gateway", Path("/etc/ipfs/gateway")]
    for file in files:
        gateways = list(_lines(file))
        if gateways:
            found["gateways"] = (gateways, str(file))
            break
    return found


def _lines(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        # Not there, or not ours to read: then it says nothing to us.
        return
    yield from (line.strip() for line in text.splitlines() if line.strip())
