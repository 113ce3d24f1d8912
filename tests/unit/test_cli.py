from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bad_gateway import BadGateway, honest
from cli_rooms import invoke, settle
from environment import clean_env
from ipfs_data import MemoryStore
from pin_rooms import FILES, PIN, REPO, write_folder
from pinformers import __version__, _autostart
from pinformers._cli_output import on_terminal
from pinformers._cli_upkeep import _consents
from pinformers.ipfs import CID
from pinformers.pinning.catalog import Catalog

Run = Callable[..., Result]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs exec and signals")
CLI = [sys.executable, "-m", "pinformers"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    settle(monkeypatch, tmp_path)
    return invoke


@pytest.fixture
def model(cli: Run, tmp_path: Path) -> str:
    """A pinned model."""
    cli("pin", str(write_folder(tmp_path / "folder")), "--as", REPO)
    return REPO


def printed(result: Result) -> object:
    """What a command printed, which must be one JSON document and nothing else."""
    return json.loads(result.stdout)


# -- the grammar ----------------------------------------------------------------------------------------------


def test_help_names_the_commands_and_the_exit_codes(cli: Run) -> None:
    text = cli("--help").stdout
    commands = "run status config pin ls explain verify rm gc flush activate deactivate selftest"
    assert all(f"\n  {command} " in text for command in commands.split())
    assert "Exit codes:" in text
    assert "..." not in text.replace("[ARGS]...", "")
    for command in commands.split():
        assert cli(command, "--help").stdout.startswith(f"Usage: pinformers {command} ")


def test_version(cli: Run) -> None:
    assert cli("--version").stdout == f"pinformers {__version__}\n"


def test_help_imports_neither_tables_nor_the_pin_wing(tmp_path: Path) -> None:
    heavy = "('rich', 'huggingface_hub', 'filelock', 'platformdirs', 'pinformers.pinning', 'pinformers._composition')"
    code = f"import sys, pinformers.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], env=clean_env(tmp_path), text=True) == "[]\n"


@pytest.mark.parametrize("arguments", [["nosuch"], ["pin"], ["ls", "--nosuch"], ["explain"], ["run"]])
def test_a_usage_error_exits_with_2(cli: Run, arguments: list[str]) -> None:
    assert "Usage: pinformers" in cli(*arguments, code=2).stderr


@pytest.mark.parametrize("command", ["ls", "config", "verify", "gc", "flush"])
def test_a_wrong_setting_is_one_sentence_and_exits_with_2(
    cli: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINFORMERS_ON_MISS", "perhaps")
    result = cli(command, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("pinformers: The setting on_miss is 'perhaps' (from PINFORMERS_ON_MISS)")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["verify", "a/b"], ["rm", "a/b"], ["pin", "a/b"], ["pin", "nofolder", "--as", "a/b"]]
)
def test_what_is_not_there_is_one_sentence_and_exits_with_1(cli: Run, arguments: list[str]) -> None:
    result = cli(*arguments, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("pinformers: ")
    assert result.stderr.count("\n") == 1


def test_an_os_error_is_one_sentence(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PINFORMERS_STATE_DIR", str(tmp_path / "file" / "below"))
    result = cli("pin", str(write_folder(tmp_path / "folder")), "--as", REPO, code=1)
    assert result.stderr.count("\n") == 1
    assert str(tmp_path / "file") in result.stderr


def test_a_folder_that_may_not_be_written_is_the_doctor_s(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("pinformers.pinning.catalog.write_json", denied)
    result = cli("pin", str(write_folder(tmp_path / "folder")), "--as", REPO, code=1)
    assert result.stderr.endswith("Permission denied. `pinformers doctor` says what can be done.\n")


def test_a_file_is_no_model(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    result = cli("pin", str(tmp_path / "config.json"), "--as", REPO, code=1)
    assert "it is a file; give a model's folder" in result.stderr


def test_status_says_which_variables_name_no_setting(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFORMERS_SOURCE", "kubo")
    for options in ((), ("--json",)):
        assert "The variable PINFORMERS_SOURCE names no setting" in cli("status", *options).stderr


@pytest.mark.parametrize("command", ["rm", "verify", "export", "push", "pin"])
def test_a_name_by_content_that_is_not_here(cli: Run, command: str, tmp_path: Path) -> None:
    name = f"ipfs://{CID.raw(bytes(32))}"
    said = "no source delivers it" if command in ("push", "pin") else "it is not pinned"
    more = ["-o", str(tmp_path / "x.car")] if command == "export" else []
    assert cli(command, name, *more, code=1).stderr.startswith(f"pinformers: {name}: {said}")


# -- pins -----------------------------------------------------------------------------------------------------


def test_pin_a_folder_and_list_it(cli: Run, model: str) -> None:
    text = cli("ls").stdout
    (line,) = printed(cli("ls", "--json"))  # type: ignore[misc]
    assert line["model"] == REPO
    assert line["files"] == len(FILES)
    assert line["bytes"] == sum(map(len, FILES.values()))
    assert line["root"] in text
    assert "2.3 MB" in text


def test_pin_prints_json(cli: Run, tmp_path: Path) -> None:
    said = printed(cli("pin", str(write_folder(tmp_path / "folder")), "--as", REPO, "--revision", "v1", "--json"))
    assert isinstance(said, dict)
    assert said["how"] == "copied"
    assert said["revisions"] == ["v1"]


def test_pin_brings_all_that_a_cid_holds(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    name = f"ipfs://{store.add_folder(dict(FILES)).cid}"
    monkeypatch.setenv("PINFORMERS_SOURCES", "embedded,gateway")
    with BadGateway(honest, store) as gateway:
        monkeypatch.setenv("PINFORMERS_GATEWAYS", gateway.url)
        said = printed(cli("pin", name, "--json"))
        assert isinstance(said, dict)
        assert (said["model"], said["how"], said["files"]) == (name.replace("://", "/"), "fetched", len(FILES))
        (snapshot,) = (tmp_path / "hub").glob("models--ipfs--*/snapshots/*")
        assert {path: (snapshot / path).read_bytes() for path in FILES} == FILES
        alone = f"ipfs://{store.add_file(b'GGUF').cid}"
        assert "it is one file without a name" in cli("pin", alone, code=1).stderr
    assert "adopted from the hub cache, without a request" in cli("pin", name).stdout
    assert "all as pinned" in cli("verify", name).stdout
    assert "are for hub names" in cli("pin", name, "--update", code=2).stderr
    cli("rm", name)
    assert not snapshot.exists()


def test_pin_tells_a_folder_from_a_name(cli: Run, tmp_path: Path) -> None:
    assert "--as org/model" in cli("pin", str(write_folder(tmp_path / "folder")), code=2).stderr
    assert "hub names" in cli("pin", str(tmp_path), "--as", REPO, "--include", "x", code=2).stderr


def test_an_empty_catalog_says_what_to_do(cli: Run) -> None:
    assert "pinformers pin MODEL" in cli("ls").stdout
    assert printed(cli("ls", "--json")) == []


def test_explain_names_every_file_with_its_cid(cli: Run, model: str) -> None:
    said = printed(cli("explain", model, "--json"))
    assert isinstance(said, dict)
    assert said["pinned"] is True
    text = cli("explain", model).stdout
    lines = text.splitlines()
    for file in said["files"]:
        (line,) = [line for line in lines if line.startswith(file["path"] + " ")]
        assert file["cid"] in line
        assert "hub cache" in line
    assert all(line == line.rstrip() for line in lines)


def test_explain_answers_for_a_model_that_is_not_pinned(cli: Run) -> None:
    said = printed(cli("explain", "a/b", "--json"))
    assert isinstance(said, dict)
    assert said["pinned"] is False
    assert said["why"] in cli("explain", "a/b").stdout


def test_verify_names_the_bad_file_and_repairs_on_request(cli: Run, model: str, tmp_path: Path) -> None:
    assert "all as pinned" in cli("verify").stdout
    (config,) = (tmp_path / "hub").glob("models--org--model/snapshots/*/config.json")
    config.resolve().write_bytes(b"{}")
    result = cli("verify", model, code=1)
    assert f"bad: {model}/config.json" in result.stdout
    assert str(config) in result.stdout
    assert "--repair" in result.stderr
    states = {file["path"]: file["state"] for file in printed(cli("verify", "--json", code=1))}  # type: ignore[attr-defined]
    assert states.pop("config.json") == "bad"
    assert set(states.values()) == {"good"}
    assert "not repaired" in cli("verify", "--repair", code=1).stdout
    cli("pin", str(tmp_path / "folder"), "--as", REPO)
    assert "all as pinned" in cli("verify").stdout


def test_verify_repairs_from_a_source(cli: Run, model: str, tmp_path: Path) -> None:
    (config,) = (tmp_path / "hub").glob("models--org--model/snapshots/*/config.json")
    # The blob stays, so the store of this machine still has it.
    config.unlink()
    assert "missing: " in cli("verify", code=1).stdout
    repaired = [file for file in printed(cli("verify", "--repair", "--json")) if file["repaired_from"]]  # type: ignore[attr-defined]
    assert [file["path"] for file in repaired] == ["config.json"]
    assert config.read_bytes() == FILES["config.json"]


def test_rm_forgets_and_says_what_stays(cli: Run, model: str, tmp_path: Path) -> None:
    (config,) = (tmp_path / "hub").glob("models--org--model/snapshots/*/config.json")
    config.resolve().write_bytes(b"somebody's")
    text = cli("rm", model).stdout
    assert "is not pinned any more: 2.3 MB freed." in text
    assert "files stay: somebody changed them since we brought them\n" in text
    assert config.read_bytes() == b"somebody's"
    assert printed(cli("ls", "--json")) == []


def test_rm_of_one_revision_leaves_the_others(cli: Run, model: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "other", {"config.json": b"{}"})
    cli("pin", str(tmp_path / "other"), "--as", REPO, "--revision", "v2")
    (gone,) = printed(cli("rm", model, "--revision", "v2", "--json"))  # type: ignore[misc]
    assert gone["kept"] == []
    (left,) = printed(cli("ls", "--json"))  # type: ignore[misc]
    assert left["revisions"] == ["main"]
    cli("rm", model, "--revision", "v2", code=1)


def test_gc_says_what_it_would_do_and_does_it(cli: Run, model: str, tmp_path: Path) -> None:
    left = tmp_path / "hub" / "models--org--model" / "blobs" / "x.01234567.pinformers.incomplete"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    assert "Would remove 1 thing, 4 B." in cli("gc", "--dry-run").stdout
    assert left.exists()
    (found,) = printed(cli("gc", "--json"))  # type: ignore[misc]
    assert found["path"] == str(left)
    assert found["removed"] is True
    assert not left.exists()
    assert cli("gc").stdout == "Nothing to collect.\n"


def test_flush_with_nothing_to_do(cli: Run) -> None:
    assert printed(cli("flush", "--json")) == {"done": True, "left": []}


# -- status, config, the switch -------------------------------------------------------------------------------


def test_config_says_where_each_value_came_from(cli: Run, tmp_path: Path) -> None:
    said = printed(cli("config", "--json"))
    assert isinstance(said, dict)
    assert said["cache_dir"] == {"value": str(tmp_path / "hub"), "from": "PINFORMERS_CACHE_DIR"}
    assert said["on_miss"] == {"value": "import", "from": "default"}
    assert "PINFORMERS_CACHE_DIR" in cli("config").stdout


def test_config_prints_no_secret(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFORMERS_KUBO_TOKEN", "hunter2")
    monkeypatch.setenv("PINFORMERS_GATEWAYS", "http://ada:hunter2@example.org, http://b")
    monkeypatch.setenv("PINFORMERS_CLUSTER_API", "http://ada:p@hunter2@example.org:9094")
    for said in (cli("config").stdout, cli("config", "--json").stdout):
        assert "hunter2" not in said and "example.org:9094" in said
    for typo in ("ada:hunter2@b:80", "http://ada:p/hunter2@b", "http://b/?token=hunter2", "http://b/#hunter2"):
        monkeypatch.setenv("PINFORMERS_GATEWAYS", typo)
        assert "hunter2" not in cli("config").stdout


@POSIX
def test_a_folder_whose_name_is_no_text_is_printed(tmp_path: Path) -> None:
    env = clean_env(tmp_path, PINFORMERS_CACHE_DIR="/tmp/b\udcff", PYTHONIOENCODING="utf-8:strict")
    done = subprocess.run([*CLI, "config", "--json"], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["cache_dir"]["value"] == "/tmp/b\udcff"


def test_status_says_what_is_on_and_what_is_pinned(
    cli: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    said = printed(cli("status", "--json"))
    assert isinstance(said, dict)
    assert said["pins"] == 1
    assert said["should_patch"] is False
    assert "closed: CI environment detected" in cli("status").stdout


def test_activate_and_deactivate(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "marker"
    monkeypatch.setattr(_autostart, "marker", lambda: str(marker))
    before = os.umask(0o77)
    try:
        assert str(marker) in cli("activate").stdout
    finally:
        os.umask(before)
    assert stat.S_IMODE(marker.stat().st_mode) == 0o644
    assert _autostart.wanted() == "marker"
    cli("deactivate")
    cli("deactivate")
    assert not marker.exists()
    for command, state in (("activate", "on"), ("deactivate", "off")):
        said = printed(cli(command, "--json"))
        assert said == {"state": state, "environment": sys.prefix, "marker": str(marker)}
        assert marker.exists() == (state == "on")


def test_where_no_start_up_line_is_read_nothing_is_activated(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_autostart, "marker", lambda: None)
    result = cli("activate", code=1)
    assert "is not installed there" in result.stderr
    assert result.stderr.count("\n") == 1
    assert printed(cli("deactivate", "--json"))["marker"] is None


def test_an_environment_that_cannot_be_written_is_one_sentence(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_autostart, "marker", lambda: str(tmp_path / "none" / "marker"))
    result = cli("activate", code=1)
    assert "it cannot be written" in result.stderr
    assert result.stderr.count("\n") == 1


def test_selftest_without_transformers_is_one_sentence(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinformers._cli_selftest.find_spec", lambda _: None)
    result = cli("selftest", code=1)
    assert result.stdout == ""
    assert "needs transformers" in result.stderr


# -- run: real processes --------------------------------------------------------------------------------------

SHOW = """import json, os, sys
print(json.dumps([sys.argv[1:], {k: v for k, v in os.environ.items() if 'PINF' in k and 'KUBO' not in k}]))"""


def launch(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, "run", *arguments], env=clean_env(home, **extra), capture_output=True, text=True)


def test_run_passes_options_and_arguments_on(tmp_path: Path) -> None:
    done = launch(
        tmp_path, "--cache-dir", str(tmp_path / "c"), "--on-miss", "error", sys.executable, "-c", SHOW, "--force"
    )
    arguments, environ = json.loads(done.stdout)
    assert arguments == ["--force"]
    assert environ == {
        "PINFORMERS": "1",
        "PINFORMERS_CACHE_DIR": str(tmp_path / "c"),
        "PINFORMERS_ON_MISS": "error",
    }
    assert done.stderr == ""


def test_run_force(tmp_path: Path) -> None:
    assert json.loads(launch(tmp_path, "--force", sys.executable, "-c", SHOW).stdout)[1] == {"PINFORMERS": "force"}


def test_run_keeps_python_m_and_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import sys; print(__spec__.name, sys.argv[1:]); sys.exit(7)")
    done = launch(tmp_path, sys.executable, "-m", "job", "--flag", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (7, "job ['--flag']\n")


@POSIX
def test_run_becomes_the_command_so_that_signals_reach_it(tmp_path: Path) -> None:
    code = "import os, signal, sys, time; print(os.getpid(), flush=True); time.sleep(60)"
    command = [*CLI, "run", sys.executable, "-c", code]
    with subprocess.Popen(command, env=clean_env(tmp_path), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


@POSIX
def test_run_gives_the_command_the_signals_of_a_shell(tmp_path: Path) -> None:
    done = launch(tmp_path, "sh", "-c", "grep SigIgn /proc/self/status || echo SigIgn: 0")
    ignored = int(done.stdout.split()[-1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))


@POSIX
def test_run_leaves_the_signals_as_they_were_where_nothing_can_be_run(cli: Run) -> None:
    numbers = (signal.SIGPIPE, signal.SIGXFSZ)
    before = [signal.getsignal(number) for number in numbers]
    cli("run", "no-such-command", code=127)
    assert [signal.getsignal(number) for number in numbers] == before


@POSIX
@pytest.mark.parametrize(
    ("name", "code"),
    [("no-such-command", 127), ("./not-executable", 126), ("./folder", 126), ("worker.py", 127), ("./worker.py", 126)],
)
def test_run_of_what_cannot_be_run_is_one_sentence(tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "not-executable").write_text("x")
    (tmp_path / "worker.py").write_text("print('ran')")
    (tmp_path / "folder").mkdir()
    env = clean_env(tmp_path, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([*CLI, "run", name], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"pinformers run: {name}: ")
    assert done.stderr.count("\n") == 1
    assert (f"`pinformers run python {name}`" in done.stderr) == name.endswith(".py")


def test_run_with_a_wrong_setting_runs_nothing(tmp_path: Path) -> None:
    done = launch(tmp_path, "--on-miss", "perhaps", sys.executable, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The setting on_miss is 'perhaps'" in done.stderr


def test_rm_of_one_of_two_names_forgets_the_name_only(cli: Run, model: str, tmp_path: Path) -> None:
    cli("pin", str(tmp_path / "folder"), "--as", model, "--revision", "v1.0")
    assert "stays pinned as main" in cli("rm", model, "--revision", "v1.0").stdout
    assert [line["revisions"] for line in printed(cli("ls", "--json"))] == [["main"]]  # type: ignore[attr-defined]
    assert "all as pinned" in cli("verify").stdout
    assert "freed" in cli("rm", model, "--revision", "main").stdout


def test_rm_of_a_name_of_a_data_set_leaves_the_model_of_that_name_alone(cli: Run, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "pinformers")
    for repo_type in ("model", "dataset"):
        pin = catalog.add(PIN._replace(repo_type=repo_type))
        for revision in ("main", "v1"):
            catalog.set_ref(pin.repo, revision, pin.commit, repo_type)
    said = cli("rm", f"datasets/{REPO}", "--revision", "v1").stdout
    assert said == f"datasets/{REPO}@v1 is forgotten; its commit stays pinned as main.\n"
    assert sorted(catalog.refs(REPO, "dataset")) == ["main"]
    assert sorted(catalog.refs(REPO)) == ["main", "v1"]
    # Its last name goes with the pin, whatever the model's are.
    assert "not pinned any more" in cli("rm", f"datasets/{REPO}", "--revision", "main").stdout
    assert catalog.pin(REPO, PIN.commit) == PIN


# -- bad ends -------------------------------------------------------------------------------------------------


def test_a_killed_pin_of_a_folder_is_not_well(cli: Run, model: str, tmp_path: Path) -> None:
    for place in (tmp_path / "pinformers" / "places").rglob("*.json"):
        place.unlink()
    shutil.rmtree(tmp_path / "hub")
    result = cli("verify", code=1)
    assert result.stdout.count("missing: ") == len(FILES)
    assert "pin the folder it came from again" in result.stdout
    cli("pin", str(tmp_path / "folder"), "--as", REPO)
    assert "all as pinned" in cli("verify").stdout


def test_verify_finishes_where_its_records_cannot_be_written(
    cli: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    for path in (tmp_path / "hub").rglob("blobs/*"):
        os.utime(path, (1, 1))
    monkeypatch.setattr("pinformers.pinning.catalog.write_json", read_only)
    monkeypatch.setattr("pinformers.pinning.catalog.append", read_only)
    result = cli("verify")
    assert "all as pinned" in result.stdout
    assert result.stderr.count("cannot be written") == 1


def test_a_terminal_that_was_closed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not on_terminal(None)
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert not _consents([])


@POSIX
def test_closed_streams_are_no_trouble(tmp_path: Path) -> None:
    folder = str(write_folder(tmp_path / "folder"))
    for arguments in (["pin", folder, "--as", REPO], ["verify"], ["flush"]):
        closed = ["sh", "-c", '"$@" <&- 2>&-', "sh", *CLI, *arguments]
        done = subprocess.run(closed, env=clean_env(tmp_path), stdout=subprocess.PIPE, text=True)
        assert (done.returncode, "Traceback" in done.stdout) == (0, False)
    for stream, arguments in (("<&-", ["import", "-"]), (">&-", ["export", REPO, "-o", "-"])):
        closed = ["sh", "-c", f'"$@" {stream}', "sh", *CLI, *arguments]
        done = subprocess.run(closed, env=clean_env(tmp_path), capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "is closed" in done.stderr


def test_ctrl_c_is_one_word(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("pinformers._cli_pins.list_pins", interrupted)
    result = cli("ls", code=130)
    assert (result.stdout, result.stderr) == ("", "Interrupted.\n")


@POSIX
def test_ctrl_c_ends_a_real_process_so(tmp_path: Path) -> None:
    code = "import os, signal; from pinformers import _cli_pins, cli; "
    code += "_cli_pins.list_pins = lambda **_: os.kill(os.getpid(), signal.SIGINT); cli.main()"
    ls = [sys.executable, "-c", code, "ls"]
    done = subprocess.run(ls, env=clean_env(tmp_path), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


@POSIX
def test_ctrl_c_in_the_first_import_ends_it_so(tmp_path: Path) -> None:
    code = """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
from pinformers.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "ls"], env=clean_env(tmp_path), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")
    scripts = re.findall(r'^pinformers = "(.*)"$', (Path(__file__).parents[2] / "pyproject.toml").read_text(), re.M)
    assert scripts == ["pinformers.__main__:main"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ls", "--help"], ["ls"], ["ls", "--json"]])
def test_a_full_disk_under_the_output_is_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*CLI, *arguments], env=clean_env(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "pinformers: the output: No space left on device.\n")
