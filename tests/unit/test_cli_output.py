from __future__ import annotations

import pytest
from rich.console import Console

from pinformers import _cli_output
from pinformers._cli_output import print_facts, print_table, print_with_prose

CID = "bafybeigmsdglwtp43ajgbub56mu2vba4g7np7vu3hbnplkd66kqnm5pqze"
SENTENCE = (
    "It cannot be reached, or what answers there is not a Kubo daemon; start it with `ipfs daemon`, or name another."
)
ROWS = [("wrong", "kubo", SENTENCE), ("ok", "locks", "They hold.")]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setattr(_cli_output, "console", lambda **_: Console(width=80, force_terminal=True))


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_its_lines_broken_between_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("", "AREA", "WHAT WAS SEEN"), ROWS)
    print_facts([("root CID", CID), ("why", SENTENCE)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)
    words = [word for line in lines for word in line.split()]
    assert [word for word in words if word in SENTENCE.split()] == SENTENCE.split() * 2
    assert CID in words


@pytest.mark.usefixtures("terminal")
def test_sentences_that_do_not_fit_beside_the_rest_come_below(capsys: pytest.CaptureFixture[str]) -> None:
    print_with_prose(("SETTING", "VALUE", "WHAT IT IS"), [("ca_bundle", "/etc/" + "x" * 50, SENTENCE), ("b", "-", "c")])
    first, _, second = capsys.readouterr().out.partition("\n\n")
    assert first.splitlines()[0].split() == ["SETTING", "VALUE"]
    assert second.splitlines()[0].split() == ["SETTING", "WHAT", "IT", "IS"]
    assert max(map(len, (first + second).splitlines())) <= 80


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_with_prose(("", "AREA", "WHAT WAS SEEN"), ROWS)
    assert SENTENCE in capsys.readouterr().out.splitlines()[1]
