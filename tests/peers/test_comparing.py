"""The judge of the peers' suites: it sees every difference, and a run that was not what it says does not count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from environment import clean_env
from peers.comparing import NEEDS_NETWORK, Run, differences, normal
from peers.page import Result, render
from peers.suites import SUITES

INSIDE = Path(__file__).parent / "inside"
# Enough of it to be patched.
TRANSFORMERS = """
import sys
from types import ModuleType
module = ModuleType(__name__)
module._class_to_module = {"AutoModel": "models.auto.modeling_auto"}
sys.modules[__name__] = module
"""
TESTS = """
import os, socket, unittest
import pytest

def test_passes(): pass
def test_fails(tmp_path): assert not tmp_path
def test_asks():
    try: socket.create_connection(("192.0.2.1", 80))
    except Exception: pass
def test_asks_by_name():
    with pytest.raises(OSError): socket.getaddrinfo("example.org", 80)
def test_switch(): assert os.environ["PINFORMERS"] == "0"
def test_without_fixture(nobody_has_it): pass
class TestParts(unittest.TestCase):
    def test_parts(self):
        for part in range(3):
            with self.subTest(part=part): assert part != 1
"""


def run(folder: Path, switch: str, *, tests: str = TESTS) -> tuple[int, Run | None]:
    place = folder / switch
    place.mkdir(parents=True)
    (place / "transformers.py").write_text(TRANSFORMERS)
    (place / "test_it.py").write_text(tests)
    (place / "pytest.ini").write_text("[pytest]\n")
    (place / "tmp").mkdir()
    paths = f"{INSIDE}:{place}:{Path(__file__).parents[2] / 'src'}"
    variables = {"PYTHONPATH": paths, "PINFORMERS": switch, "PEERS_OUTCOMES": str(place / "o.json")}
    code = (
        "from pinformers._autostart import main; main()\n"
        "import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'peers_recording', 'test_it.py']))"
    )
    environment = clean_env(place / "home", TMPDIR=str(place / "tmp"), **variables)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True, timeout=120
    )
    written = place / "o.json"
    return done.returncode, Run.read(written, place) if written.exists() else None


def test_outcomes_are_told_and_compared(tmp_path: Path) -> None:
    plain, other = run(tmp_path, "0")[1], run(tmp_path, "force")[1]
    assert plain is not None and other is not None
    told = {test.rpartition("::")[2]: [kind for kind, _ in outcomes] for test, outcomes in plain.outcomes.items()}
    assert told["test_passes"] == ["passed"]
    assert told["test_fails"] == ["failed"]
    assert told["test_asks"] == told["test_asks_by_name"] == ["skipped"]
    assert told["test_without_fixture"] == ["error"]
    assert told["test_parts"].count("subtests passed") == 2 and "failed" in told["test_parts"]
    assert plain.counts() == {"passed": 2, "failed": 2, "skipped": 2, "error": 1}
    # Names of temporary folders are not the same in the two runs, and do not count; what pytest tells does.
    (difference,) = differences(plain, other)
    assert difference.test == "test_it.py::test_switch"
    assert str(difference).splitlines()[1] == "    without: passed"
    page = render(
        [Result(SUITES["hub"], {"plain": plain, "again": plain, "on": other})],
        dict.fromkeys(("plain", "again", "on"), "x"),
    )
    assert "| 7 | 2 | 2 | 1 | 2 | 2 | 0 | 0 |\n" in page
    assert "| 7 | 1 | 3 | 1 | 2 | 2 | 0 | 1 |\n" in page


def test_a_test_that_only_one_side_ran_is_a_difference() -> None:
    one, two = Run({"a": [("passed", "")]}), Run({"a": [("passed", "")], "b": [("passed", "")]})
    assert [difference.test for difference in differences(one, two)] == ["b"]
    assert differences(one, two, without=frozenset("b")) == []


OFF = "import pinformers\ndef test_it(): pinformers.disable()\n"
LOADED = "def test_it():\n    import pinformers\n    pinformers.get_status()\n"


@pytest.mark.parametrize(("switch", "tests"), [("force", OFF), ("0", LOADED)], ids=["off half-way", "on half-way"])
def test_a_run_that_was_not_what_it_says_does_not_count(switch: str, tests: str, tmp_path: Path) -> None:
    code, written = run(tmp_path, switch, tests=tests)
    assert code not in (0, 1)
    assert written is None


def test_messages_lose_what_is_another_on_every_run() -> None:
    message = "<Mock id='139'> at 0x7f28 in PLACE/tmp/pytest-of-ada/pytest-7/test_a0 of http://127.0.0.1:4711/x\nmore"
    assert normal(message) == "<Mock id=''> at 0x in TMP/test_a0 of http://LOOPBACK/x"
    assert NEEDS_NETWORK in (INSIDE / "peers_recording.py").read_text(encoding="utf-8")
