"""The REST API of an IPFS Cluster peer (1.1): its pin set read and added to. It holds no blocks; Kubo does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import urllib3
from urllib3.response import BaseHTTPResponse

from pinformers._errors import BadCID, SourceError, SourceUnavailable
from pinformers.ipfs.cid import CID
from pinformers.sources.addresses import url_of_multiaddr
from pinformers.sources.http import Network, owned

_ANSWER = 1 << 20
# A pin takes about 700 bytes in the list.
_LIST = 256 << 20


@dataclass(frozen=True, slots=True)
class ClusterPin:
    """A pin of the cluster: what it is called, and what whoever pinned it wrote beside it."""

    cid: CID
    name: str
    metadata: Mapping[str, str]
    timestamp: str

    @classmethod
    def from_json(cls, value: Any) -> ClusterPin:
        """Read an entry of ``/allocations``; raises ValueError for what is none."""
        try:
            metadata = {str(key): str(said) for key, said in (value["metadata"] or {}).items()}
            return cls(CID.parse(value["cid"]), str(value["name"]), metadata, str(value["timestamp"]))
        except (AttributeError, KeyError, TypeError, BadCID) as exc:
            raise ValueError(f"not a pin of a cluster ({exc!r})") from exc


@dataclass(frozen=True, slots=True)
class Replication:
    """On how many peers to pin, at least and at most, -1 for all; 0 is the cluster's own default.

    ``origins`` are addresses, with the peer's id, of daemons that have the blocks now.
    """

    at_least: int = 0
    at_most: int = 0
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where a peer's REST API is; the user and the password stand apart, so that ``url`` can be shown."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> ClusterAddress:
        """Read ``http://user:password@host:9094`` or a multiaddr; raises SourceUnavailable for anything else."""
        url = url_of_multiaddr(text)
        if url is not None:
            return cls(url)
        try:
            parts = urlsplit(text)
            port_text = f":{parts.port}" if parts.port else ""
        except ValueError:
            parts, port_text = urlsplit(""), ""
        if parts.scheme not in ("http", "https") or not parts.hostname:
            # The text itself may hold a password.
            raise SourceUnavailable("cluster", "the setting cluster_api is no address like http://127.0.0.1:9094")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        headers = {}
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = urllib3.make_headers(basic_auth=secret)
        return cls(f"{parts.scheme}://{host}{port_text}{parts.path.rstrip('/')}", headers)


class ClusterNode:
    """One peer of a cluster. Every method raises SourceUnavailable where it does not answer, or within no time.

    ``timeout`` is for each wait, ``patience`` for a whole answer, both in seconds. As to a daemon, no proxy is asked.
    """

    def __init__(
        self, address: str, *, timeout: float = 10.0, patience: float = 30.0, ca_bundle: Path | None = None
    ) -> None:
        where = ClusterAddress.parse(address)
        self.url = where.url
        self._patience = patience
        # A redirect would carry the password elsewhere.
        network, secure = Network(ca_bundle=ca_bundle), self.url.startswith("https:")
        try:
            tls: dict[str, Any] = {"ssl_context": network.tls()} if secure else {}
        except SourceError as exc:
            raise SourceUnavailable(self.name, exc.reason) from exc
        self._pool = owned(
            urllib3.PoolManager(
                headers={**where.headers, "Accept-Encoding": "identity"},
                timeout=urllib3.Timeout(connect=timeout, read=timeout),
                retries=False,
                **tls,
            )
        )

    def __repr__(self) -> str:
        return f"ClusterNode({self.url!r})"

    @property
    def name(self) -> str:
        """What ``explain`` calls it."""
        return f"the IPFS Cluster at {self.url}"

    def version(self) -> str:
        """Return the version of the peer."""
        return str(self._one("GET", "/version").get("version"))

    def pins(self, key: str) -> Iterator[ClusterPin]:
        """Yield the pins whose metadata has ``key``. The API knows no such filter, so that the list is read whole."""
        wanted = f'"{key}"'.encode()
        for line in self._lines("/allocations?filter=pin"):
            if wanted not in line:
                continue
            try:
                pin = ClusterPin.from_json(json.loads(line))
            except (ValueError, RecursionError) as exc:
                raise SourceUnavailable(self.name, f"it lists what is no pin ({exc})") from exc
            if key in pin.metadata:
                yield pin

    def get(self, cid: CID) -> ClusterPin | None:
        """Return one pin, or None where the cluster does not have it."""
        value = self._one("GET", f"/allocations/{cid}", missing=True)
        try:
            return ClusterPin.from_json(value) if value else None
        except ValueError as exc:
            raise SourceUnavailable(self.name, f"its answer is {exc}") from exc

    def pin(self, cid: CID, name: str, metadata: Mapping[str, str], replication: Replication | None = None) -> None:
        """Add a pin, or write a new name and metadata beside one; returns once the cluster agreed to it."""
        wanted = replication or Replication()
        query = {"name": name, **{f"meta-{key}": value for key, value in metadata.items()}}
        if wanted.at_least or wanted.at_most:
            query |= {"replication-min": str(wanted.at_least), "replication-max": str(wanted.at_most)}
        if wanted.origins:
            query["origins"] = ",".join(wanted.origins)
        self._one("POST", f"/pins/{cid}?{urlencode(query, quote_via=quote)}")

    def status(self, cid: CID) -> dict[str, str]:
        """Return how far each peer, by its id, is with a pin: ``pinned``, ``pinning``, ``pin_error`` and so on."""
        peers = self._one("GET", f"/pins/{cid}").get("peer_map")
        found = peers.items() if isinstance(peers, dict) else ()
        return {peer: str(said.get("status")) for peer, said in found if isinstance(said, dict)}

    # -- inner ------------------------------------------------------------------------------------------------

    def _one(self, method: str, path: str, *, missing: bool = False) -> dict[str, Any]:
        """Return the JSON object of an answer; with ``missing``, a 404 is an empty one."""
        with self._request(method, path) as answer:
            content = b"".join(self._pieces(answer, _ANSWER))
        if missing and answer.status == 404:
            return {}
        self._check(answer.status, content)
        value = _json(content)
        if not isinstance(value, dict):
            raise SourceUnavailable(self.name, "its answer is not what the REST API of IPFS Cluster says")
        return value

    def _lines(self, path: str) -> Iterator[bytes]:
        """Yield the lines of a streamed answer."""
        with self._request("GET", path) as answer:
            if answer.status != 200:
                content = b"".join(self._pieces(answer, _ANSWER))
                # No pin at all is 204.
                if answer.status != 204:
                    self._check(answer.status, content)
            rest = b""
            for piece in self._pieces(answer, _LIST):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
                if len(rest) > _ANSWER:
                    raise SourceUnavailable(self.name, "its list of pins has a line without an end")
        if rest:
            yield rest

    @contextmanager
    def _request(self, method: str, path: str) -> Iterator[BaseHTTPResponse]:
        try:
            answer = self._pool.request(method, self.url + path, redirect=False, preload_content=False)
            with answer:
                yield answer
        except urllib3.exceptions.HTTPError as exc:
            # Its own words begin with the repr of a connection object.
            raise SourceUnavailable(self.name, str(exc).rpartition(": ")[2] or type(exc).__name__) from exc

    def _pieces(self, answer: BaseHTTPResponse, most: int) -> Iterator[bytes]:
        """Yield the bytes of an answer as they arrive: at most so many, and within the patience."""
        deadline = time.monotonic() + self._patience
        while piece := answer.read1(1 << 16):
            most -= len(piece)
            if most < 0 or time.monotonic() > deadline:
                raise SourceUnavailable(self.name, "its answer does not end")
            yield piece

    def _check(self, status: int, content: bytes) -> None:
        if status in (401, 403):
            raise SourceUnavailable(self.name, "it asks for a user and a password, http://user:password@host:port")
        if status != 200:
            value = _json(content)
            said = value.get("message") if isinstance(value, dict) else None
            raise SourceError(self.name, f"it answers {status}{f', {said}' if said else ''}"[:300])


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
