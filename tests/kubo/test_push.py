from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_rooms import invoke, settle
from kubo_repo import KuboDaemon
from pin_rooms import FILES, REPO, write_folder

pytestmark = pytest.mark.kubo
Start = Callable[..., KuboDaemon]
MODEL = {**FILES, "big.bin": random.Random(6).randbytes((2 << 20) + 7)}


@pytest.mark.parametrize("filestore", ["true", "false"])
def test_a_folder_is_pushed_where_nothing_is_published_by_itself_and_taken_back(
    start_daemon: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filestore: str
) -> None:
    kubo = start_daemon(Experimental__FilestoreEnabled=filestore)
    home = tmp_path / "kubo" / "home"
    settle(monkeypatch, home, sources="embedded,kubo", kubo_api=kubo.multiaddr, publish="never")
    folder = write_folder(home / "folder", MODEL)

    def push(*arguments: str) -> str:
        result = invoke("push", *arguments)
        assert result.stderr == ""
        return result.stdout

    said = json.loads(push(str(folder), "--as", REPO, "--json"))
    assert (said["published"], said["daemon"]) == (True, kubo.api)
    how = {path: file["how"] for path, file in said["files"].items()}
    assert set(how) == set(MODEL)
    assert how["big.bin"] == ("nocopy" if filestore == "true" else "copied")
    kubo.repo.run("get", f"/ipfs/{said['root']}", "-o", tmp_path / "out", "--progress=false")
    out = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in out} == MODEL
    assert f'AutoModel.from_pretrained("ipfs://{said["root"]}")' in push(REPO)

    def rm() -> list[dict[str, object]]:
        result = invoke("rm", REPO, "--json")
        return [*json.loads(result.stdout), result.stderr]

    (gone, silent) = rm()
    assert gone["unpublished"] and not silent
    assert said["root"] not in kubo.repo.run("pin", "ls", "--type=recursive").decode()
    # Of a daemon that does not answer, one line says what to do.
    push(str(folder), "--as", REPO)
    monkeypatch.setenv("PINFORMERS_KUBO_API", "/ip4/127.0.0.1/tcp/9")
    (gone, line) = rm()
    assert not gone["unpublished"]
    assert f"`ipfs pin rm {said['root']}` frees it" in line
