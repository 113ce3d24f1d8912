"""Serve a local stand-in for the Hugging Face hub over real HTTP, good enough for huggingface_hub 0.34 to 2.x.

`HF_ENDPOINT=stub.url` in a subprocess, or `endpoint=stub.url` in this one, makes the unedited client talk to it.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from hub_content import DATE, LFS_PATTERNS, Blob, Repo, describe_repo, git_oid, is_lfs, read_files, tree_entries

Kind = Literal["info", "tree", "file", "file_head", "auth", "write", "other"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the stub answered; `status` is what it answered."""

    method: str
    path: str
    kind: Kind
    repo: str | None
    file: str | None
    status: int


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL asks for."""

    kind: Kind
    repo_type: str = "models"
    repo: str | None = None
    revision: str = "main"
    path: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class HubStub:
    """A hub on 127.0.0.1. Set `down`, `fail_with` or `delay` at any time; `stop()` makes connections be refused.

    Unlike the real hub it answers LFS files itself: no redirect to a CDN.
    """

    def __init__(self, *, xet: bool = False) -> None:
        self.xet = xet
        self.delay = 0.0
        self.down = False
        self.fail_with: int | None = None
        self.requests: list[Request] = []
        self._repos: dict[tuple[str, str], Repo] = {}
        self._port = 0
        self._server: _Server | None = None

    def __enter__(self) -> HubStub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen; after a `stop()`, on the same port again."""
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="hub-stub", daemon=True).start()

    def stop(self) -> None:
        """Close the listening socket and every open connection; idempotent."""
        if self._server is not None:
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._server = None

    def add(
        self,
        repo_id: str,
        files: Path | Mapping[str, bytes | str],
        *,
        repo_type: Literal["model", "dataset", "space"] = "model",
        branch: str = "main",
        pipeline_tag: str | None = None,
        library_name: str | None = "transformers",
        tags: Sequence[str] = (),
        private_token: str | None = None,
        gated_token: str | None = None,
        lfs: Sequence[str] = LFS_PATTERNS,
    ) -> str:
        """Commit a folder, or a mapping of path to content, as the whole of `branch`; return the commit.

        The commit depends on the repo and its content only. Older commits stay served.
        """
        blobs = {path: Blob(content, is_lfs(path, content, lfs)) for path, content in read_files(files).items()}
        repo = self._repos.setdefault((f"{repo_type}s", repo_id), Repo(repo_id))
        repo.card = {"pipeline_tag": pipeline_tag, "library_name": library_name, "tags": list(tags)}
        repo.private_token, repo.gated_token = private_token, gated_token
        listing = "".join(f"{path}\0{blob.oid}\n" for path, blob in sorted(blobs.items()))
        commit = git_oid("commit", f"{repo_id}\n{listing}".encode())
        repo.commits[commit] = blobs
        repo.branches[branch] = commit
        return commit

    def count(self, *, kind: Kind | None = None, file: str | None = None) -> int:
        """Count the requests since the last `reset()`, all of them or those of one kind, for one file."""
        return sum(kind in (None, seen.kind) and file in (None, seen.file) for seen in self.requests)

    def reset(self) -> None:
        """Forget the requests."""
        self.requests.clear()

    def answer(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        """Answer one request and write it down."""
        time.sleep(self.delay)
        parts = urlsplit(url)
        target = _target(method, parts.path)
        answer = Answer(self.fail_with) if self.fail_with else self._find(target, parse_qs(parts.query), headers)
        self.requests.append(Request(method, url, target.kind, target.repo, target.path or None, answer.status))
        return answer

    def _find(self, target: Target, query: Mapping[str, list[str]], headers: Mapping[str, str]) -> Answer:
        if target.kind == "other" or target.repo is None:
            return _error(404, "NotFound", "Sorry, we can't find the page you are looking for.")
        repo = self._repos.get((target.repo_type, target.repo))
        token = (headers.get("Authorization") or "").removeprefix("Bearer ")
        if repo is None or (repo.private_token and token != repo.private_token):
            return _repo_not_found(token)
        if repo.gated_token not in (None, token) and target.kind in ("file", "file_head", "auth"):
            return _error(403 if token else 401, "GatedRepo", f"Access to model {target.repo} is restricted.")
        if target.kind in ("auth", "write"):
            # What a write does, a test says by ``add``.
            return _json({})
        commit = repo.commit(target.revision)
        if commit is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {target.revision}")
        if target.kind == "info":
            return _json(describe_repo(repo, commit, blobs="blobs" in query))
        if target.kind == "tree":
            return self._tree(repo, commit, target, query)
        return _file(repo.commits[commit].get(target.path), commit, headers.get("Range"))

    def _tree(self, repo: Repo, commit: str, target: Target, query: Mapping[str, list[str]]) -> Answer:
        folder = target.path
        recursive, expand = (query.get(flag, [""])[0].lower() in ("true", "1") for flag in ("recursive", "expand"))
        entries = tree_entries(repo.commits[commit], folder, xet=self.xet)
        if folder and not entries:
            return _error(404, "EntryNotFound", f'{folder} does not exist on "{target.revision}"', commit)
        depth = folder.count("/") + bool(folder)
        shown = [entry for entry in entries if recursive or str(entry["path"]).count("/") == depth]
        if expand:
            last = {"id": commit, "title": "Add files", "date": DATE}
            shown = [{**entry, "lastCommit": last} for entry in shown]
        return _json(shown)


def _target(method: str, path: str) -> Target:
    """Read a URL path; a revision may hold slashes (`refs/pr/1`), which clients quote."""
    steps = path.strip("/").split("/")
    if steps[0] == "api" and len(steps) > 2:
        return _api_target(steps[1], steps[2:])
    repo_type = steps.pop(0) if steps[0] in ("datasets", "spaces") else "models"
    if "resolve" not in steps[1:3]:
        return Target("other")
    at = steps.index("resolve", 1)
    kind: Kind = "file_head" if method == "HEAD" else "file"
    return Target(kind, repo_type, "/".join(steps[:at]), unquote(steps[at + 1]), unquote("/".join(steps[at + 2 :])))


def _api_target(repo_type: str, steps: list[str]) -> Target:
    width = 1 if len(steps) == 1 or steps[1] in ("revision", "tree") else 2
    repo, rest = "/".join(steps[:width]), steps[width:]
    if repo_type not in ("models", "datasets", "spaces"):
        return Target("other")
    if not rest:
        return Target("info", repo_type, repo)
    if rest == ["auth-check"]:
        return Target("auth", repo_type, repo)
    if rest[0] == "revision" and len(rest) == 2:
        return Target("info", repo_type, repo, unquote(rest[1]))
    if rest[0] == "tree" and len(rest) > 1:
        return Target("tree", repo_type, repo, unquote(rest[1]), unquote("/".join(rest[2:])))
    return Target("write" if rest[0] in ("super-squash", "discussions") else "other", repo_type, repo)


def _json(content: object) -> Answer:
    return Answer(200, json.dumps(content).encode(), {"Content-Type": "application/json; charset=utf-8"})


def _error(status: int, code: str, message: str, commit: str | None = None) -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json; charset=utf-8"}
    if commit is not None:
        headers["X-Repo-Commit"] = commit  # the client writes `.no_exist/<commit>/<path>` from it
    return Answer(status, json.dumps({"error": message}).encode(), headers)


def _repo_not_found(token: str) -> Answer:
    """Answer as the hub does: it tells an anonymous client to log in, and never says that a private repo exists."""
    if token:
        return _error(404, "RepoNotFound", "Repository not found")
    return _error(401, "RepoNotFound", "Invalid username or password.")


def _file(blob: Blob | None, commit: str, wanted: str | None) -> Answer:
    if blob is None:
        return _error(404, "EntryNotFound", "Entry not found", commit)
    headers = {"X-Repo-Commit": commit, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
    headers["Content-Type"] = "application/octet-stream" if blob.lfs else "text/plain; charset=utf-8"
    if blob.lfs:
        headers |= {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
    if wanted is None or not wanted.startswith("bytes="):
        return Answer(200, blob.content, headers)
    return _part(blob.content, wanted.removeprefix("bytes="), headers)


def _part(content: bytes, wanted: str, headers: dict[str, str]) -> Answer:
    first, _, last = wanted.partition("-")
    size = len(content)
    begin = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if begin >= end:
        return Answer(416, b"", headers | {"Content-Range": f"bytes */{size}"})
    return Answer(206, content[begin:end], headers | {"Content-Range": f"bytes {begin}-{end - 1}/{size}"})


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() joins them: a socket left open is a ResourceWarning in a test
    request_queue_size = 128

    def __init__(self, hub: HubStub, port: int) -> None:
        self.hub = hub
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Connection)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for this machine's name, which takes seconds where there is none.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def verify_request(self, request: object, client_address: object) -> bool:
        return not self.hub.down

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self._open.add(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that was killed in the middle of an answer is what some tests are about."""

    def hang_up(self) -> None:
        for connection in tuple(self._open):
            _shut(connection)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two would meet Nagle and a delayed ACK, 40 ms a request
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.server.hub.down:
            self.close_connection = True
            _shut(self.connection)
            return
        answer = self.server.hub.answer(self.command, self.path, self.headers)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr."""


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client went first
