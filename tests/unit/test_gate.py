from __future__ import annotations

import logging

import pytest

import pinformers
from pinformers import _gate, _settings
from pinformers._gate import Verdict, judge

LINES = {
    "CI": "CI environment detected, disabling transformers patching",
    "TRANSFORMERS_PATCH_DISABLE": "Transformers patching disabled via environment variable",
    "STORAGE_FORCE_LOCAL": "Using local filesystem (distributed storage disabled)",
}
TRUTHY = ("1", "true", "True", "yes", "on", "anything", "2", "00", " true ", "none", "n")
FALSY = ("", "0", "false", "False", "FALSE", "no", "No", "off", "OFF", " 0 ", "  ")


@pytest.fixture(autouse=True)
def no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in LINES:
        monkeypatch.delenv(variable, raising=False)


def test_the_lines_of_a_patched_process() -> None:
    assert _gate.PATCHING == "Auto-patching transformers for distributed storage..."
    assert _gate.PATCHED.format(count=56) == "Successfully patched 56 transformers classes"


@pytest.mark.parametrize("force", [False, True])
def test_open_when_nothing_is_said(force: bool) -> None:
    assert judge(force=force) == Verdict(True, "")


@pytest.mark.parametrize("variable", LINES)
@pytest.mark.parametrize("value", TRUTHY)
def test_a_truthy_value_closes_the_gate(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    assert judge(force=False) == Verdict(False, LINES[variable])


@pytest.mark.parametrize("variable", LINES)
@pytest.mark.parametrize("value", FALSY)
def test_a_falsy_value_leaves_it_open(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    assert judge(force=False) == Verdict(True)


@pytest.mark.parametrize(("variable", "passes"), [(variable, variable == "CI") for variable in LINES])
def test_force_passes_ci_and_nothing_else(variable: str, passes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert judge(force=True) == Verdict(passes, "" if passes else LINES[variable])


def test_an_explicit_no_speaks_before_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("STORAGE_FORCE_LOCAL", "1")
    assert judge(force=True).line == judge(force=False).line == LINES["STORAGE_FORCE_LOCAL"]
    monkeypatch.setenv("TRANSFORMERS_PATCH_DISABLE", "1")
    assert judge(force=True).line == LINES["TRANSFORMERS_PATCH_DISABLE"]


def test_the_environment_is_read_at_each_question(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(force=False).open
    monkeypatch.setenv("CI", "1")
    assert not judge(force=False).open
    monkeypatch.delenv("CI")
    assert judge(force=False).open


@pytest.mark.parametrize("variable", LINES)
def test_a_closed_gate_gives_an_inactive_handle(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, "true")
    monkeypatch.delenv(_settings.CONFIG, raising=False)
    caplog.set_level(logging.INFO, logger="pinformers")
    with pinformers.enable() as handle:
        assert (handle.active, handle.reason) == (False, LINES[variable])
    handle.disable()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("pinformers", "INFO", LINES[variable])
    ]


def test_a_wrong_setting_stops_enable_before_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pinformers.SettingsError, match="on_miss"):
        pinformers.enable(on_miss="never")
    with pytest.raises(pinformers.SettingsError, match="sources"):
        pinformers.enable(sources="embedded,nobody")
