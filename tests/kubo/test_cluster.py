"""A real IPFS Cluster of two peers: a model that was published on one is there when that one is gone."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from cluster_peer import build_cluster, cluster
from environment import clean_env
from ipfs_data import MemoryStore
from kubo_repo import KuboDaemon
from pin_rooms import write_folder
from pinformers._errors import BlockNotFound, PinError, SourceUnavailable
from pinformers.ipfs import CID, Block, read_file, walk_directory, write_car
from pinformers.pinning.cluster_pins import ClusterShelf
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.sources.cluster import ClusterNode, Replication

pytestmark = pytest.mark.kubo
StartDaemon = Callable[..., KuboDaemon]
REPO, COMMIT, MIB = "org/model", "c" * 40, 1 << 20
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": os.urandom(3 * MIB + 5),
    "sub/vocab.txt": b"a\nb\n",
}


@pytest.fixture(scope="session")
def cluster_binary() -> str:
    """The path of an ``ipfs-cluster-service`` command."""
    try:
        return build_cluster()
    except (OSError, subprocess.CalledProcessError) as exc:
        reason = f"there is no IPFS Cluster and it could not be built: {exc}"
        if os.environ.get("PINFORMERS_REQUIRE_KUBO") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


class Daemon:
    """What is needed of a Kubo daemon: it takes blocks, and gives those that it has itself."""

    def __init__(self, daemon: KuboDaemon) -> None:
        self._daemon = daemon

    def import_car(self, blocks: Iterable[Block], roots: Sequence[CID]) -> None:
        car = io.BytesIO()
        write_car(car, roots, blocks)
        body = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="car"\r\n\r\n'
            + car.getvalue()
            + b"\r\n--b--"
        )
        url = f"{self._daemon.api}/api/v0/dag/import?pin-roots=false"
        request = urllib.request.Request(url, body, {"Content-Type": "multipart/form-data; boundary=b"})
        urllib.request.urlopen(request, timeout=60).close()

    def block(self, cid: CID) -> bytes:
        url = f"{self._daemon.api}/api/v0/block/get?arg={cid}&offline=true"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as exc:
            raise BlockNotFound("kubo", str(exc)) from exc


def imported(daemon: Daemon, **changes: object) -> Pin:
    """Import the blocks of FILES; return their pin."""
    store = MemoryStore()
    dags = {path: store.add_file(content) for path, content in FILES.items()}
    daemon.import_car(store.everything(), [CID.raw(bytes(32))])
    files = {path: PinnedFile(dag.size, str(dag.cid), dag.dag_size, dag.sha256) for path, dag in dags.items()}
    return Pin(**{"repo": REPO, "commit": COMMIT, "files": files, "listed": True} | changes)  # type: ignore[arg-type]


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, "the cluster did not get there within a minute"
        time.sleep(0.05)


def test_a_published_model_outlives_the_peer_that_published_it(
    cluster_binary: str, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    a, b = start_daemon("a"), start_daemon("b")
    here, there = Daemon(a), Daemon(b)
    pin = imported(here)
    seen = 1_790_000_000 * 10**9
    with cluster(cluster_binary, tmp_path / "cluster", {"a": a, "b": b}) as peers:
        (first, stop_first), (second, _) = peers["a"], peers["b"]
        node = ClusterNode(first.api)
        assert node.version().startswith("1.")
        wait_until(lambda: len(read_json_lines(f"{first.api}/peers")) == 2)
        # The cluster's own default: on every peer.
        replication = Replication(origins=(a.peer_address,))
        root = ClusterShelf(node, here.block).publish(pin, {"main": seen}, here, replication)
        elsewhere = ClusterNode(second.api)
        wait_until(lambda: list(elsewhere.status(root).values()) == ["pinned", "pinned"])
        # Peer and daemon of the publisher are gone.
        stop_first()
        a.process.terminate()
        a.process.wait(20)
        with pytest.raises(SourceUnavailable, match="refused"):
            node.version()

        found = ClusterShelf(elsewhere, there.block).find(REPO, "main")
        assert found is not None
        assert (found.pin, found.seen_ns) == (pin, seen)
        assert "main was seen at this commit on 2026-09-21T14:13:20+00:00" in found.how
        assert ClusterShelf(elsewhere, there.block).find(REPO, COMMIT) is not None
        assert ClusterShelf(elsewhere, there.block).find(REPO, "v1") is None
        read = {
            path: b"".join(read_file(cid, there.block))
            for path, cid, _ in walk_directory(CID.parse(pin.root), there.block)
        }
        assert read == FILES
        # And with the plain command.
        assert b.repo.run("cat", "--progress=false", f"/ipfs/{root}/model/sub/vocab.txt") == FILES["sub/vocab.txt"]
        assert json.loads(b.repo.run("cat", "--progress=false", f"/ipfs/{root}/pin.json"))["root"] == pin.root


def cli(home: Path, *arguments: str, **settings: str) -> str:
    """Run the product's own command line for a user of that home."""
    home.mkdir(parents=True, exist_ok=True)
    env = clean_env(home, PINFORMERS_SOURCES="embedded,kubo", HF_ENDPOINT="http://127.0.0.1:9", **settings)
    command = [sys.executable, "-m", "pinformers", *arguments]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# A worker that knows of no cluster.
WORKER = """
import sys
from transformers import AutoConfig
from transformers.utils import cached_file
print(AutoConfig.from_pretrained(sys.argv[1]).model_type)
for path in sys.argv[2:]:
    print(cached_file(sys.argv[1], path))
"""


@pytest.mark.torch
def test_what_is_pushed_is_loaded_by_name_on_the_other_machine_when_the_first_is_gone(
    cluster_binary: str, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    a, b = start_daemon("a"), start_daemon("b")
    a.connect(b)
    folder = write_folder(tmp_path / "folder", FILES)
    with cluster(cluster_binary, tmp_path / "cluster", {"a": a, "b": b}) as peers:
        (first, stop_first), (second, _) = peers["a"], peers["b"]
        wait_until(lambda: len(read_json_lines(f"{first.api}/peers")) == 2)
        here = {"PINFORMERS_KUBO_API": a.multiaddr, "PINFORMERS_CLUSTER_API": first.api}
        said = json.loads(cli(tmp_path / "here", "push", str(folder), "--as", REPO, "--json", **here))
        elsewhere = ClusterNode(second.api)
        wait_until(lambda: len(list(elsewhere.pins("pinformers"))) == 1)
        (pinned,) = elsewhere.pins("pinformers")
        wait_until(lambda: list(elsewhere.status(pinned.cid).values()) == ["pinned", "pinned"])
        stop_first()
        a.process.terminate()
        a.process.wait(20)
        there = {"PINFORMERS_KUBO_API": b.multiaddr, "PINFORMERS_CLUSTER_API": second.api}
        loaded = cli(tmp_path / "there", "run", sys.executable, "-c", WORKER, REPO, *FILES, **there)
        found = json.loads(cli(tmp_path / "there", "pin", REPO, "--json", **there))
    assert found["root"] == said["root"]
    kind, *files = loaded.splitlines()
    assert kind == "bert"
    assert {path: Path(file).read_bytes() for path, file in zip(FILES, files, strict=True)} == FILES


def read_json_lines(url: str) -> list[object]:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def test_revisions_of_a_commit_come_together_and_the_newest_commit_answers(
    cluster_binary: str, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start_daemon("a")
    blocks = Daemon(daemon)
    old, new = imported(blocks), imported(blocks, commit="d" * 40)
    second = 10**9
    with cluster(cluster_binary, tmp_path / "cluster", {"a": daemon}, {"ada": "s3cret:/@"}) as peers:
        (peer, _) = peers["a"]
        with pytest.raises(SourceUnavailable, match="asks for a user and a password"):
            ClusterNode(peer.api).version()
        node = ClusterNode(peer.api.replace("//", "//ada:s3cret%3A%2F%40@"))
        assert "s3cret" not in repr(node) + node.name + node.url
        shelf = ClusterShelf(node, blocks.block)
        assert shelf.offers() == []
        cid = shelf.publish(old, {"main": 100 * second}, blocks)
        assert shelf.publish(old, {"v1.0": 200 * second, "refs/pr/1": 150 * second}, blocks) == cid
        before = node.get(cid)
        assert before is not None
        # Nothing new is nothing to write.
        shelf.publish(old, {"main": 90 * second}, blocks)
        assert node.get(cid) == before
        shelf.publish(new, {"main": 300 * second}, blocks)
        for revision, pin in (("main", new), ("v1.0", old), ("refs/pr/1", old), ("c" * 40, old), ("d" * 40, new)):
            found = shelf.find(REPO, revision)
            assert found is not None
            assert found.pin == pin
        assert shelf.find(REPO, "v2") is shelf.find("org/other", "main") is None
        assert node.get(CID.parse(new.root)) is None


def test_a_record_that_lies_is_refused(cluster_binary: str, start_daemon: StartDaemon, tmp_path: Path) -> None:
    daemon = start_daemon("a")
    blocks = Daemon(daemon)
    pin = imported(blocks)
    with cluster(cluster_binary, tmp_path / "cluster", {"a": daemon}) as peers:
        node = ClusterNode(peers["a"][0].api)
        cid = ClusterShelf(node, blocks.block).publish(pin, {"main": 10**9}, blocks, Replication(1, 1))
        (said,) = read_json_lines(f"{node.url}/allocations")
        assert isinstance(said, dict)
        assert (said["replication_factor_min"], said["replication_factor_max"]) == (1, 1)
        assert said["name"] == f"{REPO}@{COMMIT}"
        metadata = {"pinformers": "1", "repo": "org/victim", "commit": COMMIT, "ref-main": "2026-01-01T00:00:00+00:00"}
        node.pin(cid, "org/victim", metadata)
        with pytest.raises(PinError, match=f"is said to be org/victim@{COMMIT} and is {REPO}@{COMMIT}"):
            ClusterShelf(node, blocks.block).find("org/victim", "main")
