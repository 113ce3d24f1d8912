"""A small real server that answers as an IPFS Cluster peer does, or as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass
class ClusterStub:
    """``pins`` by CID as ``/allocations`` shows them; ``asked`` is every request line; ``raw`` replaces any answer."""

    url: str = ""
    pins: dict[str, dict[str, object]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    raw: bytes | None = None

    def answer(self, method: str, target: str) -> tuple[int, list[object]]:
        """Return the status, and the JSON values of the body."""
        parts = urlsplit(target)
        room, _, cid = parts.path.removeprefix("/").partition("/")
        if method == "POST" and room == "pins":
            query = dict(parse_qsl(parts.query))
            metadata = {key.removeprefix("meta-"): value for key, value in query.items() if key.startswith("meta-")}
            pin = {"cid": cid, "name": query["name"], "metadata": metadata, "timestamp": "2026-11-24T10:00:00Z"}
            self.pins[cid] = pin
            return 200, [pin]
        if room == "allocations" and cid:
            return (200, [self.pins[cid]]) if cid in self.pins else (404, [{"code": 404, "message": "not in it"}])
        if room == "allocations":
            return 200 if self.pins else 204, list(self.pins.values())
        if room == "pins":
            return 200, [{"cid": cid, "peer_map": {"12D3": {"status": "pinned"}, "12D4": {"status": "pinning"}}}]
        return 200, [{"version": "1.1.6", "id": "12D3"}]


@contextmanager
def cluster_stub() -> Iterator[ClusterStub]:
    """Run one on loopback."""
    stub = ClusterStub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            stub.asked.append(f"{self.command} {unquote(self.path)}")
            stub.authorizations.append(self.headers.get("Authorization"))
            if stub.raw is not None:
                self.wfile.write(stub.raw)
                self.close_connection = True
                return
            status, values = stub.answer(self.command, self.path)
            body = b"".join(json.dumps(value).encode() + b"\n" for value in values)
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
