"""What the setting ``publish`` does where no daemon answers: nobody listens at the discard port."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from cli_rooms import invoke, settle
from pin_rooms import FILES, REPO, make_resolver, write_folder
from pinformers._composition import build_sharing
from pinformers._errors import SourceUnavailable
from pinformers._settings import Settings
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pin import Pin
from pinformers.pinning.recorder import Job
from pinformers.pinning.resolver import Resolver

NOBODY = "/ip4/127.0.0.1/tcp/9"


@pytest.fixture
def pin(tmp_path: Path) -> Pin:
    return pin_folder(make_resolver(tmp_path), write_folder(tmp_path / "folder"), REPO).pin


def process(tmp_path: Path, publish: str) -> Resolver:
    return make_resolver(tmp_path, publish=publish, kubo_api=NOBODY)


def job(tmp_path: Path, pin: Pin) -> Job:
    return Job(REPO, "model", pin.commit, str(tmp_path / "hub"))


def test_never_has_no_publisher(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path / "hub", state_dir=tmp_path / "pinformers", publish="never")
    assert build_sharing(settings).publisher() is None


def test_auto_says_nothing_and_keeps_it_for_the_next_process(
    tmp_path: Path, pin: Pin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pinformers")
    recorder = process(tmp_path, "auto").recorder
    recorder.add(job(tmp_path, pin))
    assert recorder.flush(30)
    (said,) = [record for record in caplog.records if "is not published" in record.getMessage()]
    assert said.levelno == logging.DEBUG
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert len(list((tmp_path / "pinformers" / "offers").glob("*.json"))) == 1


def test_required_says_so_and_keeps_it_for_the_next_process(
    tmp_path: Path, pin: Pin, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = process(tmp_path, "required").recorder
    recorder.add(job(tmp_path, pin))
    assert not recorder.flush(30)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{REPO} is pinned and not published yet: ") and said.endswith(
        "The next process tries again."
    )
    assert len(list((tmp_path / "pinformers" / "offers").glob("*.json"))) == 1


@pytest.mark.parametrize("publish", ["auto", "required"])
def test_a_load_from_the_pin_is_none_the_worse(tmp_path: Path, pin: Pin, publish: str) -> None:
    resolver = process(tmp_path, publish)
    found = resolver.resolve(REPO, None)
    assert found is not None and found.deliver(list(FILES))
    assert resolver.recorder.flush(30) == (publish == "auto")


def test_what_is_stopped_is_no_failure(tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinformers.sources.kubo.KuboNode.version", lambda _: "0.43.0")
    monkeypatch.setattr("pinformers.sources.kubo.KuboNode.pins", lambda *_: {})
    settings = Settings(cache_dir=tmp_path / "hub", state_dir=tmp_path / "pinformers", publish="auto", kubo_api=NOBODY)
    publisher = build_sharing(settings).publisher()
    assert publisher is not None
    with pytest.raises(InterruptedError):
        publisher(pin, lambda: True)
    assert not publisher(pin, lambda: False), "then it gets as far as to the daemon"


def test_a_daemon_that_refuses_is_news_in_auto_too(
    tmp_path: Path, pin: Pin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise OSError(28, "No space left on device")

    caplog.set_level(logging.INFO, "pinformers")
    monkeypatch.setattr("pinformers.sources.kubo.KuboNode.version", refuse)
    recorder = process(tmp_path, "auto").recorder
    recorder.add(job(tmp_path, pin))
    assert recorder.flush(30)
    assert f"{REPO} is not published: " in caplog.text


@pytest.mark.parametrize(("publish", "code"), [("auto", 0), ("required", 1)])
def test_flush_of_the_command_line(
    tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch, publish: str, code: int
) -> None:
    settle(monkeypatch, tmp_path, kubo_api=NOBODY, publish=publish)
    make_resolver(tmp_path, publish=publish, kubo_api=NOBODY).recorder.add(job(tmp_path, pin))
    said = invoke("flush", code=code)
    assert ("could be published yet" in said.stderr) == bool(code)
    assert json.loads(invoke("flush", "--json", code=code).stdout) == {"done": not code, "left": []}


def test_an_unavailable_daemon_is_told_from_other_faults(tmp_path: Path, pin: Pin) -> None:
    settings = Settings(
        cache_dir=tmp_path / "hub", state_dir=tmp_path / "pinformers", publish="required", kubo_api=NOBODY
    )
    publisher = build_sharing(settings).publisher()
    assert publisher is not None
    with pytest.raises(SourceUnavailable, match="kubo"):
        publisher(pin, lambda: False)
