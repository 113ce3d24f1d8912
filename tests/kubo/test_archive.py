from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from kubo_repo import KuboRepo
from pin_rooms import FILES, REPO, make_resolver, write_folder
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
