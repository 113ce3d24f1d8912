from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from ipfs_data import MemoryStore
from kubo_repo import KuboDaemon, KuboRepo
from pinformers._errors import BlockNotFound, SourceError, SourceUnavailable
from pinformers.ipfs import CID, Block, hash_file, leaves, read_file
from pinformers.ipfs.buffers import Buffers
from pinformers.ipfs.dag import Run
from pinformers.sources.kubo import KuboNode, KuboSource

pytestmark = pytest.mark.kubo
Start = Callable[..., KuboDaemon]
CONTENT = random.Random(3).randbytes(3 * (1 << 20) + 5)
ABSENT = CID.raw(bytes(range(32)))


@pytest.fixture
def kubo(start_daemon: Start) -> KuboDaemon:
    return start_daemon()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def stored(node: KuboNode, store: MemoryStore, content: bytes = CONTENT) -> CID:
    """Put a file's blocks into the daemon."""
    dag = store.add_file(content)
    blocks = [Block(cid, store(cid)) for cid in (dag.cid, *(node.cid for node in dag.nodes[1:]))]
    blocks += [Block(leaf.cid, store(leaf.cid)) for leaf in leaves(dag.cid, store)]
    node.import_car(blocks, [dag.cid])
    return dag.cid


@pytest.mark.parametrize("form", ["multiaddr", "api"])
def test_what_a_node_says_of_itself(kubo: KuboDaemon, form: str) -> None:
    node = KuboNode(getattr(kubo, form))
    assert node.version().startswith("0.")
    assert node.too_old() is None
    assert node.id().startswith("12D3")
    assert node.local and not node.filestore_enabled()
    assert node.repo_path() == kubo.repo.path
    assert node.peers() == 0


def test_blocks_come_back_as_they_went_in_and_the_cid_is_that_of_ipfs_add(
    kubo: KuboDaemon, store: MemoryStore, tmp_path: Path
) -> None:
    node = KuboNode(kubo.multiaddr)
    root = stored(node, store)
    source = KuboSource(node, swarm_timeout=1.0)
    assert b"".join(read_file(root, source.block)) == CONTENT
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    assert str(root) == str(hash_file(file).cid) == kubo.rpc("block/stat", str(root))["Key"]  # type: ignore[call-overload,index]
    assert node.has(root) and not node.has(ABSENT)


def test_a_block_that_nobody_has_ends_at_the_deadline_and_the_next_at_once(kubo: KuboDaemon) -> None:
    source = KuboSource(KuboNode(kubo.multiaddr), swarm_timeout=1.0)
    with pytest.raises(BlockNotFound, match="nor did its swarm within 1 s"):
        source.block(ABSENT)
    with pytest.raises(BlockNotFound, match="had nothing just now"):
        source.block(CID.raw(bytes(32)))


def test_a_block_of_the_swarm(start_daemon: Start, store: MemoryStore) -> None:
    a, b = start_daemon("a"), start_daemon("b")
    root = stored(KuboNode(a.multiaddr), store)
    a.connect(b)
    source = KuboSource(KuboNode(b.multiaddr), swarm_timeout=10.0)
    assert b"".join(read_file(root, source.block)) == CONTENT


@pytest.fixture(params=["beside it", "by its RPC"])
def beside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a daemon's repo is read beside it."""
    if request.param != "beside it":
        monkeypatch.setattr(KuboNode, "blockstore", lambda _: None)
    return bool(request.param == "beside it")


def test_a_run_of_leaves_is_read_from_its_repo_in_one_go(kubo: KuboDaemon, store: MemoryStore, beside: bool) -> None:
    node, content = KuboNode(kubo.multiaddr), os.urandom(9 << 20)
    root = stored(node, store, content)
    source = KuboSource(node, swarm_timeout=0)
    found = list(leaves(root, source.block))
    run = Run(root, tuple(found[2:8]), Buffers())
    assert b"".join(block for _, block in source.run(run)) == content[2 << 20 : 8 << 20]
    kubo.repo.run("block", "rm", "--force", str(found[5].cid))
    # What stands before the missing one is true; the others are asked for by themselves.
    kept = [cid for cid, _ in source.run(run)]
    assert kept == [leaf.cid for leaf in found[2:8]][: len(kept)]
    assert len(kept) <= 3
    # Beside it, each is looked for; its RPC is not asked for several again so soon.
    assert len(list(source.run(Run(root, tuple(found[:2]), Buffers())))) == (2 if beside else 0)


def test_what_the_daemon_has_is_read_beside_it(kubo: KuboDaemon, store: MemoryStore) -> None:
    node = KuboNode(kubo.multiaddr)
    root = stored(node, store)
    blocks = node.blockstore()
    assert blocks is not None
    assert b"".join(read_file(root, lambda cid: blocks.block(cid) or b"")) == CONTENT
    assert blocks.block(ABSENT) is None


def test_many_threads_read_at_once(kubo: KuboDaemon, store: MemoryStore) -> None:
    node = KuboNode(kubo.multiaddr)
    root = stored(node, store)
    source = KuboSource(node, swarm_timeout=1.0)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(b"".join(read_file(root, source.block)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 8


def test_without_a_copy_and_when_the_file_moved_reads_do_not_hang(start_daemon: Start, tmp_path: Path) -> None:
    kubo = start_daemon(Experimental__FilestoreEnabled="true")
    node = KuboNode(kubo.multiaddr)
    assert node.filestore_enabled()
    file = tmp_path / "kubo" / "model.bin"
    file.write_bytes(CONTENT)
    root = hash_file(file).cid
    before = int(kubo.rpc("repo/stat")["RepoSize"])  # type: ignore[call-overload,index]
    node.add_nocopy(file, root)
    grown = int(kubo.rpc("repo/stat")["RepoSize"]) - before  # type: ignore[call-overload,index]
    assert grown < len(CONTENT) // 10
    source = KuboSource(node, swarm_timeout=1.0)
    assert b"".join(read_file(root, source.block)) == CONTENT
    leaf = next(leaves(root, source.block)).cid
    file.rename(tmp_path / "moved")
    assert not node.has(leaf)
    with pytest.raises(SourceError):
        b"".join(read_file(root, source.block))
    with pytest.raises(SourceError, match="no such file"):
        node.pin(root, "org/model")
    node.forget_dead([root, leaf])
    assert node.has(root)
    with pytest.raises(BlockNotFound, match="not found"):
        node.block(leaf, offline=True, timeout=5.0)


def test_a_file_outside_of_the_repos_parent_is_refused(start_daemon: Start, tmp_path: Path) -> None:
    node = KuboNode(start_daemon(Experimental__FilestoreEnabled="true").multiaddr)
    file = tmp_path / "elsewhere.bin"
    file.write_bytes(CONTENT)
    with pytest.raises(SourceError):
        node.add_nocopy(file, hash_file(file).cid)


def test_other_bytes_than_expected_are_noticed(start_daemon: Start, tmp_path: Path) -> None:
    node = KuboNode(start_daemon(Experimental__FilestoreEnabled="true").multiaddr)
    file = tmp_path / "kubo" / "a"
    file.write_bytes(CONTENT)
    with pytest.raises(SourceError, match="and not"):
        node.add_nocopy(file, ABSENT)


def test_pins_by_name(kubo: KuboDaemon, store: MemoryStore) -> None:
    node = KuboNode(kubo.multiaddr)
    root = stored(node, store)
    node.pin(root, "org/model@" + "c" * 40)
    assert node.pins("org/model") == {root: "org/model@" + "c" * 40}
    assert node.pins("org/else") == {}
    assert "org/model@" in kubo.repo.run("pin", "ls", "--names", "--type=recursive").decode()
    node.unpin(root)
    node.unpin(root)
    assert root not in node.pins(), "a daemon has a pin of its own, the empty folder"
    node.pin(root, "n" * 400)
    assert node.pins()[root] == "n" * 255


def test_names(start_daemon: Start, store: MemoryStore) -> None:
    # With Routing.Type=none a daemon does not find even its own record.
    kubo = start_daemon(Routing__Type='"dht"')
    node = KuboNode(kubo.multiaddr)
    root = stored(node, store)
    name = node.key_gen("pinformers")
    assert node.keys()["pinformers"] == name
    assert node.publish_name(root, key="pinformers", lifetime=3600, ttl=60) == name
    assert len(node.name_record(name)) > 100


def test_a_socket_in_the_file_system(kubo_binary: str, store: MemoryStore, tmp_path: Path) -> None:
    address = f"/unix/{tmp_path / 'ipfs.sock'}"
    repo = KuboRepo.create(kubo_binary, tmp_path / "kubo" / "repo", Addresses__API=f'"{address}"')
    with open(repo.path / "daemon.log", "ab") as log:
        process = subprocess.Popen([repo.binary, "daemon"], env=repo.environ, stdout=log, stderr=log)
    try:
        node = KuboNode(address)
        assert _patient(node.version)
        assert node.local and node.repo_path() == repo.path
        root = stored(node, store)
        node.pin(root, "org/model")
        assert node.pins("org/model") == {root: "org/model"}
        assert b"".join(read_file(root, KuboSource(node, swarm_timeout=1.0).block)) == CONTENT
    finally:
        process.terminate()
        process.wait()


def test_a_token(start_daemon: Start) -> None:
    rule = '{"ada": {"AuthSecret": "bearer:s3cret", "AllowedPaths": ["/api/v0"]}}'
    # The fixture asks for the version before it yields, so the rule comes with a second start.
    first = start_daemon()
    first.process.terminate()
    first.process.wait()
    first.repo.run("config", "--json", "API.Authorizations", rule)
    (first.repo.path / "api").unlink(missing_ok=True)
    with open(first.repo.path / "daemon.log", "ab") as log:
        process = subprocess.Popen([first.repo.binary, "daemon"], env=first.repo.environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not (first.repo.path / "api").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        address = (first.repo.path / "api").read_text()
        with pytest.raises(SourceUnavailable, match="kubo_token"):
            _patient(KuboNode(address).version)
        with pytest.raises(SourceUnavailable, match="kubo_token"):
            KuboNode(address).id()
        assert KuboNode(address, token="s3cret").version()
        assert KuboNode(address, token="s3cret").id()
        assert "s3cret" not in repr(vars(KuboNode(address, token="s3cret")))
    finally:
        process.terminate()
        process.wait()


def _patient(call: Callable[[], object]) -> object:
    """The address is written a moment before anybody listens there."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return call()
        except SourceUnavailable as exc:
            if "reached" not in exc.reason or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_daemon_that_dies_in_the_middle(kubo: KuboDaemon, store: MemoryStore, beside: bool) -> None:
    node = KuboNode(kubo.multiaddr)
    root = stored(node, store)
    pieces = read_file(root, KuboSource(node, swarm_timeout=1.0).block)
    next(pieces)
    kubo.process.kill()
    kubo.process.wait()
    with nullcontext() if beside else pytest.raises(SourceUnavailable):
        list(pieces)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_connections_of_its_own(kubo: KuboDaemon, store: MemoryStore) -> None:
    node = KuboNode(kubo.multiaddr)
    root = stored(node, store)
    source = KuboSource(node, swarm_timeout=1.0)
    source.block(root)
    child = os.fork()
    if not child:
        os._exit(0 if b"".join(read_file(root, source.block)) == CONTENT else 1)
    assert b"".join(read_file(root, source.block)) == CONTENT
    assert os.waitpid(child, 0)[1] == 0
