"""The addresses of servers, as people write them, and without the secrets that may stand in them."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[\w.:-]+")
_MULTIADDR = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/(\d+)(/https|/tls(?:/http)?|/http)?/?")


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a server without the user and password that it came with; those are in ``headers``."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str, schemes: tuple[str, ...] = ("http", "https")) -> Address:
        """Read ``https://user:password@host:port/path``.

        Raises ValueError for anything else, with what is wrong and nothing of the text, in which a password may be.
        """
        if re.search(r"[\s\x00-\x1f\x7f\\]", text):
            raise ValueError("it holds a space or a control character")
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError:
            raise ValueError("it has a host or a port that is none") from None
        if parts.scheme not in schemes or not _HOST.fullmatch(parts.hostname or ""):
            raise ValueError(f"it does not begin with {' or '.join(f'{scheme}://' for scheme in schemes)} and a host")
        if parts.query or parts.fragment or "@" in parts.path:
            raise ValueError("it has more than a host, a port and a path")
        headers = {}
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = {"authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
        return cls(f"{parts.scheme}://{netloc(parts)}{parts.path.rstrip('/')}", headers)

    @property
    def root(self) -> str:
        """The URL without the ``/ipfs`` that some write at the end of a gateway's."""
        return self.url.removesuffix("/ipfs")


def url_of_multiaddr(text: str) -> str | None:
    """Write a multiaddr of a TCP port, by address or DNS name, as a URL; None for anything else."""
    match = _MULTIADDR.fullmatch(text)
    if match is None:
        return None
    kind, host, port, scheme = match.groups()
    host = f"[{host}]" if kind == "ip6" else host
    return f"{'https' if scheme not in (None, '/http') else 'http'}://{host}:{port}"


def redacted(text: str) -> str:
    """Return a text that should have been a URL without what may be a user, a password or a token."""
    shown = re.split("[?#]", text, maxsplit=1)[0]
    return "://".join(part.rpartition("@")[2] for part in shown.split("://", 1))


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its very name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def netloc(parts: SplitResult) -> str:
    """Return host and port, normal, without user and password."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, _PORTS.get(parts.scheme)) else f"{host}:{parts.port}"
