"""A model that has no hub name, only a CID, against the same folder on disk under plain transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_workers_pinned import offline

from environment import clean_env
from hub_stub import HubStub
from ipfs_folder import Blocks, add_file, add_folder, write_shelf
from pin_rooms import write_folder
from pinformers.ipfs import UNIXFS_V1_2025, V0_2015, Profile

CASES = Path(__file__).parent / "reference_cases.py"
FAMILIES = ("bert", "custom", "gpt2", "llama", "mpnet", "vit", "whisper")
# Each of the forms, spread over the models; the last is the one that passes the hub's check of names.
FORMS = ("ipfs://{}", "/ipfs/{}", "ipfs/{}")
pytestmark = pytest.mark.torch
Answers = dict[str, Any]


def run(env: Mapping[str, str], *arguments: str) -> str:
    Path(env["HOME"]).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=dict(env), cwd=env["HOME"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(env: Mapping[str, str], names: Mapping[str, str]) -> Answers:
    answers: Answers = json.loads(run(env, str(CASES), "load", json.dumps(names)).splitlines()[-1])
    return answers


@pytest.fixture(scope="module")
def folders(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of every model."""
    made = tmp_path_factory.mktemp("folders")
    run(clean_env(made / "home"), str(CASES), "build", str(checkpoints), str(made))
    found = {name: checkpoints / name for name in FAMILIES}
    return found | {name: made / name for name in ("shards", "bin", "adapter", "gguf") if (made / name).exists()}


def with_base(adapter: Path, base: str) -> Path:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    return adapter


def published(folders: Mapping[str, Path], shelf: Path, profile: Profile) -> dict[str, str]:
    """Add every folder, as somebody with this profile did, to a source in ``shelf``; returns their references."""
    blocks = Blocks()
    names: dict[str, str] = {}
    for number, (name, folder) in enumerate(folders.items()):
        if name == "adapter":
            folder = with_base(shutil.copytree(folder, shelf / "adapter"), names["gpt2"])
        names[name] = FORMS[number % len(FORMS)].format(add_folder(folder, blocks, profile))
    if "gguf" in folders:
        content = (folders["gguf"] / "sub" / "tiny.gguf").read_bytes()
        names["gguf file"] = f"ipfs://{add_file(content, blocks, profile)[0]}"
    write_shelf(shelf, blocks)
    return names


def on_disk(folders: Mapping[str, Path]) -> dict[str, str]:
    names = {name: str(folder) for name, folder in folders.items()}
    with_base(folders["adapter"], names["gpt2"])
    return names | ({"gguf file": str(folders["gguf"] / "sub")} if "gguf" in names else {})


def with_shelf(home: Path, shelf: Path, **extra: str) -> dict[str, str]:
    return clean_env(home, PINFORMERS="1", PINFORMERS_SOURCES="embedded,shelf,hub", PYTHONPATH=str(shelf), **extra)


@dataclass(frozen=True, slots=True)
class Runs:
    """What the cases answered from folders on disk, by reference, and by reference in a second process."""

    plain: Answers
    first: Answers
    second: Answers
    requests: list[object]
    asked: tuple[str, str]
    connections: Path
    home: Path
    names: Mapping[str, str]


@pytest.fixture(scope="module", params=[V0_2015, UNIXFS_V1_2025], ids=["v0", "v1"])
def runs(request: pytest.FixtureRequest, folders: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    place = tmp_path_factory.mktemp("runs")
    shelf, home, log = place / "shelf", place / "home", place / "connections.log"
    names = published(folders, shelf, request.param)
    plain = load(clean_env(place / "plain"), on_disk(folders))
    with HubStub() as hub:
        env = with_shelf(home, shelf, HF_ENDPOINT=hub.url)
        first = load(env, names)
        requests: list[object] = list(hub.requests)
    asked = (shelf / "asked.log").read_text()
    alone = offline(env, log)
    second = load({**alone, "PYTHONPATH": f"{alone['PYTHONPATH']}:{shelf}"}, names)
    return Runs(plain, first, second, requests, (asked, (shelf / "asked.log").read_text()), log, home, names)


def test_everything_loads_as_from_the_folder_and_keeps_its_name(runs: Runs) -> None:
    assert runs.first == runs.plain
    assert runs.first["Auto class"][2] is runs.first["tokenizer"][1] is True


def test_the_hub_is_asked_for_nothing(runs: Runs) -> None:
    assert runs.first["absent"] == "None"
    assert runs.requests == []


def test_a_second_process_asks_no_source_and_opens_no_connection(runs: Runs) -> None:
    assert runs.second == runs.plain
    assert runs.asked[0] == runs.asked[1] != ""
    assert not runs.connections.exists(), runs.connections.read_text()


def test_the_command_line_takes_references(runs: Runs, tmp_path: Path) -> None:
    home = shutil.copytree(runs.home, tmp_path / "home", symlinks=True)
    env = clean_env(home)
    name = runs.names["gpt2"]
    said = json.loads(run(env, "-m", "pinformers", "explain", name, "--json"))
    assert (said["pinned"], said["complete"], said["root"]) == (True, True, name.rsplit("/", 1)[1])
    findings = json.loads(run(env, "-m", "pinformers", "verify", name, "--json"))
    assert {finding["state"] for finding in findings} == {"good"}
    (removed,) = json.loads(run(env, "-m", "pinformers", "rm", name, "--json"))
    assert removed["freed"] > 0
    assert not json.loads(run(env, "-m", "pinformers", "explain", name, "--json"))["pinned"]


REFUSED = """
import sys
from transformers import AutoConfig, pipeline
for name, revision in zip(sys.argv[2::2], sys.argv[3::2]):
    try:
        print(AutoConfig.from_pretrained(name, **({"revision": revision} if revision else {})).model_type)
    except OSError as error:
        print(f"{type(error).__name__}: {error}")
print(pipeline(model=sys.argv[1]).task)
"""


def test_what_is_refused_says_why_and_a_task_comes_from_the_card(
    hub: HubStub, checkpoints: Path, tmp_path: Path
) -> None:
    blocks = Blocks()
    root = add_folder(checkpoints / "bert", blocks, V0_2015)
    env = with_shelf(tmp_path / "home", write_shelf(tmp_path / "shelf", blocks), HF_ENDPOINT=hub.url)
    name, missing = f"ipfs://{root}", f"ipfs://{V0_2015.node(b'nobody has this').cid}"
    asked = [
        name,
        "main",
        name,
        "v1",
        "ipfs://nonsense",
        "",
        f"{name}/no",
        "",
        "ipns://docs.ipfs.tech",
        "",
        missing,
        "",
    ]
    main, revision, nonsense, path, domain, nobody, task = run(env, "-c", REFUSED, name, *asked).splitlines()
    assert (main, task) == ("bert", "fill-mask")
    assert revision == f"PinError: {name}: it has no revisions; leave out revision='v1'"
    assert nonsense.startswith("PinError: ipfs://nonsense: 'nonsense' is not a CID")
    assert "holds no 'no'; it holds README.md, config.json" in path
    assert "DNSLink" in domain
    assert nobody.startswith(f"PinError: {missing}: no source delivers it (")
    assert "shelf: it was never put here" in nobody
    assert hub.requests == []


TO_A_FOLDER = """
import json, os, sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
if sys.argv[2] == "transformers":
    import transformers.utils.hub

def files(folder):
    found = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return sorted(os.path.relpath(path, folder) for path in found if ".cache" not in path)

name, here = sys.argv[1], os.path.join(os.environ["HOME"], "here")
said = [files(snapshot_download(name, local_dir=here))]
with open(hf_hub_download(name, "config.json", local_dir=here + "2")) as one, open(here + "/config.json") as other:
    said.append(one.read() == other.read())
said.append(files(snapshot_download(name, allow_patterns=(name for name in ["*.md"]), local_dir=here + "3")))
said.append(files(HfApi().snapshot_download(name)))
said.append(HfApi().list_repo_files(name))
said.append([entry.path for entry in HfApi().list_repo_tree(name) if hasattr(entry, "blob_id")])
if hasattr(__import__("huggingface_hub"), "DryRunFileInfo"):
    said.append(sorted(file.filename for file in snapshot_download(name, dry_run=True)))
print(json.dumps(said))
"""


@pytest.mark.parametrize("scope", ["transformers", "hub"])
def test_the_files_of_a_name_go_to_a_folder_and_the_hub_is_never_asked(
    scope: str, hub: HubStub, tmp_path: Path
) -> None:
    blocks = Blocks()
    files = {"README.md": b"# A", "config.json": b"{}", "model.bin": bytes(range(256)) * 9000}
    root = add_folder(write_folder(tmp_path / "model", files), blocks, V0_2015)
    shelf = write_shelf(tmp_path / "shelf", blocks)
    env = with_shelf(tmp_path / "home", shelf, HF_ENDPOINT=hub.url, PINFORMERS_SCOPE=scope)
    said = json.loads(run(env, "-c", TO_A_FOLDER, f"ipfs://{root}", scope))
    every = sorted(files)
    assert said in ([every, True, ["README.md"], every, every, every, every][:end] for end in (6, 7))
    assert hub.requests == []
