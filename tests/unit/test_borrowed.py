from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from environment import clean_env
from pinformers._borrowed import Borrowed


class Setting:
    """One value, and what is done when it is read or written."""

    def __init__(self) -> None:
        self.value, self.interrupt = 5, False

    def read(self) -> int:
        return self.value

    def write(self, value: int) -> None:
        self.value = value
        if self.interrupt:
            self.interrupt = False
            raise KeyboardInterrupt


@pytest.fixture
def setting() -> Setting:
    return Setting()


@pytest.fixture
def borrowed(setting: Setting) -> Borrowed[int]:
    return Borrowed(setting.read, setting.write, lambda before: before - 1)


def test_it_is_changed_while_anybody_asks_for_that(setting: Setting, borrowed: Borrowed[int]) -> None:
    with borrowed:
        borrowed.take()
        assert setting.value == 4
        borrowed.give_back()
        assert setting.value == 4
    assert setting.value == 5


def test_it_is_put_back_where_something_fails(setting: Setting, borrowed: Borrowed[int]) -> None:
    with pytest.raises(LookupError), borrowed:
        raise LookupError
    assert setting.value == 5


def test_what_somebody_else_has_set_meanwhile_stays(setting: Setting, borrowed: Borrowed[int]) -> None:
    with borrowed:
        setting.value = 7
    assert setting.value == 7
    with borrowed:
        assert setting.value == 6
    assert setting.value == 7


def test_an_interrupt_while_it_is_changed_changes_nothing(setting: Setting, borrowed: Borrowed[int]) -> None:
    setting.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        borrowed.take()
    assert setting.value == 5
    with borrowed:
        assert setting.value == 4
    assert setting.value == 5


FORKED = """
import os, sys
from pinformers._borrowed import COLLECTOR
import gc
with COLLECTOR:
    child = os.fork()
    if child == 0:
        assert gc.isenabled()
if child == 0:
    with COLLECTOR:
        assert not gc.isenabled()
    os._exit(0 if gc.isenabled() else 1)
assert gc.isenabled()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_it_back(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", FORKED], env=clean_env(tmp_path), timeout=60).returncode == 0
