"""Find what a machine's other tools are already told of: the Kubo daemon, the gateways, the certificates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

DEFAULT_API = "/ip4/127.0.0.1/tcp/5001"


def discovered(environ: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    """Return ``kubo_api``, ``gateways`` and ``ca_bundle`` as far as they are known, each with where it came from."""
    found: dict[str, tuple[object, str]] = {}
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or "/nonexistent")
    # Of os.path: that of pathlib raises where a user is not known.
    repo = Path(os.path.expanduser(environ.get("IPFS_PATH") or home / ".ipfs"))
    for address in _lines(repo / "api"):
        found["kubo_api"] = (address, str(repo / "api"))
        break
    for origin, gateways in _gateways(environ, home, repo):
        if gateways:
            found["gateways"] = (gateways, origin)
            break
    # SSL_CERT_FILE and SSL_CERT_DIR are read by OpenSSL itself; requests lets these stand before them.
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if environ.get(variable):
            found["ca_bundle"] = (environ[variable], variable)
            break
    return found


def _gateways(environ: Mapping[str, str], home: Path, repo: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the places that IPFS tools share (IPIP-280), in their order, and the gateways that each one names."""
    yield "IPFS_GATEWAY", [url for url in re.split(r"[\s,]+", environ.get("IPFS_GATEWAY", "")) if url]
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    for file in (repo / "gateway", home / ".ipfs" / "gateway", config / "ipfs" / "gateway", Path("/etc/ipfs/gateway")):
        yield str(file), list(_lines(file))


def _lines(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        # Not there, or not ours to read: then it says nothing to us.
        return
    yield from (line.strip() for line in text.splitlines() if line.strip())
