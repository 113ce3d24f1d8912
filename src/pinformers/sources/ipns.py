"""Signed IPNS records from gateways: bytes that nobody has believed yet."""

from __future__ import annotations

import time

from urllib3 import BaseHTTPResponse

from pinformers._errors import BlockNotFound, SourceUnavailable
from pinformers.ipfs.ipns import MAX_RECORD
from pinformers.sources.addresses import Address, redacted
from pinformers.sources.http import Connections, Exchange, Network, discard, mapped

MEDIA_TYPE = "application/vnd.ipfs.ipns-record"
# Both are of the specification; Kubo gives its records by either, public gateways sometimes by one.
_PATHS = ("/ipns/{name}?format=ipns-record", "/routing/v1/ipns/{name}")


def fetch_record(url: str, name: str, *, timeout: float = 10.0, network: Network | None = None) -> bytes:
    """Ask the gateway at ``url`` for the record of a name, in two ways, each within ``timeout`` seconds.

    Raises SourceUnavailable where it cannot be asked, and BlockNotFound where it has no such record.
    """
    try:
        gateway = Address.parse(url)
    except ValueError as exc:
        raise SourceUnavailable(redacted(url), f"this is no URL of a gateway: {exc}") from None
    connections = Connections(network or Network.of_user(), timeout=timeout, kept=1)
    said: list[str] = []
    try:
        for path in _PATHS:
            target, exchange = gateway.root + path.format(name=name), Exchange(time.monotonic() + timeout)
            answer = connections.get(target, {"Accept": MEDIA_TYPE}, exchange, gateway.headers)
            record = _record(answer, gateway.url, said)
            if record:
                return record
    finally:
        connections.close()
    raise BlockNotFound(gateway.url, f"it has no record of {name} ({', '.join(said)})")


def _record(answer: BaseHTTPResponse, gateway: str, said: list[str]) -> bytes:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    try:
        # Kubo answers "routing: not found" with 200 and as text.
        if answer.status == 200 and kind == MEDIA_TYPE:
            with mapped(gateway):
                return bytes(answer.read(MAX_RECORD + 1))
        said.append(f"{answer.status} {kind}".strip())
        return b""
    finally:
        discard(answer)
