from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli_rooms import invoke, settle
from pin_rooms import REPO, make_resolver, pinned, write_folder
from pinformers.cli import root
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.lockfile import NAME, read_lock
from pinformers.pinning.pin import Pin
from pinformers.pinning.records import signature
from pinformers.pinning.resolver import Resolver

Run = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, of a user whose cache and records lie beside it."""
    settle(monkeypatch, tmp_path)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    return make_resolver(tmp_path)


@pytest.fixture
def model(resolver: Resolver, tmp_path: Path) -> Pin:
    """A complete pin of REPO at main."""
    return pin_folder(resolver, write_folder(tmp_path / "folder"), REPO).pin


def lock(*arguments: str, code: int = 0) -> Result:
    return invoke("lock", *arguments, code=code)


def states(*arguments: str, code: int = 0) -> dict[str, Any]:
    said = json.loads(lock(*arguments, "--json", code=code).stdout)
    return {f"{line['model']}@{line['revision']}": line["state"] for line in said["models"]}


def another(resolver: Resolver, repo: str, revision: str | None = "main", **changes: Any) -> Pin:
    """Record a pin of a small model."""
    pin = Pin(repo, "c" * 40, {"config.json": pinned(b"{}", size=2, blob_id="9" * 40)}, listed=True)
    pin = resolver.catalog.add(pin._replace(**changes))
    if revision is not None:
        resolver.catalog.set_ref(repo, revision, pin.commit)
    return pin


def test_the_first_lockfile_holds_all_that_is_pinned(project: Path, resolver: Resolver, model: Pin) -> None:
    another(resolver, "org/other", "v1")
    another(resolver, "org/by-commit", None)
    text = lock().stdout
    assert [line.split() for line in text.splitlines()[:4]] == [
        ["MODEL", "REVISION", "COMMIT", "FILES", "STATE"],
        ["org/by-commit", "c" * 40, "c" * 12, "1", "added"],
        [REPO, "main", model.commit[:12], "4", "added"],
        ["org/other", "v1", "c" * 12, "1", "added"],
    ]
    assert text.endswith(f"{project / NAME} was written.\n")
    found = read_lock(project / NAME)
    assert found.find(REPO) == model._replace(pinned_at="")
    assert set(found.pins) == {("org/by-commit", "c" * 40), (REPO, "main"), ("org/other", "v1")}


def test_what_is_not_complete_is_left_out_of_the_first(project: Path, resolver: Resolver, model: Pin) -> None:
    another(resolver, "org/half", others={"weights.bin": {"size": 9}})
    result = lock()
    assert "Left out: org/half@main has 1 file of 2 not pinned; run `pinformers pin org/half` first." in result.stderr
    assert list(read_lock(project / NAME).pins) == [(REPO, "main")]


def test_later_only_what_is_locked_is_brought_up_to_date(project: Path, resolver: Resolver, model: Pin) -> None:
    lock(REPO)
    another(resolver, "org/other")
    before = signature(project / NAME)
    assert states() == {f"{REPO}@main": "unchanged"}
    assert signature(project / NAME) == before
    moved = another(resolver, REPO, commit="d" * 40)
    assert states() == {f"{REPO}@main": "changed"}
    assert read_lock(project / NAME).pins == {(REPO, "main"): moved}


def test_a_named_model_is_added_and_the_others_stay(project: Path, resolver: Resolver, model: Pin) -> None:
    lock(REPO)
    another(resolver, "org/other", "v1")
    assert states("org/other", "--revision", "v1") == {"org/other@v1": "added"}
    assert set(read_lock(project / NAME).pins) == {(REPO, "main"), ("org/other", "v1")}
    # Named again, a model stands for the revisions that are locked of it.
    assert states("org/other") == {"org/other@v1": "unchanged"}


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({"repo": "org/unrelated"}, [], "org/m@main is not pinned here; run `pinformers pin org/m` first"),
        ({}, ["--revision", "v9"], "org/m@v9 is not pinned here; run `pinformers pin org/m --revision v9` first"),
        (
            {"others": {"b": {}, "c": {}}},
            [],
            "org/m@main has 2 files of 3 not pinned; run `pinformers pin org/m` first",
        ),
        ({"listed": False}, [], "org/m@main may have more files than are pinned; run `pinformers pin org/m --update`"),
    ],
    ids=["nothing", "another revision", "half", "perhaps half"],
)
def test_what_cannot_be_locked_is_one_sentence_and_nothing_is_written(
    project: Path, resolver: Resolver, model: Pin, changes: dict[str, Any], arguments: list[str], said: str
) -> None:
    another(resolver, **{"repo": "org/m"} | changes)
    result = lock("org/m", REPO, *arguments, code=1)
    assert f"pinformers: {said}" in result.stderr
    assert not (project / NAME).exists()


def test_a_name_by_content_needs_no_lock(project: Path, model: Pin) -> None:
    said = lock(f"ipfs://{model.root}", code=1).stderr
    assert said.startswith(f"pinformers: ipfs://{model.root}: it says itself what it must be")


def test_a_folder_in_the_place_of_the_lockfile(project: Path, model: Pin) -> None:
    (project / NAME).mkdir()
    assert lock(code=1).stderr == f"pinformers: {project / NAME}: Is a directory.\n"


def test_with_nothing_pinned_it_says_what_to_do(project: Path) -> None:
    assert "pinformers pin MODEL" in lock(code=1).stderr
    assert not (project / NAME).exists()


def test_check(project: Path, resolver: Resolver, model: Pin) -> None:
    assert "`pinformers lock` writes one" in lock("--check", code=1).stderr
    lock()
    before = (project / NAME).read_bytes()
    assert "says what is pinned, of 1 model." in lock("--check").stdout
    another(resolver, "org/other")
    lock("--check")
    assert "org/other@main is not locked." in lock("--check", "org/other", code=1).stderr
    another(resolver, REPO, commit="d" * 40)
    result = lock("--check", code=1)
    sentence = f"{REPO}@main is locked at {model.commit[:12]} and pinned at {'d' * 12}"
    assert result.stderr == f"pinformers: {sentence}.\n"
    (line,) = json.loads(lock("--check", "--json", code=1).stdout)["models"]
    assert line["differs"] == sentence
    assert (project / NAME).read_bytes() == before


def test_check_of_a_machine_that_has_only_the_lockfile(project: Path, resolver: Resolver, model: Pin) -> None:
    lock()
    resolver.catalog.remove(model)
    result = lock("--check")
    assert f"{REPO}@main is locked and not pinned here, so there was nothing to compare." in result.stdout
    assert f"Nothing contradicts {project / NAME}." in result.stdout
    assert states("--check") == {f"{REPO}@main": "absent"}
    assert "org/other@main is not pinned here" in lock("--check", "org/other", code=1).stderr
    # By a load, which leaves no branch of ours.
    found = make_resolver(project.parent).find(REPO, None)
    assert found is not None and resolver.catalog.ref(REPO, "main") is None
    assert "says what is pinned, of 1 model." in lock("--check").stdout
    assert states() == {f"{REPO}@main": "unchanged"}


def test_check_of_a_pin_that_is_not_whole_compares_what_is_there(project: Path, resolver: Resolver, model: Pin) -> None:
    lock()
    resolver.catalog.remove(model)
    one = {"config.json": model.files["config.json"]}
    part = model._replace(files=one, listed=False)
    resolver.catalog.add(part)
    assert f"{REPO}@main: 1 of 4 files are pinned here and agree." in lock("--check").stdout
    assert states("--check") == {f"{REPO}@main": "partly"}
    assert "may have more files than are pinned" in lock(code=1).stderr
    resolver.catalog.remove(part)
    resolver.catalog.add(part._replace(files={"config.json": pinned(b"other")}))
    assert "locked otherwise than it is pinned, at the same commit" in lock("--check", code=1).stderr


def test_other_facts_at_the_same_commit_differ(project: Path, resolver: Resolver) -> None:
    pin = another(resolver, REPO)
    lock()
    resolver.catalog.add(pin._replace(info={"pipeline_tag": "fill-mask"}))
    assert "locked otherwise than it is pinned, at the same commit" in lock("--check", code=1).stderr
    assert states() == {f"{REPO}@main": "changed"}
    lock("--check")


def test_the_lockfile_is_the_nearest_the_setting_or_the_option(
    project: Path, model: Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "src").mkdir()
    monkeypatch.chdir(project / "src")
    lock("-o", "own.lock")
    assert read_lock(project / "src" / "own.lock").find(REPO) is not None
    lock("-o", str(project / NAME))
    assert str(project / NAME) in lock().stdout
    assert not (project / "src" / NAME).exists()
    monkeypatch.setenv("PINFORMERS_LOCKFILE", str(project / "set.lock"))
    assert states() == {f"{REPO}@main": "added"}
    assert read_lock(project / "set.lock").find(REPO) is not None


def test_a_lockfile_makes_no_folders(project: Path, model: Pin) -> None:
    said = lock("-o", "nosuch/own.lock", code=1).stderr
    assert said == f"pinformers: nosuch/own.lock: the folder {project / 'nosuch'} is not there; make it first\n"
    assert not (project / "nosuch").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in the file system")
def test_a_device_is_not_replaced(project: Path, model: Pin) -> None:
    os.mkfifo(project / "pipe")
    assert "it is no regular file" in lock("-o", "pipe", code=1).stderr
    assert (project / "pipe").is_fifo()


def test_a_lockfile_with_a_fault_is_refused_and_stays(project: Path, model: Pin) -> None:
    (project / NAME).write_text("pinformers-lock 1\n<<<<<<< ours\n")
    result = lock(code=1)
    assert result.stderr.startswith(f"pinformers: {project / NAME}:2: a merge conflict is left here;")
    assert (project / NAME).read_text() == "pinformers-lock 1\n<<<<<<< ours\n"


def test_a_revision_is_for_named_models(project: Path) -> None:
    assert "for the models that you name" in lock("--revision", "v1", code=2).stderr


def test_run_sets_locked_for_the_command(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def become(name: str, arguments: list[str], environ: dict[str, str]) -> None:
        seen.update(environ)

    monkeypatch.setattr(os, "execvpe", become)
    for arguments, expected in ((["run", "--locked", "true"], "true"), (["run", "true"], None)):
        seen.clear()
        CliRunner().invoke(root, arguments)
        assert seen["PINFORMERS"] == "1"
        assert seen.get("PINFORMERS_LOCKED") == expected
