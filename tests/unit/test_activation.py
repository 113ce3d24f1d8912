"""Activations one by one; what they do to a process is seen in processes of their own (test_startup, integration)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pinformers
from pinformers import _activation, _composition
from pinformers._activation import Handle
from pinformers.importing.finder import Finder


@pytest.fixture
def handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handle]:
    for name in ("CI", "TRANSFORMERS_PATCH_DISABLE", "STORAGE_FORCE_LOCAL"):
        monkeypatch.delenv(name, raising=False)
    with pinformers.enable(cache_dir=tmp_path / "hub", state_dir=tmp_path / "state", sources="embedded") as handle:
        yield handle
    pinformers.disable()


def finders() -> list[Any]:
    return [finder for finder in sys.meta_path if isinstance(finder, Finder)]


def test_ctrl_c_in_disable_leaves_nothing_behind(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(handle.resolver(), "close", wait)
    with pytest.raises(KeyboardInterrupt):
        pinformers.disable()
    assert finders() == []
    assert not pinformers.get_status()["enabled"]


def test_a_resolver_that_is_built_while_its_handle_ends_is_closed(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended, closed = threading.Event(), threading.Event(), threading.Event()

    def build(*_: object) -> Any:
        begun.set()
        assert ended.wait(10)
        return SimpleNamespace(close=closed.set)

    monkeypatch.setattr(_composition, "build_resolver", build)
    thread = threading.Thread(target=handle.resolver)
    thread.start()
    assert begun.wait(10)
    handle.disable()
    ended.set()
    thread.join()
    assert closed.is_set()


def test_the_scope_is_the_setting_s_whether_or_not_it_was_needed_yet(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pinformers.get_status()["scope"] == "transformers"
    monkeypatch.setenv("PINFORMERS_SCOPE", "hub")
    handle.disable()
    assert pinformers.get_status()["scope"] == "hub"
    monkeypatch.setattr(_activation._STATE, "_handles", [Handle(None, active=True, reason="", force=False)])
    assert pinformers.get_status()["scope"] == "hub"
