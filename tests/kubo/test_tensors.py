"""What is cut at its tensors is a plain UnixFS file to a real daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_rooms import invoke, settle
from kubo_repo import KuboDaemon, KuboRepo
from pin_rooms import REPO, make_resolver, write_folder
from pinformers.ipfs import read_car
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.publishing import publish
from pinformers.sources.kubo import KuboNode
from tensor_files import fine_tuned, layers, safetensors_file

pytestmark = pytest.mark.kubo
Start = Callable[..., KuboDaemon]
WEIGHTS = "model.safetensors"
BASE = layers(6)
# Its tree has two levels, since a node links 1024 blocks.
DEEP = safetensors_file({str(number): number.to_bytes(4, "little") * 4096 for number in range(1100)})
MODEL = {"config.json": b"{}", WEIGHTS: safetensors_file(BASE), "deep.safetensors": DEEP}


@pytest.mark.parametrize("filestore", ["true", "false"])
def test_a_daemon_serves_what_was_pushed_and_explain_says_why_it_has_a_copy(
    start_daemon: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filestore: str
) -> None:
    kubo = start_daemon(Experimental__FilestoreEnabled=filestore)
    home = tmp_path / "kubo" / "home"
    settle(monkeypatch, home, sources="embedded,kubo", kubo_api=kubo.multiaddr, chunking="tensors")
    folder = write_folder(home / "folder", MODEL)
    said = json.loads(invoke("push", str(folder), "--as", REPO, "--json").stdout)
    for path, content in MODEL.items():
        assert kubo.repo.run("cat", f"/ipfs/{said['root']}/{path}") == content
    how = {path: (file["how"], file["why"]) for path, file in said["files"].items()}
    assert how["config.json"][0] == ("nocopy" if filestore == "true" else "copied")
    assert how[WEIGHTS][0] == how["deep.safetensors"][0] == "copied"
    why = "`chunking = tensors`" if filestore == "true" else "its filestore is off"
    assert why in how[WEIGHTS][1]
    assert how[WEIGHTS][1] in invoke("explain", REPO).stdout


def test_a_car_of_it_is_imported_and_exported_by_kubo(
    ipfs: KuboRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    car = tmp_path / "model.car"
    resolver = make_resolver(tmp_path, chunking="tensors")
    pinned = pin_folder(resolver, write_folder(tmp_path / "folder", MODEL), REPO)
    settle(monkeypatch, tmp_path)
    invoke("export", REPO, "-o", str(car))
    ipfs.run("dag", "import", "--pin-roots=false", car)
    for path, content in MODEL.items():
        assert ipfs.run("cat", f"/ipfs/{pinned.pin.root}/{path}") == content
    out = tmp_path / "back.car"
    out.write_bytes(ipfs.run("dag", "export", "--progress=false", pinned.pin.files[WEIGHTS].cid))
    with out.open("rb") as stream:
        roots, blocks = read_car(stream)
        assert [str(cid) for cid in roots] == [pinned.pin.files[WEIGHTS].cid]
        assert sum(len(block.data) for block in blocks) == pinned.pin.files[WEIGHTS].dag_size


def test_of_a_fine_tune_the_daemon_lacks_only_what_changed(start_daemon: Start, tmp_path: Path) -> None:
    """Both ways: what is sent to a daemon that keeps the base, and what it is asked for by who has the base."""
    kubo = start_daemon()
    node = KuboNode(kubo.multiaddr)
    resolver = make_resolver(tmp_path, chunking="tensors")
    base = pin_folder(resolver, write_folder(tmp_path / "base", {WEIGHTS: MODEL[WEIGHTS]}), "org/base").pin
    tuned = safetensors_file(dict(reversed(fine_tuned(BASE).items())), note="trained again")
    pin = pin_folder(resolver, write_folder(tmp_path / "tuned", {WEIGHTS: tuned}), "org/tuned").pin
    publish(resolver.catalog, base, node)
    before = int(kubo.rpc("repo/stat")["RepoSize"])  # type: ignore[call-overload,index]
    publish(resolver.catalog, pin, node)
    assert int(kubo.rpc("repo/stat")["RepoSize"]) - before < 0.15 * len(tuned)  # type: ignore[call-overload,index]
    assert kubo.repo.run("cat", f"/ipfs/{pin.root}/{WEIGHTS}") == tuned

    reader = make_resolver(tmp_path / "reader", sources=("embedded", "gateway"), gateways=(kubo.gateway,))
    for root_cid in (base.root, pin.root):
        repo = reader.refer(f"ipfs://{root_cid}", None)
        assert repo is not None and repo.deliver([WEIGHTS])
    assert repo.cache.file(repo.commit, WEIGHTS).read_bytes() == tuned
