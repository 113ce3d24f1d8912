"""Run as a script: ask huggingface_hub's own functions in every way, and print what each call answered, as JSON.

It knows nothing of pinformers.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub._snapshot_download import snapshot_download as deep_snapshot
from huggingface_hub.file_download import hf_hub_download as deep_download
from tqdm.auto import tqdm

REPO = "org/model"


class Mine(HfApi):
    """A subclass, as libraries make them."""


class Own(HfApi):
    """A subclass that gives an account of its own."""

    asked = 0

    def model_info(self, *args: Any, **kwargs: Any) -> Any:
        Own.asked += 1
        return super().model_info(*args, **kwargs)

    def resolved(self, **kwargs: Any) -> tuple[Any, ...]:
        Own.asked = 0
        found = self.resolve_revision(REPO, **kwargs)
        return found, found.initial, found.resolved, Own.asked


class Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar of the caller's own."""

    made = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        Bar.made += 1
        super().__init__(*args, **{**kwargs, "disable": True})


def answer(call: Callable[[], Any]) -> list[str]:
    try:
        found = ["returned", str(call())]
    except Exception as error:
        found = [type(error).__module__ + "." + type(error).__qualname__, str(error)]
    return [text.replace(os.environ["HOME"], "~") for text in found]


def read(path: str) -> tuple[str, str]:
    return path, hashlib.sha256(Path(path).read_bytes()).hexdigest()


def tree(folder: str) -> dict[str, str]:
    """Every file with its content; a link with where it leads. The time in a file of metadata is left out."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_symlink():
            found[path.relative_to(folder).as_posix()] = f"link to {os.readlink(path)}"
        elif path.is_file():
            text = path.read_bytes()
            lines = text.splitlines()[:2] if path.suffix == ".metadata" else [text]
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(b"\n".join(lines)).hexdigest()
    return found


def bars(**kwargs: Any) -> int:
    Bar.made = 0
    snapshot_download(REPO, tqdm_class=Bar, **kwargs)
    return Bar.made


def info(found: Any) -> tuple[Any, ...]:
    return type(found).__name__, found.id, found.sha, sorted(file.rfilename for file in found.siblings)


def entries(found: Any) -> list[tuple[Any, ...]]:
    # A pin does not know the git id of a folder.
    names = ("path", "size", "blob_id", "lfs")
    return [(type(entry).__name__, *(str(getattr(entry, name, "")) for name in names)) for entry in found]


def metadata(found: Any) -> tuple[Any, ...]:
    return found.commit_hash, found.etag, found.size


def downloads(own: str, commit: str) -> dict[str, Callable[[], Any]]:
    api = HfApi()
    return {
        "file": lambda: read(hf_hub_download(REPO, "config.json")),
        "keywords": lambda: read(hf_hub_download(repo_id=REPO, filename="config.json", repo_type="model")),
        "deep import": lambda: read(deep_download(REPO, "big.safetensors")),
        "through the package": lambda: read(huggingface_hub.hf_hub_download(REPO, "config.json")),
        "method": lambda: read(api.hf_hub_download(REPO, "config.json")),
        "method of a subclass": lambda: read(Mine().hf_hub_download(REPO, filename="config.json")),
        "method of the global": lambda: read(huggingface_hub.hf_api.api.hf_hub_download(REPO, "config.json")),
        "subfolder": lambda: read(hf_hub_download(REPO, "a.txt", subfolder="sub")),
        "path": lambda: read(hf_hub_download(REPO, "sub/a.txt")),
        "commit": lambda: read(hf_hub_download(REPO, "config.json", revision=commit)),
        "tag": lambda: read(hf_hub_download(REPO, "config.json", revision="v1")),
        "pull request": lambda: read(hf_hub_download(REPO, "sub/a.txt", revision="refs/pr/1")),
        "token": lambda: read(hf_hub_download(REPO, "config.json", token=False)),
        "private": lambda: read(hf_hub_download("org/private", "config.json", token="hf_right")),
        "private, no token": lambda: hf_hub_download("org/private2", "config.json", token=False),
        "local_files_only": lambda: read(hf_hub_download(REPO, "config.json", local_files_only=True)),
        "local_files_only, not here": lambda: hf_hub_download(REPO, "no.json", local_files_only=True),
        "cache_dir": lambda: read(hf_hub_download(REPO, "config.json", cache_dir=own)),
        "cache_dir as a Path": lambda: read(hf_hub_download(REPO, "sub/a.txt", cache_dir=Path(own))),
        # A pin leaves the listing that a snapshot_download would have left.
        "in cache_dir now": lambda: sorted(
            name for name in tree(own) if name.startswith("models--") and "/trees/" not in name
        ),
        "force_download": lambda: read(hf_hub_download(REPO, "config.json", force_download=True)),
        "absent": lambda: hf_hub_download(REPO, "no.json"),
        "absent in a tag": lambda: hf_hub_download(REPO, "no.json", revision="v1"),
        "unknown repo": lambda: hf_hub_download("org/nothing", "config.json"),
        "unknown branch": lambda: hf_hub_download(REPO, "config.json", revision="nowhere"),
        "no name of a repo": lambda: hf_hub_download("a/b/c", "config.json"),
        "no repo type": lambda: hf_hub_download(REPO, "config.json", repo_type="song"),
        "out of the repo": lambda: hf_hub_download(REPO, "../config.json"),
        "no file": lambda: hf_hub_download(REPO, "."),
        "folder": lambda: hf_hub_download(REPO, "sub"),
        "folder in a folder": lambda: hf_hub_download(REPO, "deep", subfolder="sub"),
        "folder of a commit": lambda: hf_hub_download(REPO, "sub", revision=commit),
        "folder, local_files_only": lambda: hf_hub_download(REPO, "sub", local_files_only=True),
        "dataset": lambda: read(hf_hub_download("org/model", "rows.csv", repo_type="dataset")),
        "space": lambda: read(hf_hub_download("org/model", "app.py", repo_type="space")),
        "not a model": lambda: hf_hub_download("org/model", "rows.csv"),
        "cached": lambda: try_to_load_from_cache(REPO, "config.json"),
    }


def snapshots(commit: str) -> dict[str, Callable[[], Any]]:
    api = HfApi()
    return {
        "snapshot": lambda: (path := snapshot_download(REPO), tree(path)),
        "deep snapshot": lambda: deep_snapshot(REPO, revision=commit),
        "snapshot method": lambda: Mine().snapshot_download(REPO, revision="v1"),
        "snapshot of a dataset": lambda: tree(snapshot_download("org/model", repo_type="dataset")),
        "snapshot of a space": lambda: tree(api.snapshot_download("org/model", repo_type="space")),
        "allow_patterns": lambda: snapshot_download(REPO, allow_patterns="*.json"),
        "ignore_patterns": lambda: snapshot_download(REPO, ignore_patterns=["*.safetensors"], max_workers=1),
        "nothing matches": lambda: snapshot_download(REPO, allow_patterns="*.nothing"),
        "tqdm_class": bars,
        "snapshot, local_files_only": lambda: snapshot_download(REPO, local_files_only=True),
        "snapshot of an unknown repo": lambda: snapshot_download("org/nothing"),
        "snapshot, unknown branch": lambda: snapshot_download(REPO, revision="nowhere"),
        "snapshot, force_download": lambda: snapshot_download(REPO, force_download=True),
    }


def local_dirs(own: str, commit: str) -> dict[str, Callable[[], Any]]:
    where = f"{own}-local"
    return {
        "local_dir": lambda: (read(hf_hub_download(REPO, "sub/a.txt", local_dir=where)), tree(where)),
        "local_dir again": lambda: (read(hf_hub_download(REPO, "sub/a.txt", local_dir=Path(where))), tree(where)),
        "local_dir, another commit": lambda: (
            read(hf_hub_download(REPO, "sub/a.txt", local_dir=where, revision="refs/pr/1")),
            tree(where),
        ),
        "local_dir by commit": lambda: read(hf_hub_download(REPO, "config.json", local_dir=where, revision=commit)),
        "local_dir, absent": lambda: hf_hub_download(REPO, "no.json", local_dir=where),
        "snapshot in local_dir": lambda: (
            snapshot_download(REPO, local_dir=f"{own}-snapshot"),
            tree(f"{own}-snapshot"),
        ),
        "part of it in local_dir": lambda: (
            snapshot_download(REPO, local_dir=f"{own}-part", allow_patterns=["sub/*"]),
            tree(f"{own}-part"),
        ),
        "local_dir, local_files_only": lambda: snapshot_download(
            REPO, local_dir=f"{own}-snapshot", local_files_only=True
        ),
    }


def dry_runs() -> dict[str, Callable[[], Any]]:
    if "dry_run" not in inspect.signature(hf_hub_download).parameters:
        return {}
    return {
        "dry run": lambda: hf_hub_download(REPO, "config.json", dry_run=True),
        "dry run of a folder": lambda: hf_hub_download(REPO, "sub", dry_run=True),
        "dry run, absent": lambda: hf_hub_download(REPO, "no.json", dry_run=True),
        "dry run of a snapshot": lambda: sorted(map(str, snapshot_download(REPO, dry_run=True))),
        "dry run in local_dir": lambda: hf_hub_download(REPO, "config.json", dry_run=True, local_dir="nowhere"),
        "nothing came of it": lambda: Path("nowhere").exists(),
    }


def questions(commit: str) -> dict[str, Callable[[], Any]]:
    api = HfApi()
    url = huggingface_hub.hf_hub_url(REPO, "big.safetensors")
    return {
        "model_info": lambda: info(huggingface_hub.model_info(REPO)),
        "model_info, method": lambda: info(Mine().model_info(REPO, revision="v1")),
        "dataset_info": lambda: info(api.dataset_info("org/model")),
        "space_info": lambda: info(api.space_info("org/model")),
        "repo_info": lambda: info(api.repo_info("org/model", repo_type="dataset", revision="main")),
        "info of an unknown repo": lambda: api.model_info("org/nothing"),
        "file_exists": lambda: (api.file_exists(REPO, "config.json"), huggingface_hub.file_exists(REPO, "no.json")),
        "file_exists of another writing": lambda: api.file_exists(REPO, "./config.json"),
        "repo_exists": lambda: (api.repo_exists(REPO), api.repo_exists("org/model", repo_type="space")),
        "revision_exists": lambda: api.revision_exists(REPO, "v1"),
        "list_repo_files": lambda: sorted(huggingface_hub.list_repo_files(REPO)),
        "list_repo_tree": lambda: entries(api.list_repo_tree(REPO)),
        "list_repo_tree of all": lambda: entries(api.list_repo_tree(REPO, recursive=True, revision=commit)),
        "list_repo_tree of a folder": lambda: entries(api.list_repo_tree(REPO, "sub")),
        "list_repo_tree of nothing": lambda: list(api.list_repo_tree(REPO, "no thing/ü", recursive=True)),
        "list_repo_tree of nothing in a pull request": lambda: list(
            api.list_repo_tree(REPO, "nothing", revision="refs/pr/1")
        ),
        "list_repo_tree of nothing in a commit": lambda: list(api.list_repo_tree(REPO, "nothing", revision=commit)),
        "list_repo_tree of no rows": lambda: list(api.list_repo_tree(REPO, "nothing", repo_type="dataset")),
        "list_repo_tree of a file": lambda: list(api.list_repo_tree(REPO, "config.json")),
        "metadata": lambda: metadata(huggingface_hub.get_hf_file_metadata(url)),
        "metadata, method": lambda: metadata(api.get_hf_file_metadata(url=url)),
        "metadata of nothing": lambda: api.get_hf_file_metadata(url=huggingface_hub.hf_hub_url(REPO, "no.json")),
        "file system": lambda: sorted(huggingface_hub.HfFileSystem().find(f"{REPO}@{commit}")),
    }


def overridden(commit: str) -> dict[str, Callable[[], Any]]:
    if not hasattr(HfApi, "resolve_revision"):
        return {}
    return {
        "resolve_revision": lambda: Own().resolved(),
        "resolve_revision of a tag": lambda: Own().resolved(revision="v1"),
        "resolve_revision of a commit": lambda: Own().resolved(revision=commit),
        "resolve_revision, local_files_only": lambda: Own().resolved(local_files_only=True),
    }


def objects() -> dict[str, Callable[[], Any]]:
    functions = (hf_hub_download, snapshot_download, huggingface_hub.model_info, HfApi.model_info, HfApi.list_repo_tree)
    return {
        "names": lambda: [(f.__name__, f.__module__, f.__qualname__, type(f).__name__) for f in functions],
        "signatures": lambda: [str(inspect.signature(function)) for function in functions],
        "sources": lambda: [hashlib.sha256(inspect.getsource(f).encode()).hexdigest() for f in functions],
        "pickles": lambda: [pickle.loads(pickle.dumps(f)) is f for f in functions[:2]],
        "one object": lambda: (
            hf_hub_download is deep_download is huggingface_hub.hf_hub_download,
            huggingface_hub.model_info is huggingface_hub.hf_api.model_info,
            snapshot_download is deep_snapshot,
        ),
        "pickled method": lambda: pickle.loads(pickle.dumps(huggingface_hub.model_info)).__func__ is HfApi.model_info,
    }


def main() -> None:
    own, commit = sys.argv[1:3]
    os.chdir(os.environ["HOME"])
    cases = {**downloads(own, commit), **snapshots(commit), **local_dirs(own, commit), **dry_runs()}
    cases.update({**questions(commit), **overridden(commit), **objects()})
    answers = {name: answer(call) for name, call in cases.items() if name not in sys.argv[3:]}
    # The address of the stub changes where it is started anew.
    print(re.sub(r"127\.0\.0\.1:\d+", "hub", json.dumps(answers)))


if __name__ == "__main__":
    main()
