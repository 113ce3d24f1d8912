from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pinformers.importing.calls import Call


def cached_files(path_or_repo_id: str, filenames: list[str], cache_dir: object = None, **kwargs: Any) -> Any:
    return path_or_repo_id, filenames, cache_dir, kwargs


def call(*args: Any, **kwargs: Any) -> Call:
    return Call(cached_files, args, kwargs, repo="path_or_repo_id")


def test_arguments_are_read_and_put_however_they_came() -> None:
    positional = call("org/model", ["a.json"], "/cache", revision="v1")
    assert (positional.repo, positional.paths, positional.cache_dir) == ("org/model", ["a.json"], "/cache")
    positional.put("cache_dir", "/other")
    assert positional.run(revision="v2") == ("org/model", ["a.json"], "/other", {"revision": "v2"})
    named = call(path_or_repo_id="org/model", filenames=["a.json"], subfolder="sub", cache_dir=Path("/cache"))
    assert (named.paths, named.cache_dir) == (["sub/a.json"], "/cache")
    assert named.regular


@pytest.mark.parametrize(
    "arguments",
    [
        {"revision": ""},
        {"revision": 5},
        {"revision": b"main"},
        {"cache_dir": ""},
        {"cache_dir": 5},
        {"cache_dir": b"/cache"},
        {"cache_dir": "/\udcff"},
        {"filenames": ["../x"]},
        {"filenames": ["/etc/passwd"]},
        {"filenames": ["a/../config.json"]},
        {"filenames": ["config.json/"]},
        {"filenames": ["nul\0x"]},
        {"filenames": ["\ud800"]},
        {"filenames": [""]},
        {"filenames": ["c" * 300]},
        {"filenames": [5]},
        {"filenames": iter(["a"])},
        {"subfolder": "../x"},
    ],
)
def test_what_names_no_file_of_a_repo_is_the_original_s(arguments: dict[str, Any]) -> None:
    assert not call("org/model", **{"filenames": ["config.json"], **arguments}).regular


def test_a_trailing_slash_of_a_subfolder_is_fine() -> None:
    assert call("org/model", ["config.json"], subfolder="encoder/").regular


class Resolved(str):
    """A stand-in for huggingface_hub's ResolvedRevision."""

    resolved, initial, _repo_id = "c" * 40, "v1", "org/adapter"


def test_a_commit_that_was_resolved_for_another_repo_says_nothing() -> None:
    assert call("org/adapter", ["a.json"], revision=Resolved("v1")).revision.resolved == "c" * 40  # type: ignore[union-attr]
    assert call("org/base", ["a.json"], revision=Resolved("v1")).revision == "v1"


def test_a_single_file_has_a_path_too() -> None:
    def hf_hub_download(repo_id: str, filename: str, **kwargs: Any) -> None:
        pass

    alone = Call(hf_hub_download, ("org/model", "a.json"), {"subfolder": "sub"}, repo="repo_id")
    assert (alone.paths, alone.regular) == (["sub/a.json"], True)
    assert not Call(hf_hub_download, ("org/model", "../a.json"), {}, repo="repo_id").regular
    assert Call(hf_hub_download, ("org/model",), {}, repo="repo_id").paths == []
