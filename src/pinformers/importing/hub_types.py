"""Answers in huggingface_hub's own types, built from what a pin knows; the library is loaded when this is called."""

from __future__ import annotations

import importlib
import io
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import quote, unquote

from pinformers.importing.calls import Call
from pinformers.importing.tasks import task_of

if TYPE_CHECKING:
    from pinformers.importing.protocols import Listing, Pinned, Resolver

_FILE = r"(?P<type>datasets/|spaces/)?(?P<repo>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/?]+)/(?P<path>[^?]+)"


def resolved_revision(call: Call, commit: str) -> str:
    if isinstance(call.revision, str) and getattr(call.revision, "resolved", None) == commit:
        return call.revision
    resolved = getattr(sys.modules["huggingface_hub"], "ResolvedRevision", None)
    if resolved is None:
        return commit
    revision = getattr(call.revision, "initial", call.revision)
    value: str = resolved(resolved=commit, initial=revision, repo_id=str(call.repo), repo_type=call.repo_type)
    return value


def resolved_for(call: Call) -> bool:
    """Whether the revision of a call is one that was resolved for its repo."""
    told = getattr(call.asked, "_repo_id", None), getattr(call.asked, "_repo_type", None)
    return told == (call.repo, call.repo_type)


def forbid(repo: object, answer: Pinned | Resolver | None) -> None:
    """Raise what the hub's client raises in offline mode, where the hub may not be asked."""
    if answer is not None and not answer.hub_allowed:
        error, commit = sys.modules["huggingface_hub"].errors.OfflineModeIsEnabled, getattr(answer, "commit", None)
        if isinstance(commit, str):
            raise error(f"{repo} is pinned at {commit}; its pin does not say this, and the hub is not asked.")
        raise error(f"No pin answers for {repo}, and the settings of pinformers do not let the hub be asked.")


def children(listing: Collection[str], folder: str) -> list[str]:
    rest = (path[len(folder) + 1 :] for path in sorted(listing) if path.startswith(f"{folder}/"))
    return [name for name in rest if "/" not in name]


def tree(listing: Listing, folder: str, recursive: bool) -> Iterator[Any]:
    api = importlib.import_module("huggingface_hub.hf_api")
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    names = sorted(path for path in listing if path.startswith(prefix))
    parents = {path[:place] for path in names for place in range(len(prefix), len(path)) if path[place] == "/"}
    folders = {path for path in parents if recursive or "/" not in path[len(prefix) :]}
    yield from (api.RepoFolder(path=path, oid="") for path in sorted(folders))
    for path in names:
        if recursive or "/" not in path[len(prefix) :]:
            yield _repo_file(api, path, listing[path])


def _repo_file(api: Any, path: str, entry: Mapping[str, Any]) -> Any:
    sha256, size = entry.get("lfs_sha256"), entry.get("lfs_size", entry.get("size", 0))
    pointer = len(f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
    lfs = {"lfs": {"oid": sha256, "size": size, "pointerSize": pointer}} if sha256 else {}
    xet = {"xetHash": entry["xet_hash"]} if entry.get("xet_hash") else {}
    return api.RepoFile(path=path, size=entry.get("size", 0), oid=entry.get("blob_id", ""), **lfs, **xet)


# -- of any repo type, for huggingface_hub's own functions ------------------------------------------------------------


class Named(NamedTuple):
    """What the URL of a file names."""

    repo: str
    repo_type: str
    revision: str
    path: str


def named_by(url: object, endpoint: object = None) -> Named | None:
    """Read the URL of a file; None where it is no such URL of the hub at ``endpoint``, or else of this one."""
    hub = str(endpoint or sys.modules["huggingface_hub"].constants.ENDPOINT).rstrip("/")
    if not isinstance(url, str) or not url.startswith(f"{hub}/"):
        return None
    match = re.fullmatch(_FILE, url[len(hub) :].lstrip("/"))
    if match is None or not {"", ".", ".."}.isdisjoint(unquote(match["path"]).split("/")):
        return None
    repo_type = (match["type"] or "models/").rstrip("s/")
    return Named(match["repo"], repo_type, unquote(match["revision"]), unquote(match["path"]))


def at_revision(url: str, now: str, then: str) -> str:
    """Return the URL of the same file at another revision."""
    return url.replace(f"/resolve/{quote(now, safe='')}/", f"/resolve/{quote(then, safe='')}/", 1)


def file_metadata(url: str, path: str, pinned: Pinned) -> Any:
    """Answer a HEAD request for a file, raising for one that does not exist; None where the pin cannot say."""
    if pinned.has(path) is False:
        # The original was given the commit; the words are to be about what its caller asked for.
        raise_absent(at_revision(url, pinned.commit, pinned.revision), pinned.commit)
    entry = pinned.entry(path)
    etag = entry and (entry.get("lfs_sha256") or entry.get("blob_id"))
    if not entry or not etag or "size" not in entry:
        return None
    metadata = sys.modules["huggingface_hub.file_download"].HfFileMetadata
    return metadata(commit_hash=pinned.commit, etag=etag, location=url, size=entry["size"], xet_file_data=None)


def raise_no_file(call: Call, pinned: Pinned) -> NoReturn:
    """Raise what the hub's client raises where a branch has no such file."""
    url_of = sys.modules["huggingface_hub.file_download"].hf_hub_url
    url = url_of(pinned.repo, *call.paths, repo_type=call.repo_type, revision=pinned.revision)
    raise_absent(url, pinned.commit)


def raise_absent(
    url: str, commit: str, *, method: str = "HEAD", params: Mapping[str, object] | None = None, said: str = ""
) -> NoReturn:
    """Raise what the hub's client raises for the hub's answer that a commit has no such file or folder."""
    # deferred: the finder is installed at every start, and what it brings in delays each.
    import json

    # The response class of whatever HTTP client this version of huggingface_hub is built on.
    response_class = sys.modules["huggingface_hub.errors"].Response
    client = sys.modules[response_class.__module__.partition(".")[0]]
    headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit, "Content-Type": "application/json"}
    request, body = client.Request(method, url, params=params), json.dumps({"error": said or "Entry not found"})
    if client.__name__ == "requests":
        response = client.Response()
        response.request = request.prepare()
        response.status_code, response.url, response.raw = 404, response.request.url, io.BytesIO(body.encode())
        response.headers.update(headers)
    else:
        response = response_class(404, headers=headers, content=body, request=request)
    sys.modules["huggingface_hub"].utils.hf_raise_for_status(response)
    raise AssertionError("huggingface_hub did not raise for status 404")


def repo_info(repo: str, repo_type: str, pinned: Pinned, account: Mapping[str, Any] | None) -> Any:
    """Answer what a repo is, as far as its pin knows; ``account`` is what the pin says that the hub says of it."""
    kind = getattr(importlib.import_module("huggingface_hub.hf_api"), f"{repo_type.capitalize()}Info")
    siblings = [{"rfilename": path} for path in sorted(pinned.listing or ())]
    said = {name: value for name, value in (account or {}).items() if value is not None}
    if "pipeline_tag" not in said and (task := task_of(said.get("config"))) is not None:
        said["pipeline_tag"] = task
    return kind(**{**said, "id": repo, "sha": pinned.commit, "siblings": siblings})


def described(listing: Listing) -> bool:
    """Whether a listing says all that the hub's tree says, so that a client (2.4 on) may keep it as that."""
    return "huggingface_hub._tree_cache" not in sys.modules or all(
        "size" in entry and "blob_id" in entry for entry in listing.values()
    )


def known_tree(call: Call, pinned: Pinned) -> list[Any]:
    """Answer what is in a folder of a commit whose listing is known, raising for one that does not exist."""
    folder, recursive = str(call.get("path_in_repo") or ""), bool(call.get("recursive"))
    found = list(tree(pinned.listing or {}, folder, recursive))
    if folder and not found:
        # As HfFileSystem expects it, a file is no folder either.
        api = f"{sys.modules['huggingface_hub'].constants.ENDPOINT}/api/{call.repo_type}s/{pinned.repo}"
        url = f"{api}/tree/{quote(pinned.revision, safe='')}/{quote(folder, safe='')}"
        params = {"recursive": recursive, "expand": False}
        said = f'{folder} does not exist on "{pinned.revision}"'
        raise_absent(url, pinned.commit, method="GET", params=params, said=said)
    return found


def paths_info(paths: Sequence[str], pinned: Pinned) -> list[Any] | None:
    """Answer which of ``paths`` are files or folders of a commit; those that are neither are left out."""
    if pinned.listing is None:
        return None
    entries = {entry.path: entry for entry in tree(pinned.listing, "", True)}
    return [entries[path] for path in paths if path in entries]


def client_errors() -> tuple[type[Exception], ...]:
    """The exceptions that huggingface_hub's client raises where a request fails."""
    errors = sys.modules["huggingface_hub.errors"]
    # Of requests, HTTPError is only what a server answers.
    client = getattr(sys.modules[errors.Response.__module__.partition(".")[0]], "RequestException", None)
    return (errors.OfflineModeIsEnabled, errors.HfHubHTTPError, client or errors.HfHubHTTPError.__bases__[0])


def reword(error: BaseException, commit: str, asked: str | None) -> None:
    """Have an error speak of the revision that was asked for, not of the commit that the original was given."""
    if error.args and isinstance(error.args[0], str):
        # Without a revision, an account of a repo is asked for at no revision, all else at this one.
        words = error.args[0] if asked else error.args[0].replace(f"/revision/{commit}", "")
        words = words.replace(f"/{commit}", f"/{quote(asked or 'main', safe='')}").replace(commit, asked or "main")
        error.args = (words, *error.args[1:])


def unanswered(error: BaseException) -> bool:
    """Whether nobody answered, or that the hub is out of order, or has no such commit any more; not a refusal."""
    errors = sys.modules["huggingface_hub.errors"]
    if isinstance(error, errors.RevisionNotFoundError):
        return True
    if isinstance(error, errors.HfHubHTTPError):
        return bool(error.response.status_code >= 500 or error.response.status_code == 429)
    return not isinstance(error, errors.LocalTokenNotFoundError)
