"""``pinformers catalog`` with a gateway on loopback and no daemon; tests/kubo has the real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result

from catalog_rooms import MemoryNode, Publisher, pin_of
from cli_rooms import invoke, settle
from ipns_data import ed25519_key, record
from pinformers.ipfs import CID
from pinformers.pinning.catalog import Catalog
from pinformers.sources.ipns import MEDIA_TYPE

Run = Callable[..., Result]
NAME = str(ed25519_key(1).name)
YEARS = timedelta(days=36500).total_seconds()


@dataclass
class Gateway:
    """A gateway over a node; ``url`` is where it listens."""

    publisher: Publisher
    url: str = ""


def door(node: MemoryNode) -> type[BaseHTTPRequestHandler]:
    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, name = self.path.partition("?")[0].split("/")[1:3]
            if kind == "ipns" and name in node.records:
                self._send(200, MEDIA_TYPE, node.records[name])
            elif kind == "ipfs" and CID.parse(name) in node.blocks:
                self._send(200, "application/vnd.ipld.raw", node.blocks[CID.parse(name)])
            else:
                self._send(404, "text/plain", b"")

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    return Door


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    publisher = Publisher(Catalog(tmp_path / "publisher"))
    publisher.publish(pin_of(), lifetime=YEARS)
    with ThreadingHTTPServer(("127.0.0.1", 0), door(publisher.node)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield Gateway(publisher, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


@pytest.fixture
def cli(tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Run:
    state = str(tmp_path / "state")
    settle(monkeypatch, tmp_path, state_dir=state, sources="embedded,gateway", gateways=gateway.url)
    return partial(invoke, "catalog")


def followed(cli: Run) -> list[dict[str, object]]:
    found = json.loads(cli("ls", "--json").stdout)
    assert isinstance(found, list)
    return found


def test_follow_ls_and_unfollow(cli: Run, gateway: Gateway) -> None:
    said = cli("follow", f"ipns://{NAME}", "--as", "team").stdout.split()
    assert said[:5] == ["catalog", "team", "IPNS", "name", NAME]
    (line,) = followed(cli)
    assert (line["label"], line["name"], line["sequence"], line["models"], line["pins"]) == ("team", NAME, 0, 1, 1)
    assert line["root"] == str(next(iter(gateway.publisher.node.pinned)))
    assert line["refusal"] is None
    assert cli("ls").stdout.splitlines()[1].split()[:2] == ["team", "0"]
    assert "not followed any more" in cli("unfollow", "team").stdout
    assert followed(cli) == []
    assert "No shared catalog is followed" in cli("ls").stdout


def test_the_order_of_trust(cli: Run, gateway: Gateway) -> None:
    other = gateway.publisher.publish(key="other", lifetime=YEARS)
    cli("follow", NAME, "--as", "team")
    cli("follow", f"/ipns/{other.name}", "--first", "--as", "mine")
    assert [line["label"] for line in followed(cli)] == ["mine", "team"]


def test_follow_without_an_answer_follows_all_the_same(cli: Run, caplog: pytest.LogCaptureFixture) -> None:
    stranger = str(ed25519_key(7).name)
    done = cli("follow", stranger, code=1)
    assert done.stderr.startswith("It is followed, but: The catalog ")
    assert "404" in done.stderr
    (line,) = followed(cli)
    assert (line["name"], line["sequence"], line["label"]) == (stranger, None, stranger[-8:])
    assert "never" in cli("ls").stdout
    assert cli("refresh", code=1).stderr.count("cannot be renewed now") == 1
    assert caplog.text == "", "the same sentence a second time"


def test_refresh_takes_what_is_new_and_says_what_is_refused(cli: Run, gateway: Gateway) -> None:
    cli("follow", NAME, "--as", "team")
    old = gateway.publisher.node.records[NAME]
    gateway.publisher.publish(pin_of(letter="d"), lifetime=YEARS)
    assert json.loads(cli("refresh", "--json").stdout)[0]["pins"] == 2
    gateway.publisher.node.records[NAME] = old
    done = cli("refresh", code=1)
    assert "went back from number 1 to 0" in done.stderr
    assert followed(cli)[0]["sequence"] == 1
    gateway.publisher.node.records[NAME] = record(ed25519_key(9), f"/ipfs/{CID.raw(bytes(32))}", sequence=9)
    assert "not its owner's" in json.loads(cli("refresh", "--json", code=1).stdout)[0]["refusal"]


@pytest.mark.parametrize("name", ["team", "en.wikipedia-on-ipfs.org", "/ipfs/bafkqaaa", "k51"])
def test_what_cannot_be_followed_is_one_sentence(cli: Run, name: str) -> None:
    done = cli("follow", name, code=1)
    assert done.stdout == ""
    assert done.stderr.startswith("pinformers: ") and done.stderr.count("\n") == 1
    assert cli("unfollow", name, code=1).stderr.count("\n") == 1


def test_publish_without_anything_pinned(cli: Run) -> None:
    assert "would be empty" in cli("publish", code=1).stderr


@pytest.mark.parametrize("hours", ["0", "-1", "soon", "1000000"])
def test_a_lifetime_that_is_none(cli: Run, hours: str) -> None:
    cli("publish", "--lifetime", hours, code=2)
