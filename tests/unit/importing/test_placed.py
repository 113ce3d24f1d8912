"""What a pin has put in place is answered as transformers' own ``cached_files`` answers, without asking it."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import hub

from pinformers.importing.answers import Answers
from pinformers.importing.heard import Heard

REPO, FOLDER, COMMIT = "org/pinned", "models--org--pinned", "c" * 40
FILES = ("config.json", "model.bin", "sub/tokenizer.json", "sub/deep/a.json")
QUIET = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_gated_repo": False,
    "_raise_exceptions_for_connection_errors": False,
}


class Pinned:
    """A pin whose files lie in place."""

    repo, folder, commit, revision, hub_allowed, kept = REPO, FOLDER, COMMIT, "main", False, False

    def has(self, path: str) -> bool:
        return path in FILES

    def deliver(self, paths: Sequence[str], *, local: bool) -> bool:
        return True


class Knows:
    """A resolver that knows that pin."""

    cache_dir, hub_allowed, locked = None, False, False

    def refer(self, *_: object, **__: object) -> None:
        return None

    def resolve(self, repo: str, *_: object, **__: object) -> Pinned | None:
        return Pinned() if repo == REPO else None

    def seen(self, *_: object, **__: object) -> None:
        pass


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub" / FOLDER
    for path in FILES:
        target = folder / "snapshots" / COMMIT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path, encoding="ascii")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT, encoding="ascii")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    if hasattr(hub, "TRANSFORMERS_CACHE"):
        monkeypatch.setattr(hub, "TRANSFORMERS_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The folders that were listed, as transformers lists the snapshots for each file."""
    seen: list[str] = []
    listdir = os.listdir

    def listed(path: Any = ".") -> list[str]:
        seen.append(str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", listed)
    yield seen


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[str, Any]:
    try:
        return "returned", function(*args, **kwargs)
    except Exception as exc:
        return type(exc).__name__, str(exc)


def ask() -> Callable[..., Any]:
    return Answers(lambda: Knows(), Heard()).cached_files(hub.cached_files)  # type: ignore[arg-type,return-value]


CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "one": ((["config.json"],), {}),
    "two": ((["config.json", "model.bin"],), {}),
    "a tuple": ((("config.json", "model.bin"),), {}),
    "the same twice": ((["config.json", "config.json"],), {}),
    "a subfolder": ((["tokenizer.json"],), {"subfolder": "sub"}),
    "no subfolder": ((["config.json"],), {"subfolder": None}),
    "folders in the name": ((["sub/deep/a.json"],), {"subfolder": ""}),
    "both": ((["deep/a.json"],), {"subfolder": "sub"}),
    "a cache": ((["config.json"],), {"cache_dir": "{}/hub"}),
    "a cache with a slash": ((["config.json"],), {"cache_dir": "{}/hub/"}),
    "a relative cache": ((["config.json"],), {"cache_dir": "hub"}),
    "a cache by its place": ((["config.json"], "{}/hub"), {}),
    "words that change nothing": ((["config.json"],), {"token": "t", "proxies": {}, "user_agent": "me", **QUIET}),
    "the type": ((["config.json"],), {"repo_type": "model"}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_hit_is_what_transformers_returns(cache: Path, looks: list[str], name: str) -> None:
    said, words = CALLS[name]
    args = [value.format(cache) if isinstance(value, str) else value for value in said]
    kwargs = {key: value.format(cache) if key == "cache_dir" else value for key, value in words.items()}
    found = outcome(ask(), REPO, *args, **kwargs)
    assert looks == []
    assert found == outcome(hub.cached_files, REPO, *args, **kwargs, revision=COMMIT, local_files_only=True)
    assert found[0] == "returned"
    assert len(found[1]) == len(args[0])


@pytest.mark.parametrize("files", [["other.json"], ["config.json", "other.json"], ["other.json", "config.json"]])
def test_what_is_known_to_be_missing_is_left_out_where_that_is_wanted(
    cache: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch, files: list[str]
) -> None:
    marker = cache / "hub" / FOLDER / ".no_exist" / COMMIT / "other.json"
    marker.parent.mkdir(parents=True)
    marker.touch()
    found = outcome(ask(), REPO, files, **QUIET)
    assert looks == []
    assert found == outcome(hub.cached_files, REPO, files, **QUIET, revision=COMMIT, local_files_only=True)
    for told in ({}, {"_raise_exceptions_for_missing_entries": True}):
        assert outcome(ask(), REPO, files, **told)[0] == "OSError"
    # Whether there is one, the pin does not know, and nothing notes it.
    looks.clear()
    marker.unlink()
    monkeypatch.setattr(Pinned, "has", lambda _, path: path in FILES or None)
    assert outcome(ask(), REPO, files, **QUIET) == found
    assert looks != []


@pytest.mark.parametrize("kwargs", [{}, QUIET])
@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["other.json"], {}),
        (["config.json", "other.json"], {}),
        (["./config.json"], {}),
        (["config.json"], {"cache_dir": "~/hub"}),
        (["config.json"], {"cache_dir": "empty"}),
        (["tokenizer.json"], {"subfolder": "sub/"}),
    ],
)
def test_what_is_no_hit_transformers_answers_itself(
    cache: Path, files: list[str], words: dict[str, Any], kwargs: dict[str, Any]
) -> None:
    found = outcome(ask(), REPO, files, **words, **kwargs)
    said = outcome(hub.cached_files, REPO, files, **words, **kwargs, revision=COMMIT, local_files_only=True)
    assert (found[0], "None" in str(found[1])) == (said[0], "None" in str(said[1]))
    if found[0] == "returned":
        assert found == said


@pytest.mark.parametrize("name", ["try_to_load_from_cache", "hf_hub_download"])
@pytest.mark.parametrize("like", [lambda _: lambda function: function, functools.wraps], ids=["theirs", "wraps"])
def test_what_others_put_under_it_is_asked(
    cache: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch, name: str, like: Callable[..., Any]
) -> None:
    original = getattr(hub, name)

    @like(original)
    def theirs(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    monkeypatch.setattr(hub, name, theirs)
    assert ask()(REPO, ["config.json"]) == [str(cache / "hub" / FOLDER / "snapshots" / COMMIT / "config.json")]
    assert looks != []


def test_what_another_s_loader_has_compiled_is_asked(
    cache: Path, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of typeguard has it look at its arguments."""
    monkeypatch.setattr(hub, "__loader__", type("Theirs", (SourceFileLoader,), {})(hub.__name__, str(hub.__file__)))
    assert ask()(REPO, ["config.json"]) == [str(cache / "hub" / FOLDER / "snapshots" / COMMIT / "config.json")]
    assert looks != []


def test_the_commit_that_an_earlier_file_settled_comes_first(cache: Path) -> None:
    earlier = "e" * 40
    other = cache / "hub" / FOLDER / "snapshots" / earlier / "config.json"
    other.parent.mkdir()
    other.write_text("of the earlier commit", encoding="ascii")
    settled = {"_commit_hash": earlier} if "_commit_hash" in inspect.signature(hub.cached_files).parameters else {}
    found = ask()(REPO, ["config.json"], revision="main", **settled)
    assert found == hub.cached_files(REPO, ["config.json"], revision=COMMIT, local_files_only=True, **settled)
