"""What ``export`` and ``import`` do; each returns its exit code."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

import click

from pinformers._cli_ends import unwound
from pinformers._cli_output import note, on_terminal, plural, print_facts, print_json, progress_bar, say, size
from pinformers._cli_pins import moving, not_pinned, note_unknown, opened
from pinformers._composition import build_sharing
from pinformers._errors import PinError
from pinformers._settings import read_settings
from pinformers.pinning.archive import export_model, written_aside
from pinformers.pinning.pin import Pin
from pinformers.pinning.records import naming
from pinformers.pinning.reporting import summary
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.unpacking import Imported, Parcel, import_model

STREAM = "-"


def export(model: str, revision: str | None, output: str, *, as_json: bool = False) -> int:
    """Write a pinned model as a CAR file."""
    # A new file in the place of the one that stdout goes into would not be what the shell holds.
    output = STREAM if output == "/dev/stdout" else output
    if output == STREAM and as_json:
        raise click.UsageError("--json goes to stdout, and so does -o -; name a file.")
    if output == STREAM and sys.stdout is None:
        raise PinError("-o -", "stdout is closed")
    if output == STREAM and on_terminal(sys.stdout):
        raise PinError("-o -", "a terminal shows no CAR file; send it into a file or a pipe")
    resolver, sharing = opened(), build_sharing(read_settings({}).settings)
    pinned = resolver.find(model, revision)
    if pinned is None:
        raise not_pinned(model, revision)
    sharing.gate.check(pinned.pin)
    note_unknown(sharing.gate, [pinned.pin])
    out = nullcontext(sys.stdout.buffer) if output == STREAM else written_aside(Path(output))
    with unwound(), progress_bar(f"Exporting {model}", quiet=as_json) as bar, out as stream:
        written = export_model(resolver.catalog, pinned, cast("BinaryIO", stream), bar.begin(pinned.pin.size))
        stream.flush()
    pin, place = pinned.pin, "to stdout" if output == STREAM else f"in {output}"
    if as_json:
        facts = {"model": pin.repo, "commit": pin.commit, "root": pin.root, "files": len(pin.files)}
        print_json({**facts, "complete": pin.complete, "bytes": written, "output": output})
        return 0
    # Nothing comes behind a CAR file in its pipe.
    tell = say if output != STREAM and Path(output).is_file() else note
    tell(f"{pin.repo} at {pin.commit[:12]}: {_extent(pin)}, {size(written)} {place}")
    tell(f"root CID {pin.root}")
    return 0


def _extent(pin: Pin) -> str:
    files = plural(len(pin.files), "file")
    if pin.complete:
        return files
    others = f"{len(pin.others)} more" if pin.listed else "whatever more the model has"
    return f"only the {files} that are pinned, without {others}"


def import_(path: str, name: str | None, revision: str, *, as_json: bool) -> int:
    """Pin the model of a CAR file."""
    if path == STREAM and sys.stdin is None:
        raise PinError(STREAM, "stdin is closed; give a path, or send a CAR file through a pipe")
    if path == STREAM and on_terminal(sys.stdin):
        raise PinError(STREAM, "a terminal sends no CAR file; give a path, or send one through a pipe")
    resolver = opened()
    with (
        naming(resolver.catalog.state_dir),
        _given(path) as stream,
        progress_bar(f"Importing {path}", quiet=as_json) as bar,
        nullcontext() if name is None else moving(resolver, name, revision),
    ):
        if path != STREAM:
            # Each byte passes twice: it is verified, then copied into the hub cache.
            bar.begin(os.fstat(stream.fileno()).st_size, passes=2)
        parcel = Parcel("stdin" if path == STREAM else path, stream, name, revision)
        imported = import_model(resolver, parcel, bar)
    _report(resolver, imported, as_json=as_json)
    return 0


def _given(path: str) -> AbstractContextManager[BinaryIO]:
    if path == STREAM:
        return nullcontext(sys.stdin.buffer)
    return open(path, "rb")


def _report(resolver: Resolver, imported: Imported, *, as_json: bool) -> None:
    pin = imported.pinned.pin
    line = summary(resolver, pin)
    if as_json:
        print_json({**line, "how": "imported", "archive_root": str(imported.root), "foreign": imported.foreign})
        return
    facts = [("model", pin.repo), ("revision", ", ".join(line["revisions"])), ("commit", pin.commit)]
    files = str(len(pin.files)) if pin.complete else _extent(pin)
    facts += [("root CID", pin.root), ("files", files), ("size", size(pin.size))]
    print_facts([*facts, ("how", "copied from the CAR file, every block verified")])
    if imported.foreign and str(imported.root) != pin.root:
        say(f"The CAR's root CID is {imported.root}. Ours differs, since others cut files and lay out folders in other")
        say("ways, and keep empty folders and what git and the hub's client put into .git, .cache and __pycache__.")
