"""``pinformers doctor`` against small servers on loopback; tests/kubo has the real daemon."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bad_gateway import BadGateway
from cluster_stub import cluster_stub
from ipns_data import ed25519_key, record
from pin_rooms import pinned
from pinformers import _cli_checks, _cli_doctor, _metadata
from pinformers._cli_checks import (
    Finding,
    Place,
    check_catalogs,
    check_folders,
    check_lockfile,
    check_settings,
    check_switch,
    check_versions,
    locks_hold,
    places,
)
from pinformers._cli_doctor import check_cluster, check_gateway, check_kubo, run_checks
from pinformers._settings import Settings, load
from pinformers.cli import root
from pinformers.ipfs import CID
from pinformers.pinning.followed import Followed
from pinformers.pinning.lockfile import Lock, write_lock
from pinformers.pinning.pin import Pin
from pinformers.pinning.records import write_json
from pinformers.sources.http import Network

Run = Callable[..., Result]
KEY = ed25519_key(1)
ROOT = str(CID.raw(bytes(32)))
NOW = datetime.now(timezone.utc)
# Nobody listens at the discard port.
NOBODY = "127.0.0.1:9"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "hub", state_dir=tmp_path / "pinformers")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in [*os.environ]:
        if name == "CI" or name.startswith(("PINFORMERS", "IPFS_")):
            monkeypatch.delenv(name)
    for name in ("HOME", "IPFS_PATH", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PINFORMERS_CACHE_DIR", str(tmp_path / "hub"))
    monkeypatch.setenv("PINFORMERS_STATE_DIR", str(tmp_path / "pinformers"))
    monkeypatch.setenv("PINFORMERS_SOURCES", "embedded,gateway,hub")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0, **settings: str) -> Result:
        for name, value in settings.items():
            monkeypatch.setenv(f"PINFORMERS_{name.upper()}", value)
        result = CliRunner().invoke(root, ["doctor", *arguments], prog_name="pinformers")
        assert result.exit_code == code, result.output
        return result

    return run


def changed(settings: Settings, **values: object) -> Settings:
    known = {name: getattr(settings, name) for name in ("cache_dir", "state_dir")}
    return Settings(**{**known, **values})  # type: ignore[arg-type]


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


# -- the command ----------------------------------------------------------------------------------------------


def test_nothing_is_wrong_and_nothing_is_left_behind(cli: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    text = cli().stdout
    assert "wrong  " not in text
    assert text.endswith("Nothing is wrong.\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_one_wrong_thing_exits_with_1_and_hides_no_other(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "pinformers.lock").write_text("no lockfile\n")
    with BadGateway(lambda visit: visit.reply(200)) as gateway:
        findings = json.loads(cli("--json", code=1, gateways=f"{gateway.url},http://{NOBODY}").stdout)
    wrong = [finding["area"] for finding in findings if finding["level"] == "wrong"]
    assert wrong == ["gateways", "lockfile"]
    assert {"versions", "gateways", "hub cache", "records", "locks"} <= {
        finding["area"] for finding in findings if finding["level"] == "ok"
    }


def test_no_password_and_no_token_is_printed(cli: Run) -> None:
    addresses = dict.fromkeys(("gateways", "kubo_api", "cluster_api"), f"http://ada:geheim@{NOBODY}")
    for arguments in ([], ["--json"]):
        text = cli(*arguments, code=1, kubo_token="geheim", **addresses).output
        assert text.count(NOBODY) == 3
        assert "geheim" not in text
    assert "geheim" not in cli(code=1, gateways="ftp://ada:geheim@host", kubo_api="ada:geheim@host/x").output


def test_an_area_that_raises_or_does_not_end_hides_no_other() -> None:
    never, ok = threading.Event(), Finding("third", "ok", "It works.")

    def stuck() -> Iterator[Finding]:
        yield Finding("second", "ok", "It begins.")
        never.wait()

    def broken() -> Iterator[Finding]:
        raise ZeroDivisionError("division by zero")
        yield

    found = run_checks([("first", broken), ("second", stuck), ("third", lambda: [ok])], patience=0.2)
    never.set()
    assert [(one.area, one.level) for one in found] == [
        ("first", "wrong"), ("second", "ok"), ("second", "wrong"), ("third", "ok")
    ]  # fmt: skip
    assert "division by zero (ZeroDivisionError)" in found[0].sentence


def test_without_threads_it_looks_at_one_area_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    ok = Finding("first", "ok", "It works.")
    assert run_checks([("first", lambda: [ok]), ("second", lambda: [ok])], patience=1) == [ok, ok]


# -- settings and the switch ----------------------------------------------------------------------------------


def test_a_variable_that_names_no_setting(tmp_path: Path) -> None:
    given = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PINFORMERS_GATEWAY": "http://x"}
    (finding,) = check_settings(load({"state_dir": tmp_path}, given))
    assert (finding.level, "PINFORMERS_GATEWAY" in finding.sentence) == ("note", True)


def test_a_library_that_asks_the_hub_past_the_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"transformers", "huggingface_hub", "diffusers", "peft"}
    monkeypatch.setattr(_metadata, "version", lambda name: "1.0" if name in here else None)
    *_, finding = check_versions(Settings())
    assert (finding.level, finding.sentence[:38]) == ("note", "What diffusers and peft load past tran")
    assert "`export PINFORMERS_SCOPE=hub`" in finding.sentence
    assert levels(list(check_versions(Settings(scope="hub")))) == levels(list(check_versions())) == ["ok"]
    here -= {"diffusers", "peft"}
    assert levels(list(check_versions(Settings()))) == ["ok"]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "It is off here; `pinformers run COMMAND`"),
        ({"PINFORMERS": "1"}, "It is on, by the environment variable PINFORMERS."),
        ({"PINFORMERS": "1", "CI": "1"}, "CI environment detected"),
        ({"PINFORMERS": "1", "TRANSFORMERS_PATCH_DISABLE": "1"}, "disabled via environment variable"),
    ],
)
def test_the_switch_and_the_gate(environ: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PINFORMERS", "CI", "TRANSFORMERS_PATCH_DISABLE", "STORAGE_FORCE_LOCAL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    findings = list(check_switch())
    assert said in " ".join(finding.sentence for finding in findings)
    assert "wrong" not in levels(findings)


def test_the_versions() -> None:
    import huggingface_hub

    assert f"huggingface_hub {huggingface_hub.__version__}" in next(check_versions()).sentence


# -- the lockfile and catalogs --------------------------------------------------------------------------------


def test_a_lockfile_that_counts(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "some.lock"
    write_lock(path, Lock({("org/model", "main"): Pin("org/model", "c" * 40, {"a": pinned(b"a")})}))
    (finding,) = check_lockfile(changed(settings, lockfile=path))
    assert finding == Finding("lockfile", "ok", f"{path} locks 1 model.")


@pytest.mark.parametrize(("content", "said"), [("nonsense\n", ":1: "), (None, "No such file")])
def test_a_lockfile_that_cannot_be_used(content: str | None, said: str, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "some.lock"
    if content is not None:
        path.write_text(content)
    (finding,) = check_lockfile(changed(settings, lockfile=path))
    assert finding.level == "wrong"
    assert said in finding.sentence
    assert "`pinformers lock" in finding.sentence


def test_locked_without_a_lockfile(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(check_lockfile(settings)) == []
    (finding,) = check_lockfile(changed(settings, locked=True))
    assert (finding.level, "refuses every model" in finding.sentence) == ("wrong", True)


@pytest.mark.parametrize(
    ("validity", "refusal", "level", "said"),
    [
        (timedelta(days=2), "", "ok", "team is followed, its number 4 counts until"),
        (timedelta(days=-2), "", "note", "expired 2 days ago and still counts"),
        (timedelta(days=-20), "", "wrong", "its owner must publish again"),
        (timedelta(days=2), "The catalog team is refused: it went back.", "wrong", "Number 4 counts meanwhile"),
        (None, "The catalog team cannot be renewed now: 404.", "wrong", "No record of team was had yet: The catalog"),
    ],
)
def test_followed_catalogs(
    validity: timedelta | None, refusal: str, level: str, said: str, settings: Settings, tmp_path: Path
) -> None:
    sent = b"" if validity is None else record(KEY, f"/ipfs/{ROOT}", sequence=4, validity=NOW + validity)
    one = Followed(str(KEY.name), "team", 0, sent, ROOT if sent else "", refusal=refusal)
    write_json(tmp_path / "pinformers" / "catalogs" / f"{KEY.name}.json", one.to_json())
    (finding,) = check_catalogs(settings)
    assert finding.level == level
    assert said in finding.sentence
    assert level == "ok" or "`pinformers catalog refresh`" in finding.sentence


def test_a_followed_catalog_that_cannot_be_read(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "pinformers" / "catalogs" / f"{KEY.name}.json"
    write_json(path, {"format": 99})
    (finding,) = check_catalogs(settings)
    assert (finding.level, str(path) in finding.sentence) == ("wrong", True)


# -- folders --------------------------------------------------------------------------------------------------


def test_folders_that_are_there_or_can_be_made(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    findings = list(check_folders(places(settings)))
    assert set(levels(findings)) == {"ok"}
    said = " ".join(finding.sentence for finding in findings)
    assert f"{tmp_path / 'hub'} can be written" in said
    assert f"{tmp_path / 'pinformers'} is not there yet, and can be made" in said
    assert [finding.area for finding in findings].count("locks") == 1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root can write")
def test_a_folder_that_nobody_may_write() -> None:
    finding = next(check_folders([Place("hub cache", Path("/proc/self/hub"), "cache_dir")]))
    assert (finding.area, finding.level) == ("hub cache", "wrong")
    assert "Nothing can be written into /proc/self (" in finding.sentence
    assert "`export PINFORMERS_CACHE_DIR=FOLDER`" in finding.sentence


def test_a_file_in_the_place_of_a_folder(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("a file")
    wrong = [finding for finding in check_folders(places(settings)) if finding.level == "wrong"]
    assert [(finding.area, "is no folder" in finding.sentence) for finding in wrong] == [("hub cache", True)]


def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cli_checks, "LEAST_SPACE", 1 << 80)
    wrong = [finding for finding in check_folders(places(settings)) if finding.level == "wrong"]
    assert {finding.area for finding in wrong} == {"free space"}
    assert "`pinformers gc`" in wrong[0].sentence


def unlockable(path: Path) -> nullcontext[None]:
    raise OSError(37, "No locks available")


@pytest.mark.parametrize(
    ("lock", "said"), [(lambda path: nullcontext(), "Two processes held the same lock"), (unlockable, "No locks")]
)
def test_locks_that_do_not_hold(
    lock: Callable[[Path], nullcontext[None]], said: str, settings: Settings, tmp_path: Path
) -> None:
    finding = locks_hold(places(settings)[1], tmp_path, lock)
    assert (finding.level, said in finding.sentence) == ("wrong", True)
    assert "`export PINFORMERS_STATE_DIR=FOLDER`" in finding.sentence


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_two_file_systems_are_both_tried(tmp_path: Path) -> None:
    other = Place("records", Path("/dev/shm") / "pinformers-that-is-not-there", "state_dir")
    both = Place("hub cache", tmp_path, "cache_dir"), other
    if both[0].there.stat().st_dev == other.there.stat().st_dev:
        pytest.skip("the temporary folder lies there, too")
    areas = [finding.area for finding in check_folders(both)]
    assert areas.count("locks") == areas.count("free space") == 2


# -- gateways and the cluster ---------------------------------------------------------------------------------


def test_a_gateway_that_answers() -> None:
    with BadGateway(lambda visit: visit.reply(200)) as gateway:
        (finding,) = check_gateway(f"{gateway.url}/ipfs/", Network())
        assert gateway.paths == ["/ipfs/bafkqaaa?format=raw"]
    assert finding.level == "ok"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(200, b"<html>", "text/html"), (404, b"", "404"), (401, b"", "wants a user and a password"), (502, b"", "502")],
)
def test_a_gateway_that_is_none(status: int, body: bytes, said: str) -> None:
    with BadGateway(lambda visit: visit.reply(status, body, "text/html")) as gateway:
        (finding,) = check_gateway(gateway.url, Network())
    assert (finding.level, said in finding.sentence) == ("wrong", True)
    assert "`export PINFORMERS_GATEWAYS=URL,URL`" in finding.sentence


def test_a_gateway_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cli_doctor, "WAIT", 0.1)
    with BadGateway(lambda visit: visit.wait_until_left()) as gateway:
        (finding,) = check_gateway(gateway.url, Network())
    assert (finding.level, "stalled" in finding.sentence) == ("wrong", True)


def test_gateways_that_the_sources_do_not_name(cli: Run) -> None:
    text = cli(sources="embedded,hub", gateways=f"http://{NOBODY}").stdout
    assert "The gateways are not used" in text


def test_the_certificates_count_for_the_daemon_and_the_cluster(settings: Settings, tmp_path: Path) -> None:
    url, given = "https://127.0.0.1:9", {"ca_bundle": tmp_path / "none.pem"}
    (cluster,) = check_cluster(changed(settings, cluster_api=url, **given))
    assert cluster.sentence.startswith(f"The IPFS Cluster at {url} cannot be used: the certificates in ")
    (daemon,) = check_kubo(changed(settings, kubo_api=url, **given), "PINFORMERS_KUBO_API")
    for finding in (cluster, daemon):
        assert "none.pem cannot be read" in finding.sentence


def test_a_cluster(settings: Settings) -> None:
    assert list(check_cluster(settings)) == []
    with cluster_stub() as stub:
        (finding,) = check_cluster(changed(settings, cluster_api=stub.url))
        assert finding == Finding("cluster", "ok", f"IPFS Cluster 1.1.6 answers at {stub.url}.")
        stub.raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        (finding,) = check_cluster(changed(settings, cluster_api=stub.url))
        assert (finding.level, "is no IPFS Cluster" in finding.sentence) == ("wrong", True)
    for address in (f"http://{NOBODY}", "nowhere"):
        (finding,) = check_cluster(changed(settings, cluster_api=address))
        assert (finding.level, "`export PINFORMERS_CLUSTER_API=ADDRESS`" in finding.sentence) == ("wrong", True)


# -- Kubo -----------------------------------------------------------------------------------------------------


@contextmanager
def rpc(status: int, body: bytes) -> Iterator[str]:
    """Answer the call for the version, and refuse every other one; yields where."""

    class Rpc(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            version = self.path.startswith("/api/v0/version")
            said = body if version else b'{"Message": "not in this version"}'
            self.send_response(status if version else 500)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Rpc) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_absent_daemon_is_no_fault_unless_something_names_it(settings: Settings) -> None:
    named = changed(settings, kubo_api=f"/ip4/{NOBODY.replace(':', '/tcp/')}")
    (finding,) = check_kubo(named, "PINFORMERS_KUBO_API")
    assert finding.level == "wrong"
    assert "(from PINFORMERS_KUBO_API)" in finding.sentence
    assert "`ipfs daemon`" in finding.sentence
    assert _cli_doctor._absent("there", "refused", needed=False).level == "note"


def test_a_daemon_that_nobody_uses_is_not_asked(settings: Settings) -> None:
    (finding,) = check_kubo(changed(settings, sources=("embedded",)), "default")
    assert (finding.level, "No daemon is used" in finding.sentence) == ("note", True)


def test_a_daemon_that_is_too_old(settings: Settings) -> None:
    with rpc(200, b'{"Version": "0.20.0"}') as url:
        findings = list(check_kubo(changed(settings, kubo_api=url), "keyword"))
    assert levels(findings) == ["ok", "wrong", "note", "note"]
    assert "Kubo 0.20.0 knows no pin names" in findings[1].sentence
    assert "not in this version" in findings[2].sentence


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(200, b"<html>", "is not a Kubo daemon"), (404, b"no", "is not a Kubo daemon"), (403, b"", "kubo_token")],
)
def test_what_is_no_daemon_or_refuses_us(status: int, body: bytes, said: str, settings: Settings) -> None:
    with rpc(status, body) as url:
        (finding,) = check_kubo(changed(settings, kubo_api=url), "keyword")
    assert (finding.level, said in finding.sentence) == ("wrong", True)


def test_an_address_that_is_none(settings: Settings) -> None:
    (finding,) = check_kubo(changed(settings, kubo_api="tcp:5001"), "keyword")
    assert (finding.level, "/ip4/127.0.0.1/tcp/5001" in finding.sentence) == ("wrong", True)


def test_a_setting_that_cannot_be_read_hides_neither_switch_nor_versions(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("on_mis = 'error'\n")
    result = cli("--json", code=1, config=str(tmp_path / "config.toml"))
    found = {line["area"]: line for line in json.loads(result.stdout)}
    assert {"switch", "versions"} < found.keys()
    assert found["settings"]["level"] == "wrong"
    assert "The setting on_mis is '...'" in found["settings"]["sentence"]
