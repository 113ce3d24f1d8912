"""Answers in huggingface_hub's own types, built from what a pin knows; the library is loaded when this is called."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pinformers.importing.calls import Call
from pinformers.importing.protocols import Listing, Pinned, Resolver


def resolved_revision(call: Call, commit: str) -> str:
    resolved = getattr(sys.modules["huggingface_hub"], "ResolvedRevision", None)
    if resolved is None:
        return commit
    revision = getattr(call.revision, "initial", call.revision)
    value: str = resolved(resolved=commit, initial=revision, repo_id=str(call.repo), repo_type=call.repo_type)
    return value


def forbid(call: Call, answer: Pinned | Resolver | None) -> None:
    """Raise what the hub's client raises in offline mode, where the hub may not be asked."""
    if answer is not None and not answer.hub_allowed:
        error = sys.modules["huggingface_hub"].errors.OfflineModeIsEnabled
        raise error(f"No pin answers for {call.repo}, and the settings of pinformers do not let the hub be asked.")


def model_info(repo: str, pinned: Pinned) -> Any:
    api = sys.modules["huggingface_hub"].hf_api
    siblings = [{"rfilename": path} for path in sorted(pinned.listing or ())]
    return api.ModelInfo(**{**(pinned.info or {}), "id": repo, "sha": pinned.commit, "siblings": siblings})


def children(listing: Collection[str], folder: str) -> list[str]:
    rest = (path[len(folder) + 1 :] for path in sorted(listing) if path.startswith(f"{folder}/"))
    return [name for name in rest if "/" not in name]


def tree(listing: Listing, folder: str, recursive: bool) -> Iterator[Any]:
    api = sys.modules["huggingface_hub"].hf_api
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    names = sorted(path for path in listing if path.startswith(prefix))
    folders = {path[: place + len(prefix)] for path in names if (place := path[len(prefix) :].find("/")) >= 0}
    yield from (api.RepoFolder(path=path, oid="") for path in sorted(folders))
    for path in names:
        if recursive or "/" not in path[len(prefix) :]:
            yield _repo_file(api, path, listing[path])


def _repo_file(api: Any, path: str, entry: Mapping[str, Any]) -> Any:
    sha256 = entry.get("lfs_sha256")
    lfs = {"lfs": {"oid": sha256, "size": entry.get("lfs_size"), "pointerSize": 0}} if sha256 else {}
    xet = {"xetHash": entry["xet_hash"]} if entry.get("xet_hash") else {}
    return api.RepoFile(path=path, size=entry.get("size", 0), oid=entry.get("blob_id", ""), **lfs, **xet)
