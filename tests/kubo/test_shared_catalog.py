"""A catalog that a real Kubo signs and serves, followed with a daemon and without one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalog_rooms import GRACE, pin_of
from kubo_repo import KuboDaemon
from pinformers.cli import root
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.following import Following
from pinformers.pinning.shared import publish_catalog
from pinformers.sources.gateway import GatewaySource
from pinformers.sources.ipns import MEDIA_TYPE, fetch_record
from pinformers.sources.kubo import KuboNode

pytestmark = pytest.mark.kubo
# What lets two daemons that know nobody else find each other's records.
ROUTED = {"Routing__Type": '"dht"', "Ipns__UsePubsub": "true", "Pubsub__Enabled": "true"}
SEEN = 1_795_000_000_000_000_000
REPO, COMMIT = "org/model", "c" * 40
StartDaemon = Callable[..., KuboDaemon]


@dataclass
class Machine:
    """A machine with records of its own and a command line."""

    folder: Path
    environ: dict[str, str]

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.folder / "state")

    def cli(self, *arguments: str, code: int = 0) -> Result:
        places = {"CACHE_DIR": self.folder / "hub", "STATE_DIR": self.folder / "state"}
        kept = {name: None for name in os.environ if name.startswith(("PINFORMERS", "IPFS"))}
        given = {f"PINFORMERS_{name}": str(value) for name, value in (places | self.environ).items()}
        environ = {**kept, "XDG_CONFIG_HOME": str(self.folder), "HOME": str(self.folder), **given}
        result = CliRunner().invoke(root, ["catalog", *arguments], prog_name="pinformers", env=environ)
        assert result.exit_code == code, result.output
        return result

    def following(self, *records: Callable[[str], bytes], gateway: str) -> Following:
        source = GatewaySource([gateway], stall_timeout=10.0)
        return Following(self.folder / "state" / "catalogs", records, source.block, grace=GRACE)


@pytest.fixture
def publisher(start_daemon: StartDaemon, tmp_path: Path) -> tuple[Machine, KuboDaemon]:
    daemon = start_daemon("a", **ROUTED)
    machine = Machine(tmp_path / "machine-a", {"KUBO_API": daemon.multiaddr, "SOURCES": "embedded,kubo"})
    machine.catalog.add(pin_of())
    machine.catalog.set_ref(REPO, "main", COMMIT, noted=SEEN)
    return machine, daemon


def test_published_by_one_and_followed_without_a_daemon(publisher: tuple[Machine, KuboDaemon], tmp_path: Path) -> None:
    machine, daemon = publisher
    published = machine.cli("publish", "--lifetime", "24")
    name = published.stdout.splitlines()[0].split()[-1]
    assert published.stdout.splitlines()[-1] == f"pinformers catalog follow /ipns/{name}"

    other = Machine(tmp_path / "machine-c", {"GATEWAYS": daemon.gateway, "SOURCES": "embedded,gateway"})
    said = json.loads(other.cli("follow", f"/ipns/{name}", "--as", "team", "--json").stdout)
    assert (said["sequence"], said["pins"], said["refusal"]) == (0, 1, None)
    following = other.following(gateway=daemon.gateway)
    found = following.find(REPO, "main")
    assert found is not None
    assert (found.pin, found.label, found.seen_ns) == (pin_of(), "team", SEEN)


def test_it_is_plain_ipfs(publisher: tuple[Machine, KuboDaemon]) -> None:
    machine, daemon = publisher
    said = json.loads(machine.cli("publish", "--json").stdout)
    name, ipfs = said["name"], daemon.repo.run
    assert [line.split()[-1] for line in ipfs("ls", f"/ipns/{name}").decode().splitlines()] == [
        "models/",
        "pinformers.json",
    ]
    assert json.loads(ipfs("cat", f"/ipns/{name}/models/{REPO}/{COMMIT}.json")) == pin_of().to_json()
    assert json.loads(ipfs("cat", f"/ipns/{name}/models/{REPO}/refs.json"))["main"]["commit"] == COMMIT
    assert ipfs("name", "resolve", name).decode().strip() == f"/ipfs/{said['root']}"
    pins = ipfs("pin", "ls", "--names", "--type=recursive").decode()
    assert [line.split(None, 2)[2] for line in pins.splitlines() if said["root"] in line] == [
        "pinformers-catalog pinformers"
    ]


def test_an_update_goes_forward_and_the_older_pin_goes(publisher: tuple[Machine, KuboDaemon]) -> None:
    machine, daemon = publisher
    first = json.loads(machine.cli("publish", "--json").stdout)
    again = json.loads(machine.cli("publish", "--json").stdout)
    machine.catalog.add(pin_of(letter="d"))
    second = json.loads(machine.cli("publish", "--json").stdout)
    assert (again["root"], again["sequence"]) == (first["root"], first["sequence"])
    assert (second["name"], second["sequence"]) == (first["name"], first["sequence"] + 1)
    pins = daemon.repo.run("pin", "ls", "--type=recursive", "--quiet").decode().split()
    assert second["root"] in pins and first["root"] not in pins


def test_an_older_record_that_somebody_sends_again(publisher: tuple[Machine, KuboDaemon], tmp_path: Path) -> None:
    machine, daemon = publisher
    name = json.loads(machine.cli("publish", "--json").stdout)["name"]
    other = Machine(tmp_path / "machine-c", {"GATEWAYS": daemon.gateway, "SOURCES": "embedded,gateway"})
    old = fetch_record(daemon.gateway, name)
    machine.catalog.add(pin_of(letter="d"))
    machine.cli("publish")
    other.cli("follow", name, "--as", "team")

    class Replaying(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", MEDIA_TYPE)
            self.send_header("Content-Length", str(len(old)))
            self.end_headers()
            self.wfile.write(old)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Replaying) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        other.environ["GATEWAYS"] = f"http://127.0.0.1:{server.server_port}"
        assert "went back from number 1 to 0" in other.cli("refresh", code=1).stderr
        server.shutdown()
        thread.join()
    # The honest one beside it wins, and meanwhile the last good catalog answers.
    following = other.following(
        lambda name: old, lambda name: fetch_record(daemon.gateway, name), gateway=daemon.gateway
    )
    assert following.find(REPO, "d" * 40) is not None
    (followed,) = following.list.all()
    current = following.refresh(followed)
    assert current is not None
    assert current.refusal == ""


def test_followed_with_a_daemon_of_its_own(
    publisher: tuple[Machine, KuboDaemon], start_daemon: StartDaemon, tmp_path: Path
) -> None:
    machine, daemon = publisher
    second = start_daemon("b", **ROUTED)
    daemon.connect(second)
    name = json.loads(machine.cli("publish", "--json").stdout)["name"]
    other = Machine(tmp_path / "machine-b", {"KUBO_API": second.multiaddr, "SOURCES": "embedded,kubo"})
    said = json.loads(other.cli("follow", name, "--as", "team", "--json").stdout)
    assert (said["refusal"], said["pins"]) == (None, 1)
    # The record is the one that the publisher's node signed, the blocks came through the swarm.
    following = other.following(KuboNode(second.multiaddr).name_record, gateway=second.gateway)
    found = following.find(REPO, "main")
    assert found is not None
    assert found.pin == pin_of()


def test_a_daemon_that_gives_its_record_to_nobody_says_so(start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon("a")
    catalog = Catalog(tmp_path / "state")
    catalog.add(pin_of())
    with pytest.raises(OSError, match=r"Routing\.Type must not be none"):
        publish_catalog(catalog, KuboNode(daemon.multiaddr))
