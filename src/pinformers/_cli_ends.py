"""What all commands share: their options, their exit code, one sentence on stderr where something is wrong."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar

import click

from pinformers._errors import PinformersError, SettingsError

F = TypeVar("F", bound=Callable[..., Any])
WRONG = 1
USAGE = 2
# As a shell says of a process that SIGINT ended.
INTERRUPTED = 130


class Commands(click.Group):
    """List commands in the order in which they are written, and end every error of ours with one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as exc:
            _end(str(exc), USAGE)
        except PinformersError as exc:
            _end(f"{exc}{_advice(exc)}", WRONG)
        except OSError as exc:
            if exc.errno == errno.EPIPE:
                raise
            _end(f"{_sentence(exc)}{_advice(exc)}", WRONG)
        except (KeyboardInterrupt, click.Abort):
            # A question that is left by Ctrl-C is an Abort.
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


def leave(code: int) -> None:
    """End a command with ``code``."""
    if code:
        raise click.exceptions.Exit(code)


def json_option(command: F) -> F:
    """Give a command the option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")(command)


def revision_option(command: F) -> F:
    """Give a command the option ``--revision``."""
    return click.option("--revision", metavar="REV", help="A branch, a tag or a commit.")(command)


def _sentence(exc: OSError) -> str:
    if not exc.strerror:
        return str(exc)
    # Whatever writes files says which; only the output itself has no name.
    place = exc.filename or ("the output" if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None)
    return f"{place}: {exc.strerror}." if place else f"{exc.strerror}."


def _advice(exc: BaseException) -> str:
    """Say who knows what to do where a folder may not be written."""
    found = exc if isinstance(exc, OSError) and exc.errno else exc.__cause__
    refused = isinstance(found, OSError) and found.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return " `pinformers doctor` says what can be done." if refused else ""


def _end(sentence: str, code: int) -> NoReturn:
    click.echo(f"pinformers: {sentence}", err=True)
    raise click.exceptions.Exit(code)


@contextmanager
def unwound() -> Iterator[None]:
    """Let SIGTERM and SIGHUP leave the block as Ctrl-C does: what lies half-written goes."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        # As a shell says of a process that a signal ended.
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Whoever started us with `nohup` wants no end.
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def run_whole(root: click.Command) -> None:
    """Run a command line to its end, and leave nothing for Python to say at its exit."""
    try:
        root(prog_name="pinformers")
    except OSError as exc:
        # Help is written outside of every command.
        click.echo(f"pinformers: {_sentence(exc)}", err=True)
        sys.exit(WRONG)
    finally:
        _drop_output()


def _drop_output() -> None:
    """Let go of what cannot be written: at its exit Python would try again, and complain in its own words."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
