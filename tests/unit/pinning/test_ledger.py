from __future__ import annotations

from pathlib import Path

import pytest

from pinformers.pinning import ledger
from pinformers.pinning.ledger import Ledger, Served


def test_the_last_files_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST", 3)
    noted, served = Ledger(), Served("hub cache", "")
    for name in "abcad":
        noted.note("org/model", "c" * 40, name, served)
        noted.judge(Path(name), 1, True)
    assert [name for name in "abcd" if noted.served("org/model", "c" * 40, name)] == ["a", "c", "d"]
    assert [name for name in "abcd" if noted.verdict(Path(name), 1)] == ["a", "c", "d"]
