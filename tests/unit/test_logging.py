from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator

import pytest

import pinformers
from pinformers import _logging

LINE = "Auto-patching transformers for distributed storage..."
ROOT = logging.getLogger()


@contextlib.contextmanager
def unconfigured(*, root: logging.Handler | None = None, own: logging.Handler | None = None) -> Iterator[None]:
    """Take pytest's handlers away: an application that configured nothing, or just these handlers."""
    kept = list(ROOT.handlers)
    ROOT.handlers[:] = [] if root is None else [root]
    if own is not None:
        _logging.LOGGER.addHandler(own)
    try:
        yield
    finally:
        ROOT.handlers[:] = kept
        if own is not None:
            _logging.LOGGER.removeHandler(own)


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    found = _logging.LOGGER
    level, propagate = found.level, found.propagate
    yield found
    _logging.detach()
    found.setLevel(level)
    found.propagate = propagate


def test_stderr_has_the_line_when_the_application_configured_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    _logging.attach("info")
    with unconfigured():
        _logging.say(LINE)
        _logging.LOGGER.warning("careful: %s", "why")
    assert capfd.readouterr() == ("", f"[INFO] {LINE}\n[WARNING] careful: why\n")


def test_stderr_has_the_line_once_when_only_a_level_is_set(
    capfd: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    _logging.attach("info")
    _logging.attach("info")
    logger.setLevel(logging.INFO)
    with unconfigured():
        _logging.say(LINE)
    assert capfd.readouterr() == ("", f"[INFO] {LINE}\n")


@pytest.mark.parametrize("place", ["root", "own"])
def test_an_application_with_a_handler_gets_the_record_and_stderr_nothing(
    place: str, capfd: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    theirs = io.StringIO()
    _logging.attach("info")
    logger.setLevel(logging.INFO)
    with unconfigured(**{place: logging.StreamHandler(theirs)}):
        _logging.say(LINE)
    assert capfd.readouterr() == ("", "")
    assert theirs.getvalue() == f"{LINE}\n"


@pytest.mark.parametrize("place", ["root", "own"])
def test_an_application_that_configured_warnings_only_sees_nothing(
    place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    theirs = io.StringIO()
    _logging.attach("info")
    with unconfigured(**{place: logging.StreamHandler(theirs)}):
        _logging.say(LINE)
    assert capfd.readouterr() == ("", "")
    assert theirs.getvalue() == ""


def test_a_root_handler_that_the_record_cannot_reach_does_not_count(
    capfd: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    theirs = io.StringIO()
    logger.propagate = False
    _logging.attach("info")
    with unconfigured(root=logging.StreamHandler(theirs)):
        _logging.say(LINE)
    assert (capfd.readouterr().err, theirs.getvalue()) == (f"[INFO] {LINE}\n", "")


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("debug", ["INFO", "WARNING", "ERROR"]),
        ("info", ["INFO", "WARNING", "ERROR"]),
        ("warning", ["WARNING", "ERROR"]),
        ("error", ["ERROR"]),
        ("off", []),
    ],
)
@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO])
def test_log_says_from_which_level_on(
    log: str, shown: list[str], level: int, capfd: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    logger.setLevel(level)
    _logging.attach(log)
    with unconfigured():
        _logging.say("one")
        logger.warning("two")
        logger.error("three")
    words = {"INFO": "one", "WARNING": "two", "ERROR": "three"}
    assert capfd.readouterr() == ("", "".join(f"[{name}] {words[name]}\n" for name in shown))


@pytest.mark.parametrize("log", ["info", "off"])
def test_caplog_sees_the_record_on_our_logger_at_info(log: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="pinformers")
    _logging.attach(log)
    _logging.say(LINE)
    assert caplog.record_tuples == [("pinformers", logging.INFO, LINE)]


def test_detach_leaves_the_logger_as_it_was(logger: logging.Logger) -> None:
    before = list(logger.handlers)
    _logging.attach("info")
    assert logger.handlers != before
    _logging.detach()
    _logging.detach()
    assert logger.handlers == before
    assert (logger.level, logger.propagate, logger.disabled) == (logging.NOTSET, True, False)


def test_a_process_without_stderr_goes_on(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    _logging.attach("info")
    monkeypatch.setattr(sys, "stderr", None)
    with unconfigured():
        _logging.say(LINE)
    assert capfd.readouterr() == ("", "")


def test_a_process_whose_stderr_is_gone_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon closes it, a pipe's reader ends: `import transformers` may not fail by a line that nobody reads."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    closed = io.StringIO()
    closed.close()
    _logging.attach("info")
    for stream in (closed, Broken()):
        monkeypatch.setattr(sys, "stderr", stream)
        with unconfigured():
            _logging.say(LINE)


def test_the_innermost_activation_says_what_is_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    for variable in ("CI", "TRANSFORMERS_PATCH_DISABLE", "STORAGE_FORCE_LOCAL", "PINFORMERS_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    with unconfigured(), pinformers.enable(log="warning"):
        with pinformers.enable(log="off"):
            logger.error("one")
        logger.error("two")
        monkeypatch.setenv("CI", "true")
        assert not pinformers.enable(log="off").active
        logger.error("three")
    assert capfd.readouterr() == ("", "[ERROR] two\n[ERROR] three\n")
    assert logger.handlers == []
