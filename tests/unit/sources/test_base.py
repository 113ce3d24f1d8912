from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from environment import clean_env
from pin_rooms import MemorySource
from pinformers._errors import SourceError, SourceUnavailable
from pinformers.ipfs.cid import CID
from pinformers.sources.base import Chain, Lazy, Source

CID_OF_NOTHING = CID.raw(bytes(32))


def away(name: str, *, expected: bool = True) -> Source:
    """A source that cannot be reached."""

    def build() -> Source:
        raise SourceUnavailable(name, "it is away")

    return Lazy(name, build, expected=expected)


@pytest.mark.parametrize(
    ("source", "tried"),
    [
        (away("gateway"), "gateway: it is away"),
        (MemorySource({}), "memory: it was never put here; kubo: it is away"),
    ],
    ids=["another is named", "none but this machine's"],
)
def test_who_is_absent_and_was_never_named_is_left_out_where_another_was(source: Source, tried: str) -> None:
    chain = Chain([source, away("kubo", expected=False)])
    with pytest.raises(SourceError) as caught:
        chain.fetch(CID_OF_NOTHING)
    assert caught.value.reason == tried


def test_who_is_there_and_does_not_have_it_is_named() -> None:
    there = Lazy("kubo", lambda: MemorySource({}), expected=False)
    with pytest.raises(SourceError) as caught:
        Chain([there, away("gateway")]).fetch(CID_OF_NOTHING)
    assert caught.value.reason == "kubo: it was never put here; gateway: it is away"


FORKED = """
import os, sys, threading
from pinformers.sources.base import Lazy
building, release = threading.Event(), threading.Event()
def slow():
    building.set()
    release.wait(60)
threading.Thread(target=lambda: Lazy("slow", slow).built).start()
building.wait(60)
child = os.fork()
if child == 0:
    os._exit(Lazy("quick", lambda: 0).built)
pid = os.wait()
release.set()
sys.exit(os.waitstatus_to_exitcode(pid[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_a_source_is_built_does_not_hang(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED]
    subprocess.run(command, env=clean_env(tmp_path), timeout=20, check=True)
