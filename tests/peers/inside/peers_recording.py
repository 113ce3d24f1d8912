"""Pytest plug-in: write down every outcome of a peer's suite, and assert that pinformers was on, or off, all along."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import sitecustomize

SAID = ("applied", "displaced", "reason", "pins", "hits", "misses", "fallbacks")


class Recorder:
    """Collect what pytest would print of each test; the file is written last, so a crash leaves none."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config, self._path = config, path
        self._outcomes: dict[str, list[tuple[str, str]]] = {}
        self._seconds: dict[str, float] = {}
        self._kept: set[str] | None = None

    def pytest_sessionstart(self) -> None:
        # On both sides alike, before a test module binds anything: what it binds is then the wrapped function.
        import transformers  # noqa: F401

        _state()
        if os.environ.get("PEERS_FORGET"):
            self._kept = {folder.name for folder in _pins()}

    def pytest_runtest_logfinish(self) -> None:
        # Every test has a cache of its own and calls its repo user/repo: a pin of the one before would answer.
        if self._kept is not None:
            _forget(self._kept)

    def pytest_collection_finish(self) -> None:
        # Not before: a module that asks at import and shrugs a failure off is to be collected.
        sitecustomize.refusal = _needs_network

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._outcomes[report.nodeid] = [("error", _message(report))]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        status: Any = self._config.hook.pytest_report_teststatus(report=report, config=self._config)
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if status[0]:
            self._outcomes.setdefault(report.nodeid, []).append((status[0], _message(report)))

    def pytest_sessionfinish(self) -> None:
        sitecustomize.refusal = sitecustomize.unreachable
        written = {"state": _state(), "outcomes": self._outcomes, "seconds": self._seconds}
        self._path.write_text(json.dumps(written, indent=1), encoding="utf-8")


def _state() -> dict[str, object]:
    if os.environ["PINFORMERS"] != "force":
        ours = sorted(name for name in sys.modules if name.startswith("pinformers."))
        if ours not in ([], ["pinformers._autostart"]):
            raise pytest.UsageError(f"This side is plain, and yet {', '.join(ours)} are loaded.")
        return {"applied": False}
    import pinformers

    status = pinformers.get_status()
    if not status["applied"] or status["displaced"]:
        raise pytest.UsageError(f"pinformers is not on: {status['reason']}. A comparison would say nothing.")
    return {**{name: status[name] for name in SAID}, "patched_classes": len(status["patched_classes"])}


def _pins() -> list[Path]:
    import pinformers

    return list((Path(pinformers.get_status()["state_dir"]) / "pins").glob("*"))


def _forget(kept: set[str]) -> None:
    import pinformers

    pinformers.flush(30)
    for folder in _pins():
        if folder.name not in kept:
            shutil.rmtree(folder)


def _message(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    if crash is not None:
        return str(crash.message)
    lines = str(report.longrepr or "").strip().splitlines()
    return next((line[1:].strip() for line in lines if line.startswith("E ")), lines[-1] if lines else "")


def _needs_network(host: str) -> BaseException:
    # No Exception: the client's retries and the `except` of a test let it pass.
    return pytest.skip.Exception("it asks a host beyond this machine")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(config, Path(os.environ["PEERS_OUTCOMES"])))
