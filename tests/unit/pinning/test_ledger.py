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


def test_threads_that_judge_at_once_do_not_disturb_each_other() -> None:
    """An OrderedDict whose keys hash in Python, as a Path does, is corrupted by threads until the interpreter dies."""
    noted = Ledger()
    noted.judge(Path("a"), 1, True)
    assert {type(key).__hash__ for key in noted._judged} == {str.__hash__}
