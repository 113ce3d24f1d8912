"""A question is about the pinned commit; the pin says what never changes, and stands in for a hub that is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

from pinformers.importing import hub_types
from pinformers.importing.calls import PLAIN, answered_by
from pinformers.importing.heard import Heard
from pinformers.importing.questions import Questions

REPO, COMMIT = "org/model", "c" * 40
LARGE = "sub/x.bin"
LISTING = {
    "a.txt": {"size": 2, "blob_id": "b" * 40},
    LARGE: {"size": 9, "lfs_sha256": "e" * 64, "lfs_size": 9},
    "sub/y/z": {},
}
Ask = Callable[..., Any]


class Pin:
    repo, commit, revision, info = REPO, COMMIT, "main", {"tags": ["a"], "pipeline_tag": None}
    kept = False

    def __init__(self, *, hub_allowed: bool = True) -> None:
        self.hub_allowed, self.listing = hub_allowed, LISTING

    def has(self, path: str) -> bool:
        return path in self.listing

    def entry(self, path: str) -> dict[str, Any] | None:
        return self.listing.get(path)


class Knows:
    """A resolver that has one pin."""

    cache_dir, hub_allowed = None, True

    def __init__(self, pin: Pin) -> None:
        self.pin, self.asked = pin, 0

    def refer(self, *_: object, **__: object) -> None:
        return None

    def resolve(self, repo: str, *_: object, **__: object) -> Pin | None:
        self.asked += 1
        return self.pin if repo == REPO else None


@pytest.fixture
def pin() -> Pin:
    return Pin()


@pytest.fixture
def resolver(pin: Pin) -> Knows:
    return Knows(pin)


def wrapped(name: str, resolver: Knows, original: Ask) -> Ask:
    questions = Questions(lambda: resolver, lambda: True, Heard())  # type: ignore[arg-type,return-value]
    function: Ask = getattr(questions, name)(original)
    return function


def offline(*_: object, **__: object) -> Any:
    raise OfflineModeIsEnabled("no network")


def echo(self: object, repo_id: str, revision: str | None = None, **kwargs: Any) -> Any:
    return repo_id, revision, kwargs


def test_paths_are_told_by_the_pin(resolver: Knows) -> None:
    def get_paths_info(self: object, repo_id: str, paths: Any, *, expand: bool = False, revision: Any = None) -> Any:
        return "asked", revision

    ask = wrapped("get_paths_info", resolver, get_paths_info)
    found = ask(None, REPO, ["a.txt", "sub", "sub/y", "nothing"])
    assert [(type(entry).__name__, entry.path) for entry in found] == [
        ("RepoFile", "a.txt"),
        ("RepoFolder", "sub"),
        ("RepoFolder", "sub/y"),
    ]
    assert [entry.path for entry in ask(None, REPO, "a.txt")] == ["a.txt"]
    # The last commit of a file is not in a pin.
    assert ask(None, REPO, ["a.txt"], expand=True) == ("asked", COMMIT)
    assert ask(None, "org/other", ["a.txt"]) == ("asked", None)


def test_the_hub_is_asked_about_the_pinned_commit(resolver: Knows) -> None:
    class Info:
        sha = COMMIT

    def model_info(self: object, repo_id: str, revision: str | None = None, **_: object) -> Any:
        found = Info()
        found.asked = revision  # type: ignore[attr-defined]
        return found

    assert wrapped("model_info", resolver, model_info)(None, REPO).asked == COMMIT
    assert wrapped("model_info", resolver, model_info)(None, "org/other").asked is None


def test_the_pin_stands_in_where_nobody_answers(resolver: Knows) -> None:
    def model_info(self: object, repo_id: str, revision: str | None = None, expand: Any = None) -> Any:
        offline()

    info = wrapped("model_info", resolver, model_info)(None, REPO)
    assert (info.id, info.sha, info.tags, info.pipeline_tag) == (REPO, COMMIT, ["a"], None)
    assert [file.rfilename for file in info.siblings] == sorted(LISTING)
    with pytest.raises(OfflineModeIsEnabled):
        wrapped("model_info", resolver, model_info)(None, REPO, expand=["likes"])
    with pytest.raises(OfflineModeIsEnabled):
        wrapped("model_info", resolver, model_info)(None, "org/other")


def test_a_refusal_is_a_refusal(resolver: Knows) -> None:
    def model_info(self: object, repo_id: str, revision: str | None = None) -> Any:
        try:
            hub_types.raise_absent(f"{constants.ENDPOINT}/api/models/{repo_id}/revision/{revision}", COMMIT)
        except EntryNotFoundError as exc:
            error = RepositoryNotFoundError(str(exc), response=exc.response)  # type: ignore[attr-defined]
        raise error

    with pytest.raises(RepositoryNotFoundError) as caught:
        wrapped("model_info", resolver, model_info)(None, REPO)
    # It speaks of what was asked for.
    assert f"/api/models/{REPO}." in str(caught.value) and COMMIT not in str(caught.value)


def test_an_error_at_the_commit_speaks_of_the_revision(resolver: Knows) -> None:
    def get_paths_info(self: object, repo_id: str, paths: Any, revision: Any = None, expand: bool = False) -> Any:
        words = f"404 for url: /api/models/{repo_id}/paths-info/{revision}.\nInvalid rev id: {revision}"
        try:
            hub_types.raise_absent(f"{constants.ENDPOINT}/api/models/{repo_id}/paths-info/{revision}", COMMIT)
        except EntryNotFoundError as exc:
            raise RepositoryNotFoundError(words, response=exc.response) from exc  # type: ignore[attr-defined]

    ask = wrapped("get_paths_info", resolver, get_paths_info)
    for revision, at, words in ((None, "main", "main"), ("refs/pr/1", "refs%2Fpr%2F1", "refs/pr/1"), (COMMIT,) * 3):
        with pytest.raises(RepositoryNotFoundError) as caught:
            ask(None, REPO, ["a.txt"], expand=True, revision=revision)
        assert caught.value.args[0] == f"404 for url: /api/models/{REPO}/paths-info/{at}.\nInvalid rev id: {words}"


def test_a_listing_says_of_a_large_file_what_the_hub_says(resolver: Knows) -> None:
    found = wrapped("list_repo_tree", resolver, echo)(None, REPO, recursive=True)
    files = [file for file in found if file.path == LARGE]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'e' * 64}\nsize 9\n"
    assert [(file.lfs.sha256, file.lfs.size, file.lfs.pointer_size) for file in files] == [("e" * 64, 9, len(pointer))]


def test_whether_a_kept_file_is_there_the_hub_says(resolver: Knows, pin: Pin) -> None:
    def file_exists(self: object, repo_id: str, filename: str, revision: str | None = None) -> Any:
        return "asked", revision

    ask = wrapped("file_exists", resolver, file_exists)
    assert ask(None, REPO, "a.txt") is True
    assert ask(None, REPO, "./a.txt") == ("asked", COMMIT), "the hub writes its paths otherwise"
    pin.hub_allowed = False
    assert [ask(None, REPO, name) for name in ("./a.txt", "./b.txt", ".")] == [True, False, False]
    pin.hub_allowed = True
    pin.kept = True
    assert ask(None, REPO, "a.txt") == ("asked", COMMIT)
    with pytest.raises(OfflineModeIsEnabled):
        wrapped("file_exists", resolver, lambda self, repo_id, filename, revision=None: offline())(None, REPO, "a.txt")


def test_where_the_hub_may_not_be_asked_it_is_not(resolver: Knows) -> None:
    resolver.pin.hub_allowed = resolver.hub_allowed = False  # type: ignore[misc]
    assert wrapped("dataset_info", resolver, echo)(None, REPO).sha == COMMIT
    with pytest.raises(OfflineModeIsEnabled, match="No pin answers for org/other"):
        wrapped("model_info", resolver, echo)(None, "org/other")


def test_the_metadata_of_a_file(resolver: Knows) -> None:
    def get_hf_file_metadata(url: str, timeout: float = 1, endpoint: str | None = None) -> Any:
        offline()

    ask = wrapped("get_hf_file_metadata", resolver, get_hf_file_metadata)
    found = ask(url=hf_hub_url(REPO, "sub/x.bin"))
    assert (found.commit_hash, found.etag, found.size) == (COMMIT, "e" * 64, 9)
    with pytest.raises(EntryNotFoundError, match=f"Entry Not Found for url: .*/{REPO}/resolve/main/no.txt"):
        ask(hf_hub_url(REPO, "no.txt"))
    for url in ("http://elsewhere/org/model/resolve/main/a.txt", f"{constants.ENDPOINT}/{REPO}/resolve/main/../a.txt"):
        with pytest.raises(OfflineModeIsEnabled):
            ask(url)
    # Of what the pin knows nothing more than the name, it cannot say it.
    with pytest.raises(OfflineModeIsEnabled):
        ask(hf_hub_url(REPO, "sub/y/z"))


def test_a_download_from_another_endpoint_is_answered_as_that(resolver: Knows, pin: Pin) -> None:
    def get_hf_file_metadata(url: str, timeout: float = 1, endpoint: str | None = None) -> str:
        return "asked"

    ask = wrapped("get_hf_file_metadata", resolver, get_hf_file_metadata)
    for endpoint in ("https://else.example", "https://else.example/"):
        url = f"https://else.example/{REPO}/resolve/{COMMIT}/a.txt"
        with answered_by(pin):  # type: ignore[arg-type]
            assert ask(url, endpoint=endpoint).etag == "b" * 40
        assert ask(url, endpoint=endpoint) == "asked"


def test_what_is_part_of_an_answer_is_answered_as_that(resolver: Knows, pin: Pin) -> None:
    def get_hf_file_metadata(url: str, timeout: float = 1) -> str:
        return "asked"

    ask = wrapped("get_hf_file_metadata", resolver, get_hf_file_metadata)
    url = hf_hub_url(REPO, "a.txt", revision=COMMIT)
    with answered_by(pin):  # type: ignore[arg-type]
        assert ask(url).etag == "b" * 40
        assert ask(hf_hub_url("org/other", "a.txt")) == "asked"
    with answered_by(PLAIN):
        assert ask(url) == "asked"
    pin.listing, pin.hub_allowed = {"a.txt": {}}, False
    with answered_by(pin), pytest.raises(OfflineModeIsEnabled, match="its pin does not say this"):  # type: ignore[arg-type]
        ask(url)
    assert resolver.asked == 0


@pytest.mark.parametrize("name", ["list_repo_tree", "_iter_repo_tree_pages"])
def test_a_tree_is_refused_when_it_is_asked_for_and_comes_when_it_is_wanted(name: str, resolver: Knows) -> None:
    began: list[str] = []

    def pages(repo_id: str) -> Any:
        began.append(repo_id)
        yield (["entry"], True) if name == "_iter_repo_tree_pages" else "entry"

    def original(self: object, repo_id: str, revision: str | None = None, recursive: bool = False) -> Any:
        if "//" in repo_id:
            raise ValueError(repo_id)
        return pages(repo_id)

    tree = wrapped(name, resolver, original)
    with pytest.raises(ValueError, match="bad//name"):
        tree(None, "bad//name")
    found = tree(None, "org/other")
    assert began == []
    assert [*found] == ([(["entry"], True)] if name == "_iter_repo_tree_pages" else ["entry"])


def test_a_listing_is_collected_for_who_listens_alone(resolver: Knows) -> None:
    pages = iter([(["entry"], True)])

    def original(self: object, repo_id: str, recursive: bool = False, revision: str | None = None) -> Any:
        return pages

    for everything in (True, False):
        questions = Questions(lambda: resolver, lambda e=everything: e, Heard())  # type: ignore[arg-type,return-value,misc]
        found = questions._iter_repo_tree_pages(original)(None, "org/other", recursive=True, revision=COMMIT)
        assert (found is pages) is not everything


@pytest.mark.parametrize(
    ("repo_type", "name"), [("model", "model"), ("dataset", "dataset"), ("space", "space"), (None, "model")]
)
def test_a_url_names_its_repo(repo_type: str | None, name: str) -> None:
    url = hf_hub_url(REPO, "sub/ü b.txt", repo_type=repo_type, revision="refs/pr/1")
    assert hub_types.named_by(url) == (REPO, name, "refs/pr/1", "sub/ü b.txt")
    assert hub_types.named_by(f"{url}?download=true") is None
