"""A name that is no hub name reaches each function as what it stands for; hub names that are not ours, untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub.utils import EntryNotFoundError

from pinformers.importing.answers import Answers
from pinformers.importing.downloads import Downloads
from pinformers.importing.heard import Heard
from pinformers.importing.questions import Questions

NAME, REPO, COMMIT = "elsewhere://thing", "elsewhere/thing", "c" * 40
PINNED = "org/pinned"
FILES = ("config.json", "sub/tokenizer.json", "model.bin")
Asked = tuple[tuple[Any, ...], dict[str, Any]]


class Thing:
    """What the name stands for."""

    repo, commit, info, hub_allowed = REPO, COMMIT, {"tags": ["a"]}, False
    kept = False

    def __init__(self) -> None:
        self.delivered: list[tuple[list[str], bool]] = []

    @property
    def listing(self) -> dict[str, dict[str, Any]]:
        return {path: {} for path in FILES}

    def has(self, path: str) -> bool:
        return path in FILES

    def deliver(self, paths: Sequence[str], *, local: bool) -> bool:
        self.delivered.append((list(paths), local))
        return True


class Knows:
    """A resolver that knows NAME, and notes which hub names it is asked for."""

    hub_allowed, locked = True, False

    def __init__(self, cache_dir: str | None = None) -> None:
        self.cache_dir, self.thing = cache_dir, Thing()
        self.referred: list[tuple[Any, ...]] = []
        self.resolved: list[str] = []

    def refer(
        self, name: str, revision: str | None, paths: Sequence[str], *, local: bool, cache_dir: str | None
    ) -> Thing | None:
        self.referred.append((name, revision, list(paths), local, cache_dir))
        return self.thing if name in (NAME, REPO) else None

    def resolve(self, repo: str, revision: str | None, *, moved: bool, **_: object) -> Thing | None:
        self.resolved.append(f"{repo}, moved" if moved else repo)
        return self.thing if repo == PINNED else None

    def seen(self, *_: object, **__: object) -> None:
        pass

    def listed(self, *_: object, **__: object) -> None:
        pass


@pytest.fixture
def resolver() -> Knows:
    return Knows("/moved")


def ask(resolver: Knows | None, name: str, function: Callable[..., Any]) -> Any:
    return getattr(Answers(lambda: resolver, Heard()), name)(function)  # type: ignore[arg-type,return-value]


def of_client(resolver: Knows | None, name: str, function: Callable[..., Any]) -> Any:
    """The same of huggingface_hub's own functions, in the scope in which they answer for such names alone."""
    for kind in (Downloads, Questions):
        found = kind(lambda: resolver, lambda: False, Heard())  # type: ignore[arg-type,return-value]
        if hasattr(found, name):
            return getattr(found, name)(function)
    raise AssertionError(name)


def hub_function(asked: list[Asked]) -> Callable[..., Any]:
    def function(repo_id: str, filename: str = "", revision: Any = None, **kwargs: Any) -> str:
        asked.append(((repo_id, filename, revision), kwargs))
        return "from the original"

    return function


@pytest.fixture
def asked() -> list[Asked]:
    return []


def test_a_download_is_made_of_what_the_name_stands_for(resolver: Knows, asked: list[Asked]) -> None:
    download = of_client(resolver, "hf_hub_download", hub_function(asked))
    assert download(NAME, "config.json", force_download=True) == "from the original"
    assert resolver.referred == [(NAME, None, ["config.json"], False, "/moved")]
    assert resolver.thing.delivered == [(["config.json"], False)]
    arguments, kwargs = asked[0]
    assert arguments == (REPO, "config.json", COMMIT)
    assert kwargs == {"force_download": False, "cache_dir": "/moved"}


def test_what_it_does_not_hold_is_absent_as_after_a_404(resolver: Knows, asked: list[Asked]) -> None:
    with pytest.raises(EntryNotFoundError, match=f"other.json is not among the files of {NAME}"):
        of_client(resolver, "hf_hub_download", hub_function(asked))(NAME, filename="other.json")
    assert asked == []


def test_a_subfolder_is_part_of_the_path(resolver: Knows, asked: list[Asked]) -> None:
    of_client(resolver, "hf_hub_download", hub_function(asked))(NAME, "tokenizer.json", subfolder="sub")
    assert resolver.thing.delivered == [(["sub/tokenizer.json"], False)]


def test_a_snapshot_brings_what_the_patterns_choose(resolver: Knows, asked: list[Asked]) -> None:
    snapshot = of_client(resolver, "snapshot_download", hub_function(asked))
    snapshot(NAME, allow_patterns="*.json", ignore_patterns=["sub/*"], local_files_only=True)
    assert resolver.thing.delivered == [(["config.json"], True)]
    assert asked[0][0] == (REPO, "", COMMIT)


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("file_exists", {"filename": "config.json"}, True),
        ("file_exists", {"filename": "other.json"}, False),
        ("repo_exists", {}, True),
        ("list_repo_files", {}, sorted(FILES)),
    ],
)
def test_questions_are_answered_without_the_hub(
    name: str, arguments: dict[str, str], answer: object, resolver: Knows, asked: list[Asked]
) -> None:
    asks = of_client if name == "file_exists" else ask
    assert asks(resolver, name, hub_function(asked))(NAME, **arguments) == answer
    assert asked == []


@pytest.mark.parametrize(("filename", "known"), [("config.json", True), ("./config.json", None), (None, None)])
def test_a_file_that_the_hub_writes_otherwise_is_the_original_s_to_find(
    filename: str | None, known: bool | None, resolver: Knows
) -> None:
    def has_file(path_or_repo: str, filename: Any, revision: Any = None, **_: object) -> Any:
        return "the original", filename

    found = ask(resolver, "has_file", has_file)(NAME, filename)
    assert found == (("the original", filename) if known is None else known)


def test_the_model_is_called_as_it_was_asked_for(resolver: Knows, asked: list[Asked]) -> None:
    for asks in (ask, of_client):
        info = asks(resolver, "model_info", hub_function(asked))(NAME)
        assert (info.id, info.sha, info.tags) == (NAME, COMMIT, ["a"])

    def original(path_or_repo_id: str, revision: Any = None) -> None:
        asked.append(((path_or_repo_id,), {}))

    revision = ask(resolver, "resolve_revision", original)(NAME)
    assert getattr(revision, "resolved", revision) == COMMIT
    assert asked == []


def test_a_revision_that_was_resolved_for_a_repo_is_not_asked_about_again(resolver: Knows, asked: list[Asked]) -> None:
    resolve = ask(resolver, "resolve_revision", hub_function(asked))
    revision = resolve(NAME)
    if hasattr(revision, "resolved"):
        resolver.referred.clear()
        assert resolve(NAME, revision=revision) is revision
        assert resolver.referred == []
        assert resolve(REPO, revision=revision) is not revision
        assert [name for name, *_ in resolver.referred] == [REPO]


def test_modules_are_looked_up_by_the_name_that_it_stands_for(resolver: Knows) -> None:
    def original(pretrained_model_name_or_path: str, module_file: str, revision: str | None = None, **_: Any) -> Any:
        return pretrained_model_name_or_path, module_file, revision

    wrapped = ask(resolver, "get_cached_module_file", original)
    assert wrapped(NAME, "modeling.py") == (REPO, "modeling.py", COMMIT)
    assert wrapped("org/model", "modeling.py") == ("org/model", "modeling.py", None)


@pytest.mark.parametrize("beside", [True, False])
def test_nobody_is_asked_to_convert_its_weights(beside: bool, resolver: Knows, asked: list[Asked]) -> None:
    def original(pretrained_model_name_or_path: str, ignore_errors_during_conversion: bool = False, **_: Any) -> None:
        asked.append(((pretrained_model_name_or_path,), {}))

    convert = ask(resolver, "auto_conversion", original)
    answer = convert(NAME, ignore_errors_during_conversion=beside, revision="main")
    assert answer == (None if beside else (None, "main", False))
    assert asked == []
    convert("org/model", ignore_errors_during_conversion=False)
    assert len(asked) == 1


def test_a_method_that_checks_names_is_called_with_what_the_name_stands_for(
    resolver: Knows, asked: list[Asked]
) -> None:
    def repo_exists(repo_id: str, repo_type: str | None = None) -> str:
        return repo_id

    assert of_client(resolver, "named", hub_function(asked))(NAME, "config.json") == "from the original"
    assert asked == [((REPO, "config.json", COMMIT), {})]
    assert of_client(resolver, "named", repo_exists)(NAME) == REPO
    assert of_client(resolver, "named", repo_exists)(NAME, repo_type="dataset") == NAME


@pytest.mark.parametrize("name", ["hf_hub_download", "snapshot_download", "file_exists", "get_paths_info", "named"])
def test_the_hub_s_own_names_pass_through_untouched(name: str, resolver: Knows, asked: list[Asked]) -> None:
    arguments = {"filename": "config.json", "force_download": True, "repo_type": "model"}
    assert of_client(resolver, name, hub_function(asked))("org/model", **arguments) == "from the original"
    assert asked == [(("org/model", "config.json", None), {"force_download": True, "repo_type": "model"})]
    assert resolver.resolved == []


def test_a_folder_of_that_name_wins(
    resolver: Knows, asked: list[Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / REPO).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    of_client(resolver, "hf_hub_download", hub_function(asked))(REPO, "config.json")
    assert asked[0][0] == (REPO, "config.json", None)
    assert resolver.referred == []


def test_a_data_set_is_none_of_these_names(resolver: Knows, asked: list[Asked]) -> None:
    of_client(resolver, "hf_hub_download", hub_function(asked))(NAME, "config.json", repo_type="dataset")
    assert asked[0][0] == (NAME, "config.json", None)


def test_switched_off_everything_passes_through(asked: list[Asked]) -> None:
    of_client(None, "hf_hub_download", hub_function(asked))(NAME, "config.json")
    assert asked == [((NAME, "config.json", None), {})]


def test_who_wrote_is_not_answered_with_what_was_there_before(resolver: Knows, asked: list[Asked]) -> None:
    heard, original = Heard(), hub_function(asked)
    current: Any = lambda: resolver  # noqa: E731
    heard.writing(lambda repo_id, repo_type=None: "done")("org/model")
    exists = Answers(current, heard).repo_exists(original)
    for function in (
        exists,
        Downloads(current, lambda: True, heard).hf_hub_download(original),
        Questions(current, lambda: True, heard).file_exists(original),
    ):
        # Whether it may be passed by, its settings say.
        assert function("org/model", "config.json") == "from the original"
        assert resolver.resolved == ["org/model, moved"]
        resolver.resolved.clear()
    # A commit stays what it was, and so does what is not of the hub.
    exists("org/model", revision="d" * 40)
    assert resolver.resolved == ["org/model"]
    assert exists(NAME) is True


@pytest.mark.parametrize("locked", [True, False])
def test_where_only_what_is_locked_may_be_loaded_no_download_is_forced(locked: bool, resolver: Knows) -> None:
    resolver.locked = locked  # type: ignore[misc]
    current: Any = lambda: resolver  # noqa: E731

    def cached_files(path_or_repo_id: str, filenames: list[str], revision: Any = None, **said: Any) -> list[str]:
        asked.append(said["force_download"])
        return []

    def download(repo_id: str, filename: str, revision: Any = None, **said: Any) -> None:
        asked.append(said["force_download"])

    asked: list[bool] = []
    Answers(current, Heard()).cached_files(cached_files)(PINNED, ["config.json"], force_download=True)
    Downloads(current, lambda: True, Heard()).hf_hub_download(download)(PINNED, "config.json", force_download=True)
    assert asked == [not locked] * 2
    assert resolver.thing.delivered == ([(["config.json"], False)] * 2 if locked else [])


def test_a_tree_is_refused_when_it_is_asked_for_and_comes_when_it_is_wanted(resolver: Knows) -> None:
    began: list[str] = []

    def entries(repo_id: str) -> Iterator[str]:
        began.append(repo_id)
        yield "entry"

    def original(repo_id: str, path_in_repo: str = "", recursive: bool = False, revision: Any = None) -> Any:
        if "//" in repo_id:
            raise ValueError(repo_id)
        return entries(repo_id)

    tree = ask(resolver, "list_repo_tree", original)
    with pytest.raises(ValueError, match="bad//name"):
        tree("bad//name")
    for extra in ({}, {"recursive": True, "revision": "d" * 40}):
        found = tree("org/model", **extra)
        assert began == []
        assert list(found) == ["entry"]
        began.clear()


def test_the_files_of_a_data_set_are_asked_for_as_such(resolver: Knows, monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def list_repo_tree(self, repo_id: str, **said: Any) -> Iterator[Any]:
            asked.append((repo_id, said["repo_type"], said["revision"]))
            yield SimpleNamespace(path="rows.csv", blob_id="b" * 40)

    def list_repo_files(self: Api, repo_id: str, *, revision: Any = None, repo_type: Any = None) -> list[str]:
        raise AssertionError("the commit is known")

    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Knows, "commit", lambda *_, **__: COMMIT, raising=False)
    files = ask(resolver, "list_repo_files", list_repo_files)
    assert files(Api(), "org/rows", repo_type="dataset") == files(Api(), "org/rows") == ["rows.csv"]
    assert asked == [("org/rows", "dataset", COMMIT), ("org/rows", None, COMMIT)]
