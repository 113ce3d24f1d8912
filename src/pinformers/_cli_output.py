"""How the command line speaks: tables on stdout, JSON on request, progress on stderr."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

# Into a pipe or a file: wide enough that no line breaks and grep finds whole CIDs.
PIPE_WIDTH = 400
# A CID has 59 characters; from this width on it fits beside the other columns.
CID_COLUMN_FROM = 160
# Sentences in a narrower column are one word a line.
LEAST_ROOM = 32
# At the end of a line, and before the code that ends its style.
_FILL = re.compile(r" +((?:\x1b\[[0-9;]*m)?)$")


def console(*, stderr: bool = False) -> Console:
    """Return a console that wraps nothing when it writes into a pipe."""
    found = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    return found if found.is_terminal else Console(stderr=stderr, width=PIPE_WIDTH, highlight=False, emoji=False)


def on_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is a terminal; one that was closed is None."""
    return stream is not None and stream.isatty()


def print_json(value: object) -> None:
    """Write one JSON document to stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def say(line: str = "") -> None:
    """Write a line to stdout."""
    click.echo(line)


def note(line: str) -> None:
    """Write a line to stderr."""
    click.echo(line, err=True)


def size(count: int | None) -> str:
    """Write a number of bytes for a person, in powers of 1000."""
    if count is None:
        return "?"
    return f"{count} B" if count < 1000 else decimal(count)


def plural(count: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Write a table; the columns named in ``right`` hold numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    cells = [*rows]
    room = _room([columns, *cells])
    for row in cells:
        table.add_row(*map(Text, row[:-1]), Text(_wrapped(row[-1], room)))
    _print(table)


def _room(rows: Sequence[Sequence[str]]) -> int | None:
    """Return how wide a terminal lets the last column be; None for a pipe, which breaks no line."""
    there = console()
    before = sum(max(len(row[at]) for row in rows) + 2 for at in range(len(rows[0]) - 1))
    return there.width - before if there.is_terminal else None


def _wrapped(text: str, room: int | None) -> str:
    """Break a text between words where a terminal would break it anywhere."""
    if room is None or room < LEAST_ROOM:
        return text
    return textwrap.fill(text, room, break_long_words=False, break_on_hyphens=False)


def print_with_prose(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table whose last column is sentences; on a terminal that is too narrow, in a table of its own."""
    room = _room([columns, *rows])
    if room is None or room >= LEAST_ROOM:
        print_table(columns, rows)
        return
    print_table(columns[:-1], [row[:-1] for row in rows])
    say()
    print_table((columns[0], columns[-1]), [(row[0], row[-1]) for row in rows])


def print_with_cids(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    """Write a table whose last column is a CID; where it does not fit, in a table of its own: none is broken."""
    if console().width >= CID_COLUMN_FROM:
        print_table(columns, rows, right)
        return
    print_table(columns[:-1], [row[:-1] for row in rows], right)
    say()
    print_table((columns[-1], columns[0]), [(row[-1], row[0]) for row in rows])


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Write names and values under each other."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    lines = [*facts]
    room = _room(lines)
    for name, value in lines:
        table.add_row(name, Text(_wrapped(value, room)))
    _print(table)


def _print(table: Table) -> None:
    # Never narrower than its content: a line that the terminal wraps can still be copied, a folded cell can not.
    out = Console(width=PIPE_WIDTH, force_terminal=console().is_terminal, highlight=False, emoji=False)
    with out.capture() as captured:
        out.print(table)
    # A table fills its lines up with spaces, which only a terminal does not show.
    click.echo("\n".join(_FILL.sub(r"\1", line) for line in captured.get().splitlines()))


class Bar:
    """A progress bar on stderr, shown only where that is a terminal."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None)
        self._passes = 1

    def begin(self, total: int, *, passes: int = 1) -> Bar:
        """Say how many bytes are to come, and how often each; the bar itself is called with each part of them."""
        self._passes = passes
        self._progress.update(self._task, total=total)
        return self

    def __call__(self, count: int) -> None:
        """Count bytes that are done."""
        self._progress.advance(self._task, count / self._passes)


@contextmanager
def progress_bar(label: str, *, quiet: bool = False) -> Iterator[Bar]:
    """Show how far a long piece of work is; leaves nothing behind."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    silent = quiet or not on_terminal(sys.stderr)
    with Progress(*columns, console=console(stderr=True), transient=True, disable=silent) as progress:
        yield Bar(progress, label)
