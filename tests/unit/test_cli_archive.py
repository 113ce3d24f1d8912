from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from cli_rooms import invoke, settle
from environment import clean_env
from hub_stub import HubStub
from ipfs_folder import add_folder
from pin_rooms import FILES, REPO, fill_cache, write_folder
from pinformers.ipfs import CID, V0_2015, Block, read_car, write_car

Machine = Callable[..., Result]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Run the command on the machine whose home is a folder of that name."""
    settle(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(home: str, *arguments: str, code: int = 0, stdin: bytes | None = None) -> Result:
        environ = {"PINFORMERS_CACHE_DIR": f"{tmp_path}/{home}/hub", "PINFORMERS_STATE_DIR": f"{tmp_path}/{home}/state"}
        return invoke(*arguments, code=code, env=environ, stdin=stdin)

    return run


@pytest.fixture
def sent(machine: Machine, tmp_path: Path) -> bytes:
    """What machine ``a`` exported to model.car."""
    machine("a", "pin", str(write_folder(tmp_path / "folder")), "--as", REPO, "--revision", "v1")
    machine("a", "export", REPO, "--revision", "v1", "-o", "model.car")
    return (tmp_path / "model.car").read_bytes()


def files(tmp_path: Path, home: str) -> dict[str, bytes]:
    """The model files that a machine has by now."""
    snapshots = tmp_path / home / "hub" / "models--org--model" / "snapshots"
    return {
        path.relative_to(snapshots).as_posix(): path.read_bytes() for path in snapshots.rglob("*") if path.is_file()
    }


def one_sentence(result: Result) -> str:
    assert result.stdout == ""
    assert result.stderr.startswith("pinformers: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_model_goes_over_in_a_file(machine: Machine, sent: bytes, tmp_path: Path) -> None:
    text = machine("b", "import", "model.car", "--revision", "v1").stdout
    (line,) = json.loads(machine("b", "ls", "--json").stdout)
    assert (line["model"], line["revisions"]) == (REPO, ["v1"])
    assert line["root"] in text and "every block verified" in text
    assert "\nfiles     4\n" in text
    assert files(tmp_path, "a") == files(tmp_path, "b")
    machine("b", "verify")


def test_a_model_goes_over_in_a_pipe(machine: Machine, sent: bytes, tmp_path: Path) -> None:
    result = machine("a", "export", REPO, "--revision", "v1", "-o", "-")
    assert result.stdout_bytes == sent
    assert "4 files, " in result.stderr and " to stdout\n" in result.stderr
    said = json.loads(machine("b", "import", "-", "--json", stdin=sent).stdout)
    assert (said["model"], said["how"], said["foreign"], said["archive_root"]) == (
        REPO,
        "imported",
        False,
        said["root"],
    )
    assert files(tmp_path, "a") == files(tmp_path, "b")


def test_an_export_in_json(machine: Machine, sent: bytes, tmp_path: Path) -> None:
    arguments = ["export", REPO, "--revision", "v1", "--json", "-o"]
    said = json.loads(machine("a", *arguments, "again.car").stdout)
    (line,) = json.loads(machine("a", "ls", "--json").stdout)
    assert {key: said[key] for key in ("model", "commit", "root", "files")} == {
        key: line[key] for key in ("model", "commit", "root", "files")
    }
    assert (said["bytes"], said["output"], said["complete"]) == (len(sent), "again.car", True)
    assert (tmp_path / "again.car").read_bytes() == sent
    assert "--json goes to stdout" in machine("a", *arguments, "-", code=2).stderr


def test_a_terminal_is_no_place_for_a_car(machine: Machine, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    # The runner has streams of its own, which are no terminals.
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    assert "terminal" in one_sentence(machine("a", "export", REPO, "--revision", "v1", "-o", "-", code=1))
    assert "terminal" in one_sentence(machine("b", "import", "-", code=1))


def test_a_partial_pin_is_exported_as_it_is(machine: Machine, hub: HubStub, tmp_path: Path) -> None:
    fill_cache(hub, tmp_path / "a" / "hub", paths=["config.json", "model.safetensors"])
    machine("a", "pin", REPO, "--include", "config.json", "--include", "*.safetensors")
    assert "only the 2 files that are pinned" in machine("a", "export", REPO, "-o", "model.car").stdout
    assert "only the 2 files that are pinned" in machine("b", "import", "model.car").stdout
    assert sorted(path.partition("/")[2] for path in files(tmp_path, "b")) == ["config.json", "model.safetensors"]


def test_a_failed_export_leaves_the_old_file_and_no_other(machine: Machine, sent: bytes, tmp_path: Path) -> None:
    weights = next((tmp_path / "a").rglob("snapshots/*/model.safetensors")).resolve()
    weights.write_bytes(FILES["model.safetensors"][:-1] + b"?")
    before = sorted(path.name for path in tmp_path.iterdir())
    arguments = ["export", REPO, "--revision", "v1", "-o", "model.car"]
    assert "model.safetensors" in one_sentence(machine("a", *arguments, code=1))
    assert (tmp_path / "model.car").read_bytes() == sent
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "org/other", "-o", "x.car"], "org/other: it is not pinned"),
        (["export", REPO, "--revision", "v2", "-o", "x.car"], "org/model@v2: it is not pinned"),
        (["export", REPO, "--revision", "v1", "-o", "nosuch/x.car"], "make it first"),
        (["export", REPO, "--revision", "v1", "-o", "a"], "it is a folder"),
        (["import", "nosuch.car"], "nosuch.car: No such file"),
        (["import", "a"], "Is a directory"),
        (["import", "folder/config.json"], "folder/config.json: this is not a readable CAR file"),
        (["import", "model.car", "--as", "org/other"], "without --as"),
        (["import", "model.car", "--revision", ".."], "a revision is"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(machine: Machine, sent: bytes, arguments: list[str], said: str) -> None:
    assert said in one_sentence(machine("a", *arguments, code=1))


def test_a_folder_of_others_wants_a_name_and_says_that_its_root_differs(machine: Machine, tmp_path: Path) -> None:
    blocks: dict[CID, bytes] = {}
    top = add_folder(write_folder(tmp_path / "folder"), blocks, V0_2015)
    with open(tmp_path / "kubo.car", "wb") as out:
        write_car(out, [top], [Block(cid, block) for cid, block in blocks.items()])
    assert "--as org/model" in one_sentence(machine("a", "import", "kubo.car", code=1))
    text = machine("a", "import", "kubo.car", "--as", REPO).stdout
    assert f"The CAR's root CID is {top}." in text
    machine("b", "pin", str(tmp_path / "folder"), "--as", REPO)
    assert files(tmp_path, "a") == files(tmp_path, "b")


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
@pytest.mark.parametrize("limit", [1000, 500_000, 2_000_000])
@pytest.mark.parametrize("piped", [False, True])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(sent: bytes, tmp_path: Path, limit: int, piped: bool) -> None:
    run = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit},) * 2); from pinformers.cli import main"
    environ = clean_env(tmp_path) | {
        "PINFORMERS_CACHE_DIR": str(tmp_path / "b" / "hub"),
        "PINFORMERS_STATE_DIR": str(tmp_path / "b" / "state"),
    }
    # -B: under the limit Python leaves half a .pyc behind, and takes it for whole the next time.
    command = [sys.executable, "-B", "-c", f"{run}; main()", "import", "-" if piped else str(tmp_path / "model.car")]
    given = sent if piped else None
    done = subprocess.run(command, env=environ, input=given, capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.count(b"\n") == 1 and b"too large" in done.stderr.lower()
    assert done.stderr.startswith(f"pinformers: {tmp_path}/b/".encode())
    left = (path for path in (tmp_path / "b").rglob("*") if not path.is_dir() and path.suffix != ".lock")
    assert list(left) == []


def test_the_record_is_what_anybody_can_read(sent: bytes, tmp_path: Path) -> None:
    roots, blocks = read_car(io.BytesIO(sent))
    *_, record = blocks
    assert record.cid == roots[1]
    value = json.loads(record.data)
    assert (value["root"], value["repo"], sorted(value["files"])) == (str(roots[0]), REPO, sorted(FILES))
    assert "learned" not in value and str(tmp_path) not in record.data.decode()


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_nothing_of_an_export(sent: bytes, tmp_path: Path, name: str) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    code = f"""
import os, signal
from pinformers import _cli_archive, cli
def export_model(catalog, pinned, out, progress):
    out.write(b"half")
    out.flush()
    os.kill(os.getpid(), signal.{name})
_cli_archive.export_model = export_model
cli.main()
"""
    command = [sys.executable, "-c", code, "export", REPO, "--revision", "v1", "-o", str(tmp_path / "model.car")]
    homes = {"PINFORMERS_CACHE_DIR": f"{tmp_path}/a/hub", "PINFORMERS_STATE_DIR": f"{tmp_path}/a/state"}
    done = subprocess.run(command, env=clean_env(tmp_path, **homes), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + getattr(signal, name), "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "model.car").read_bytes() == sent


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="needs names of open files")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_nothing_stands_behind_a_car_in_its_pipe(sent: bytes, tmp_path: Path, name: str) -> None:
    homes = {"PINFORMERS_CACHE_DIR": f"{tmp_path}/a/hub", "PINFORMERS_STATE_DIR": f"{tmp_path}/a/state"}
    command = [sys.executable, "-m", "pinformers", "export", REPO, "--revision", "v1", "-o", name]
    done = subprocess.run(command, env=clean_env(tmp_path, **homes), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, sent)
    assert b"root CID" in done.stderr
