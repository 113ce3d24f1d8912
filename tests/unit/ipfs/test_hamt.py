from __future__ import annotations

import hashlib
from pathlib import Path

import aleph_cid
import mmh3
import pytest

from ipfs_data import hash_folder, write_folder
from pinformers._errors import PinError
from pinformers.ipfs import CID, parse_node
from pinformers.ipfs.hamt import Child, build_shards

LEAF = CID.raw(hashlib.sha256(b"").digest())


def test_one_name() -> None:
    folder = build_shards([Child(b"name", LEAF, 0)])
    node = parse_node(folder.nodes[0].cid, folder.nodes[0].data)
    slot = mmh3.hash64(b"name", signed=False)[0] >> 56
    assert (node.kind, node.fanout, [link.name for link in node.links]) == ("shard", 256, [f"{slot:02X}name"])


def test_shared_hash_bytes_make_deeper_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {b"a": 0x0102030000000000, b"b": 0x0102040000000000, b"c": 0xFF00000000000000}
    monkeypatch.setattr(mmh3, "hash64", lambda name, **_: (hashes[name], 0))
    folder = build_shards(Child(name, LEAF, 5) for name in hashes)
    nodes = [parse_node(node.cid, node.data) for node in folder.nodes]
    assert [[link.name for link in node.links] for node in nodes] == [["01", "FFc"], ["02"], ["03a", "04b"]]
    assert folder.dag_size == 15 + sum(len(node.data) for node in folder.nodes)
    assert nodes[0].links[0].dag_size == 10 + sum(len(node.data) for node in folder.nodes[1:])


def test_names_with_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmh3, "hash64", lambda name, **_: (7, 0))
    with pytest.raises(PinError, match="'a', 'b': these names share one murmur3 hash"):
        build_shards([Child(b"a", LEAF, 0), Child(b"b", LEAF, 0)])


@pytest.mark.parametrize("count", [1, 300, 3000])
def test_aleph_agrees(tmp_path: Path, count: int) -> None:
    # Its profile differs in chunk size and in how it decides to shard, so: small files, and far from the threshold.
    write_folder(tmp_path, {f"{n}-{'name' * 20}": b"%d" % n for n in range(count)})
    assert str(hash_folder(tmp_path).cid) == aleph_cid.hash_folder(tmp_path)
