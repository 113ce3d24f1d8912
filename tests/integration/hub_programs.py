"""Programs for test_hub_switching, each run in a process of its own by its name; each prints one line of JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from types import ModuleType
from typing import Any

REPO = "org/model"


def held(*names: str) -> dict[str, dict[str, int]]:
    """The identity of all that modules of huggingface_hub, and those named, hold, and of all that HfApi has."""
    from huggingface_hub.hf_api import HfApi

    modules = {name: module for name, module in sys.modules.items() if name.startswith("huggingface_hub")}
    modules.update({name: sys.modules[name] for name in names})
    # A lazy name of the package itself is kept there only by those who ask for it.
    found = {name: {key: id(value) for key, value in vars(module).items()} for name, module in modules.items()}
    return {**found, "HfApi": {key: id(value) for key, value in vars(HfApi).items()}}


def user(name: str) -> ModuleType:
    """A module of the user's that has bound names before."""
    module = ModuleType(name)
    sys.modules[name] = module
    code = (
        "from huggingface_hub import hf_hub_download, snapshot_download as fetch, model_info, HfApi\n"
        "info_of = HfApi().model_info\n"
        "def load(): return hf_hub_download('org/model', 'config.json'), fetch('org/model')\n"
    )
    exec(code, vars(module))
    return module


def undo() -> Any:
    import pinformers
    from pinformers.importing.standing_in import stands_in

    early = user("early")
    import huggingface_hub._snapshot_download
    import huggingface_hub.hf_file_system  # noqa: F401

    # The client makes its session at the first request.
    early.load()
    before = held("early")
    handle = pinformers.enable(scope="hub")
    on = held("early")
    late = user("late")
    same = late.hf_hub_download is early.hf_hub_download and late.model_info is early.model_info
    changed = sorted(f"{name}.{key}" for name in before for key in before[name] if on[name][key] != before[name][key])
    paths = early.load()
    handle.disable()
    late_ids = [late.hf_hub_download is early.hf_hub_download, late.fetch is early.fetch]
    late_ids += [late.model_info is early.model_info, late.info_of.__func__ is early.info_of.__func__]
    return {
        "restored": held("early") == before,
        "changed": changed,
        "same while on": same,
        "late": late_ids,
        "unwrapped": not stands_in(early.hf_hub_download),
        "here": all(map(os.path.exists, paths)),
    }


def again() -> Any:
    """On and off many times, nested and not: the last one leaves nothing."""
    import pinformers

    early = user("early")
    early.load()
    before = held("early")
    for _ in range(3):
        with pinformers.enable(scope="hub"), pinformers.enable(), pinformers.enable(scope="hub"):
            early.load()
    return held("early") == before


def nested() -> Any:
    """The innermost settings count: a scope of transformers inside one of the hub leaves downloads plain."""
    import huggingface_hub

    import pinformers

    counts = []

    def count() -> None:
        huggingface_hub.hf_hub_download(REPO, "config.json")
        pinformers.flush()
        status = pinformers.get_status()
        counts.append([status["hits"], status["misses"]])

    with pinformers.enable() as outer:
        count()
        with pinformers.enable(scope="hub"):
            count()
            with pinformers.enable():
                count()
            count()
        assert outer.active
        count()
    return counts


def started() -> Any:
    """Turned on by the environment; transformers is never imported."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    paths = [hf_hub_download(REPO, "config.json"), snapshot_download(REPO), HfApi().hf_hub_download(REPO, "README.md")]
    import pinformers

    pinformers.flush()
    status = pinformers.get_status()
    counts = {name: status[name] for name in ("enabled", "applied", "scope", "pins", "hits", "misses")}
    return {**counts, "here": all(map(os.path.exists, paths)), "transformers": "transformers" in sys.modules}


def untouched() -> Any:
    """Which of huggingface_hub's functions are not its own."""
    import huggingface_hub._snapshot_download as snapshots
    from huggingface_hub import file_download, hf_api

    from pinformers.importing.standing_in import stands_in

    functions = [file_download.hf_hub_download, snapshots.snapshot_download, *vars(hf_api.HfApi).values()]
    return [getattr(function, "__name__", "") for function in functions if stands_in(function)]


def transformers() -> Any:
    """One load through transformers in the scope of the hub: each file is told of once."""
    from transformers import AutoConfig

    import pinformers

    AutoConfig.from_pretrained("tiny/bert")
    pinformers.flush()
    status = pinformers.get_status()
    return {name: status[name] for name in ("applied", "hits", "misses", "fallbacks")}


def elsewhere() -> Any:
    """Another hub is not that of the pins."""
    from huggingface_hub import HfApi, hf_hub_download

    errors = []
    for call in (
        lambda: hf_hub_download(REPO, "config.json", endpoint="http://127.0.0.1:9"),
        lambda: HfApi(endpoint="http://127.0.0.1:9").hf_hub_download(REPO, "big.safetensors", force_download=True),
        lambda: HfApi(endpoint="http://127.0.0.1:9").model_info(REPO),
    ):
        try:
            errors.append(str(call()))
        except Exception as error:
            errors.append(type(error).__name__)
    return errors


def written() -> Any:
    """Who commits to a repo reads what was committed, not the pin of before."""
    from huggingface_hub import HfApi, hf_hub_download, list_repo_files

    api = HfApi(token="hf_any")
    before = hf_hub_download(REPO, "config.json"), sorted(list_repo_files(REPO))
    api.create_commit(REPO, [], commit_message="None")
    after = hf_hub_download(REPO, "config.json"), sorted(list_repo_files(REPO))
    return [[os.path.basename(os.path.dirname(path)), files] for path, files in (before, after)]


def pushed() -> Any:
    """The same through transformers, and by each way to move a branch."""
    from huggingface_hub import HfApi
    from transformers import AutoConfig

    import pinformers

    before = AutoConfig.from_pretrained(REPO).hidden_size
    hits, api = pinformers.get_status()["hits"], HfApi(token="hf_any")
    {
        "create_commit": lambda: api.create_commit(REPO, [], commit_message="None"),
        "upload_folder": lambda: api.upload_folder(repo_id=REPO, folder_path=tempfile.mkdtemp(dir=os.environ["HOME"])),
        "merge_pull_request": lambda: api.merge_pull_request(REPO, 1),
        "super_squash_history": lambda: api.super_squash_history(repo_id=REPO),
    }[os.environ["WRITE"]]()
    return [hits, before, AutoConfig.from_pretrained(REPO).hidden_size]


def gated() -> Any:
    """Whether a file of a gated model is there, asked without a token and with one."""
    from huggingface_hub import HfApi, snapshot_download

    snapshot_download("org/gated", token="hf_right")
    if "PINFORMERS" in os.environ:
        import pinformers

        pinformers.flush()
    said: list[Any] = []
    for token in (False, "hf_right"):
        for name in ("config.json", "no.json"):
            try:
                said.append(HfApi().file_exists("org/gated", name, token=token))
            except Exception as error:
                said.append([type(error).__name__, str(error).replace(os.environ["HF_ENDPOINT"], "")])
    return said


def refused() -> Any:
    from huggingface_hub import HfApi, hf_hub_download

    said = []
    for call in (
        lambda: os.path.exists(hf_hub_download(REPO, "config.json")),
        lambda: HfApi().file_exists(REPO, "config.json"),
        lambda: hf_hub_download("org/other", "config.json"),
        lambda: HfApi().model_info("org/other"),
    ):
        try:
            said.append(call())
        except Exception as error:
            said.append(type(error).__name__)
    return said


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
