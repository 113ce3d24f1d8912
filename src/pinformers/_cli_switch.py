"""What ``run``, ``activate`` and ``deactivate`` do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pinformers import _autostart
from pinformers._errors import PinError
from pinformers._settings import PREFIX, read_settings

NOT_FOUND = 127
NOT_EXECUTABLE = 126


def run(command: Sequence[str], settings: Mapping[str, str | None], environ: Mapping[str, str], *, force: bool) -> int:
    """Become ``command`` with pinformers switched on; returns its exit code where it cannot be become."""
    given = {f"{PREFIX}{name.upper()}": value for name, value in settings.items() if value is not None}
    environ = {**environ, **given, _autostart.SWITCH: "force" if force else "1"}
    # A wrong value stops here, with one sentence, and not in the middle of the command.
    read_settings({}, environ)
    try:
        return _become(command, environ)
    except OSError as exc:
        absent = isinstance(exc, FileNotFoundError | NotADirectoryError)
        what = "command not found" if absent else f"cannot be executed ({exc.strerror})"
        script = command[0].endswith(".py") and os.path.isfile(command[0])
        hint = f"; `pinformers run python {command[0]}` runs the file" if script else ""
        print(f"pinformers run: {command[0]}: {what}{hint}", file=sys.stderr)
        return NOT_FOUND if absent else NOT_EXECUTABLE


def _become(command: Sequence[str], environ: Mapping[str, str]) -> int:
    if os.name == "nt":
        # No exec there that a waiting shell would understand.
        return subprocess.run(command, env=environ).returncode
    # Python ignores these two, and what is ignored stays so over exec: `yes | head` would never end.
    ignored = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ")]
    before = [signal.signal(number, signal.SIG_DFL) for number in ignored]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], list(command), environ)
    finally:
        # It could not be become: a process that goes on must not die of a client that closes its connection.
        for number, handler in zip(ignored, before, strict=True):
            signal.signal(number, handler)


def activate(*, as_json: bool) -> int:
    """Leave a start-up line that switches pinformers on for this whole Python environment."""
    # deferred: what `run` has no need of.
    from pinformers.pinning.records import replacing

    marker = _autostart.marker()
    if marker is None:
        advice = f"pinformers is not installed there; install it, set {_autostart.SWITCH}=1, or use `pinformers run`"
        raise PinError(sys.prefix, advice)
    try:
        # Whole or not at all: half a line is an error at each start of Python.
        with replacing(Path(marker)) as out:
            out.write(_autostart.LINE.encode())
            # Others start Python here too, whatever the umask.
            os.chmod(out.name, 0o644)
    except OSError as exc:
        advice = f"it cannot be written ({exc.strerror}); set {_autostart.SWITCH}=1, or use `pinformers run`"
        raise PinError(marker, advice) from exc
    return _told("on", f"On for every process of {sys.prefix}, by {marker}", as_json=as_json)


def deactivate(*, as_json: bool) -> int:
    """Remove that line."""
    marker = _autostart.marker()
    try:
        if marker is not None:
            Path(marker).unlink(missing_ok=True)
    except OSError as exc:
        advice = f"it cannot be removed ({exc.strerror}); set {_autostart.SWITCH}=0, which wins over it"
        raise PinError(str(marker), advice) from exc
    said = f"Off for {sys.prefix}, unless the environment variable {_autostart.SWITCH} says otherwise."
    return _told("off", said, as_json=as_json)


def _told(state: str, sentence: str, *, as_json: bool) -> int:
    # deferred: tables, which `run` has no need of.
    from pinformers._cli_output import print_json, say

    facts = {"state": state, "environment": sys.prefix, "marker": _autostart.marker()}
    print_json(facts) if as_json else say(sentence)
    return 0
