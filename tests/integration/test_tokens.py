"""Private and gated models: where a token goes, and who loads what the hub gives only to some."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_serve import serve
from test_workers_pinned import offline

from environment import clean_env
from hub_stub import Answer, HubStub

FAMILY = "bert"
REPO = f"tiny/{FAMILY}"
TOKEN = "hf_SeCrEtOfTheUser"
ARGUMENT = "hf_SeCrEtArgument"
pytestmark = pytest.mark.torch

# Without torch, which is most of what a process costs; the files are found in the same way.
WORKER = """
import hashlib, json, sys
from transformers import AutoConfig, AutoTokenizer
from transformers.utils.hub import cached_file

options = {"token": sys.argv[1]} if len(sys.argv) > 1 else {}
try:
    config = AutoConfig.from_pretrained("tiny/bert", **options)
    ids = AutoTokenizer.from_pretrained("tiny/bert", **options)("the quick fox")["input_ids"]
    with open(cached_file("tiny/bert", "model.safetensors", **options), "rb") as weights:
        print(json.dumps([config.model_type, ids, hashlib.sha256(weights.read()).hexdigest()]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""

COMMANDS = """
import sys
from pinformers.cli import root

for command in sys.argv[1:]:
    try:
        root.main(command.split(), standalone_mode=False)
    except Exception as error:
        print(error)
"""
EVERYTHING = (
    *("flush", "status --json", f"explain {REPO} --json", "config --json", "doctor --json", "ls", "catalog publish"),
    *(f"push {REPO}", f"pin {REPO} --update", f"lock {REPO}", f"export {REPO} -o model.car"),
)


class ListeningHub(HubStub):
    """A hub that keeps the tokens that it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: set[str] = set()

    def answer(self, method: str, url: str, headers: Mapping[str, str]) -> Answer:
        self.tokens.add((headers.get("Authorization") or "").removeprefix("Bearer "))
        return super().answer(method, url, headers)


@pytest.fixture
def hub() -> Iterator[ListeningHub]:
    with ListeningHub() as stub:
        yield stub


@pytest.fixture
def eavesdropper() -> Iterator[tuple[str, list[str]]]:
    """Anybody else on the network: its URL, and all that it was sent."""
    heard: list[str] = []

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            heard.append(f"{self.command} {self.path}\n{self.headers}\n{body!r}")
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            """Say nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Ear) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", heard
        server.shutdown()
        thread.join()


def run(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    Path(env["HOME"]).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=dict(env), cwd=env["HOME"], capture_output=True, text=True, timeout=120)


def load(env: Mapping[str, str], *token: str) -> list[object]:
    done = run(env, "-c", WORKER, *token)
    assert done.returncode == 0, done.stderr
    answer: list[object] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def loaded(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """What plain transformers loads of the model where everybody may have it."""
    with HubStub() as hub:
        offer(hub, checkpoints)
        return load(environment(tmp_path_factory.mktemp("plain"), hub))


def offer(hub: HubStub, checkpoints: Path, **lock: str) -> str:
    return hub.add(REPO, checkpoints / FAMILY, pipeline_tag="fill-mask", **lock)  # type: ignore[arg-type]


def environment(home: Path, hub: HubStub, **extra: str) -> dict[str, str]:
    return clean_env(home, HF_ENDPOINT=hub.url, USE_TORCH="0", **extra)


def test_a_token_goes_to_the_hub_and_nowhere_else(
    hub: ListeningHub, eavesdropper: tuple[str, list[str]], checkpoints: Path, tmp_path: Path, loaded: list[object]
) -> None:
    offer(hub, checkpoints, private_token=TOKEN)
    url, heard = eavesdropper
    others = {f"PINFORMERS_{name}": url for name in ("GATEWAYS", "KUBO_API", "CLUSTER_API")}
    home = tmp_path / "pinned"
    # All that could give something away is on.
    env = environment(home, hub, HF_TOKEN=TOKEN, PINFORMERS_PUBLISH="auto", PINFORMERS_GATED="share", **others)
    env |= {"PINFORMERS": "1", "PINFORMERS_LOG": "debug"}
    said = [run(env, "-c", WORKER)]
    assert json.loads(said[0].stdout) == loaded
    assert hub.tokens == {TOKEN}
    # A token that is wrong is as secret as one that is right.
    said.append(run({**env, "HF_HOME": str(home / "new")}, "-c", WORKER, ARGUMENT))
    assert json.loads(said[1].stdout)[0] == "OSError"
    assert hub.tokens == {TOKEN, ARGUMENT}
    for blob in home.glob("hf/hub/models--tiny--bert/snapshots/*/model.safetensors"):
        blob.unlink()
    said += [run(env, "-c", WORKER), run(env, "-c", COMMANDS, *EVERYTHING)]
    assert (home / "model.car").exists() and (home / "pinformers.lock").exists(), said[-1].stderr
    assert len({request.split()[1].split("/")[1] for request in heard}) > 2, "gateway, daemon and cluster were asked"
    told = [*heard, *(text for done in said for text in (done.stdout, done.stderr))]
    written = [path for path in home.rglob("*") if path.is_file()]
    for secret in (TOKEN, ARGUMENT):
        assert not [text for text in told if secret in text]
        assert not [path for path in written if secret.encode() in path.read_bytes()]


def test_who_may_read_the_hub_cache_loads_from_it_as_with_plain(
    hub: ListeningHub, checkpoints: Path, tmp_path: Path, loaded: list[object]
) -> None:
    offer(hub, checkpoints, gated_token=TOKEN)
    plain, pinned = (environment(tmp_path / name, hub) for name in ("plain", "pinned"))
    pinned["PINFORMERS"] = "1"
    for env in (plain, pinned):
        assert load({**env, "HF_TOKEN": TOKEN}) == loaded
    # The hub answers 401 to the next one, and the hub's client then looks into its cache.
    assert load(plain) == load(pinned) == loaded
    hub.stop()
    log = tmp_path / "connections.log"
    assert load(offline(pinned, log)) == loaded
    assert not log.exists()


def test_a_pin_opens_no_gate_that_its_user_did_not_pass(
    hub: ListeningHub, checkpoints: Path, tmp_path: Path, loaded: list[object]
) -> None:
    commit = offer(hub, checkpoints, gated_token=TOKEN)
    member = environment(tmp_path / "member", hub, HF_TOKEN=TOKEN)
    run(member, "-c", COMMANDS, f"pin {REPO}", f"lock {REPO}")
    lockfile = tmp_path / "member" / "pinformers.lock"
    assert '"gated": "auto"' in lockfile.read_text()
    with serve(tmp_path / "member", PINFORMERS_GATED="keep") as kept:
        assert kept.line.startswith("Serving 0 pinned models at ")
        assert f"Left out, as the hub is not known to give it to everyone: {REPO} (gated)." in kept.end()[2]
    with serve(tmp_path / "member", PINFORMERS_GATED="share") as shared:
        found = {"PINFORMERS_GATEWAYS": "http://{}:{}".format(*shared.address), "PINFORMERS_LOCKFILE": str(lockfile)}

        def other(name: str, **extra: str) -> list[object]:
            return load(environment(tmp_path / name, hub, PINFORMERS="1", **found, **extra))

        refused, plain = other("stranger"), load(environment(tmp_path / "plain", hub))
        assert plain[0] == "OSError"
        # The message names the commit that was asked for, or the branch where plain transformers 4 knows no commit.
        assert [str(word).replace(commit, "main") for word in refused] == [
            str(word).replace(commit, "main") for word in plain
        ]
        hub.reset()
        assert other("member too", HF_TOKEN=TOKEN) == loaded
        assert [seen.kind for seen in hub.requests] == ["auth"]
        hub.stop()
        assert other("all", PINFORMERS_GATED="share") == loaded
