"""What is only asked about leaves no record; what is loaded has with it all that was heard."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pinformers.importing.calls import Call
from pinformers.importing.heard import SEVERAL, WRITES, Heard, Recent, files_of

COMMIT, OTHER = "c" * 40, "d" * 40


class Answered(OSError):
    """An error of the hub's client: the hub answered ``status``."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.response = SimpleNamespace(status_code=status)


def named(name: str, bases: type[Exception] = OSError, *args: object) -> Exception:
    """An error of a library, which is known by its name."""
    return type(name, (bases,), {})(*args)


def reasoned(reason: Exception) -> Exception:
    """What requests raises: the error of urllib3 says why."""
    return named("ConnectionError", OSError, SimpleNamespace(reason=reason), "(Request ID: 1)")


NO_NETWORK = reasoned(named("NameResolutionError", type(named("NewConnectionError"))))


class Told:
    """A resolver that notes what it is told."""

    def __init__(self) -> None:
        self.facts: list[tuple[Any, ...]] = []

    def seen(self, repo: str, revision: str | None, paths: list[str], *, repo_type: str) -> None:
        self.facts.append(("seen", repo_type, repo, len(paths)))

    def informed(self, repo: str, commit: str, *, repo_type: str, info: object) -> None:
        self.facts.append(("informed", repo_type, repo, commit, info))

    def listed(self, repo: str, commit: str, *, repo_type: str, entries: object) -> None:
        self.facts.append(("listed", repo_type, repo, commit, entries))


def call(repo: str, repo_type: str = "dataset") -> Call:
    def original(repo_id: str, repo_type: str) -> None: ...

    return Call(original, (repo, repo_type), {}, repo="repo_id")


@pytest.fixture
def told() -> Told:
    return Told()


def path(commit: str) -> str:
    return f"/cache/datasets--org--rows/snapshots/{commit}/rows.csv"


def test_what_is_heard_is_told_once_a_file_comes(told: Told) -> None:
    heard = Heard()
    heard.info(told, "org/rows", COMMIT, "dataset", "info")
    heard.tree(told, "org/rows", COMMIT, "dataset", ["entry"])
    heard.info(told, "org/rows", OTHER, "dataset", "of another commit")
    heard.info(told, "org/rows", COMMIT, "model", "of another type")
    assert told.facts == []
    heard.seen(told, call("org/rows"), [path(COMMIT)])  # type: ignore[arg-type]
    assert told.facts == [
        ("seen", "dataset", "org/rows", 1),
        ("informed", "dataset", "org/rows", COMMIT, "info"),
        ("listed", "dataset", "org/rows", COMMIT, ["entry"]),
    ]
    # What is heard of it later is told at once, and nothing twice.
    heard.info(told, "org/rows", COMMIT, "dataset", "later")
    heard.seen(told, call("org/rows"), [path(COMMIT)])  # type: ignore[arg-type]
    assert told.facts[3:] == [("informed", "dataset", "org/rows", COMMIT, "later"), ("seen", "dataset", "org/rows", 1)]


def test_with_nobody_to_tell_nothing_is_kept(told: Told) -> None:
    heard = Heard()
    heard.info(None, "org/rows", COMMIT, "dataset", "info")
    heard.seen(told, call("org/rows"), [path(COMMIT)])  # type: ignore[arg-type]
    assert told.facts == [("seen", "dataset", "org/rows", 1)]


def test_who_asks_about_many_repos_keeps_few(told: Told) -> None:
    heard = Heard()
    for number in range(20):
        heard.info(told, f"org/{number}", COMMIT, "dataset", number)
    for number in range(20):
        heard.seen(told, call(f"org/{number}"), [path(COMMIT)])  # type: ignore[arg-type]
    assert [fact[4] for fact in told.facts if fact[0] == "informed"] == list(range(12, 20))


def test_threads_may_keep_at_once() -> None:
    recent, failed = Recent[tuple[int, int], int](8), list[BaseException]()

    def keep(thread: int) -> None:
        try:
            for turn in range(3000):
                recent.keep((thread, turn % 50), turn)
        except RuntimeError as exc:
            failed.append(exc)

    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=keep, args=(thread,)) for thread in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failed == []
    assert len(recent) <= 8


def test_a_branch_that_was_written_to_may_have_moved() -> None:
    heard = Heard()
    commit = heard.writing(lambda repo_id, repo_type=None: "done")
    assert commit("org/model") == "done"
    assert heard.written("org/model", None, "model") and heard.written("org/model", "main", "model")
    assert not heard.written("org/model", COMMIT, "model")
    assert not heard.written("org/model", None, "dataset") and not heard.written("org/other", None, "model")


def test_a_moved_repo_is_another_under_both_names() -> None:
    heard = Heard()
    heard.writing(lambda from_id, to_id: None)("org/old", to_id="org/new")
    assert heard.written("org/old", None, "model") and heard.written("org/new", "main", "model")
    assert len(heard._written) == 2


@pytest.mark.parametrize("failure", [Answered(403), named("OfflineModeIsEnabled", ConnectionError), NO_NETWORK])
def test_what_could_not_be_written_was_not(failure: Exception) -> None:
    heard = Heard()

    def refused(repo_id: str) -> None:
        raise failure

    with pytest.raises(type(failure)):
        heard.writing(refused)("org/model")
    assert not heard.written("org/model", None, "model")


@pytest.mark.parametrize(
    "failure", [TimeoutError(), Answered(502), KeyboardInterrupt(), reasoned(named("ProtocolError"))]
)
def test_what_was_written_and_not_answered_may_have_been(failure: BaseException) -> None:
    heard = Heard()

    def lost(repo_id: str) -> None:
        raise failure

    with pytest.raises(type(failure)):
        heard.writing(lost)("org/model")
    assert heard.written("org/model", None, "model")


@pytest.mark.parametrize("failure", [Answered(412), named("ConnectError"), NO_NETWORK])
@pytest.mark.parametrize("name", SEVERAL)
def test_of_several_requests_an_earlier_one_may_have_written(name: str, failure: Exception) -> None:
    heard = Heard()

    def write(repo_id: str) -> None:
        raise failure

    write.__name__ = name
    with pytest.raises(type(failure)):
        heard.writing(write)("org/model")
    assert name in WRITES and heard.written("org/model", None, "model")


def test_what_is_kept_is_the_last(told: Told) -> None:
    recent: Recent[int, str] = Recent(3)
    for number in (0, 1, 2, 0, 3, 4):
        recent.keep(number, str(number))
    assert recent == {0: "0", 3: "3", 4: "4"}
    heard = Heard()
    for number in range(300):
        heard.seen(told, call(f"org/{number}"), [path(COMMIT)])  # type: ignore[arg-type]
    assert len(heard._loaded) == 256


def test_the_files_of_a_snapshot(tmp_path: Any) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a", "sub/b"):
        (tmp_path / name).touch()
    assert sorted(files_of(str(tmp_path))) == [str(tmp_path / "a"), str(tmp_path / "sub" / "b")]
