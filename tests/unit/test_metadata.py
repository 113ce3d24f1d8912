from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pinformers import _metadata

UNTOUCHED = """
import importlib.metadata, sys
from importlib.machinery import PathFinder
before = (list(sys.meta_path), PathFinder.find_distributions)
from pinformers import _metadata
assert _metadata.version("pinformers")
assert "importlib_metadata" in sys.modules
assert (list(sys.meta_path), PathFinder.find_distributions) == before
assert importlib.metadata.version("pinformers")
"""

MEANWHILE = """
import sys, threading, time
from pinformers import _metadata
class Finder:
    find_spec = lambda self, *_: None
class Meanwhile(Finder):
    def find_spec(self, name, *_):
        if name.startswith("importlib_metadata.") and not threads:
            threads.append(threading.Thread(target=lambda: said.append(_metadata.version("filelock"))))
            threads[0].start()
            sys.meta_path.append(theirs)
            time.sleep(0.2)
theirs, threads, said = Finder(), [], []
sys.meta_path.insert(0, Meanwhile())
assert _metadata.version("filelock")
threads[0].join()
assert theirs in sys.meta_path
assert said == [_metadata.version("filelock")], said
"""


def test_versions_are_those_of_the_standard_library() -> None:
    assert _metadata.version("filelock") == metadata.version("filelock")
    assert _metadata.version("huggingface_hub") == metadata.version("huggingface_hub")
    assert _metadata.version("no-such-distribution") is None


def test_asking_leaves_the_interpreter_as_it_was() -> None:
    subprocess.run([sys.executable, "-c", UNTOUCHED], check=True)


def test_asking_waits_for_another_thread_s_import_and_keeps_what_it_installs() -> None:
    subprocess.run([sys.executable, "-c", MEANWHILE], check=True)


def test_entry_points_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "plug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pinformers.sources]\nmemory = plug:source\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert _metadata.entry_points("pinformers.sources")["memory"].value == "plug:source"
    assert _metadata.entry_points("no.such.group") == {}
