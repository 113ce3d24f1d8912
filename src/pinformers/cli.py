"""The command line: its grammar. What a command does is in ``_cli_*.py``, imported when it runs."""

# deferred: every import inside a command; `pinformers --help` takes no longer than click itself.

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from pinformers import __version__
from pinformers._cli_catalog_group import catalog
from pinformers._cli_ends import Commands, json_option, leave, revision_option, run_whole

_PATH = click.Path(path_type=Path)
_EPILOG = """\b
Exit codes:
  0  all is well
  1  something is wrong with what was asked: a model that is not pinned
     (`explain` answers that with 0), a bad file, a hub that does not answer
  2  a wrong option or a wrong setting
  130  Ctrl-C
`pinformers run` ends as COMMAND does; 126: it cannot be executed, 127: it was not found."""


@click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pinformers", message="%(prog)s %(version)s")
def root() -> None:
    """Let code that nobody edits load its Hugging Face models from a verified IPFS pin cache."""


@root.command(context_settings={"allow_interspersed_args": False})
@click.option("--force", is_flag=True, help="Also where the variable CI is set.")
@click.option("--cache-dir", type=click.Path(resolve_path=True), help="The hub cache.")
@click.option("--state-dir", type=click.Path(resolve_path=True), help="The folder of our records.")
@click.option("--on-miss", metavar="import|passthrough|error", help="What happens to a model without a pin.")
@click.option("--sources", metavar="NAME,...", help="Where files may come from, in this order.")
@click.option("--scope", metavar="transformers|hub", help="Whose downloads are routed.")
@click.option("--locked", flag_value="true", default=None, help="Refuse whatever pinformers.lock does not name.")
@click.option("--log", metavar="LEVEL", help="What is shown on stderr: debug, info, warning, error or off.")
@click.option("--lock-timeout", metavar="SECONDS", help="How long to wait for a file lock.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...], force: bool, **settings: str | None) -> None:
    """Run COMMAND, and all that it starts, with pinformers on.

    Options of ours come before COMMAND. Signals, exit code and `python -m` are COMMAND's own.
    """
    from pinformers import _cli_switch

    leave(_cli_switch.run(command, settings, os.environ, force=force))


@root.command()
@json_option
def status(as_json: bool) -> None:
    """Show the switch, the gate and the pin cache."""
    from pinformers import _cli_about

    leave(_cli_about.status(as_json=as_json))


@root.command()
@json_option
def config(as_json: bool) -> None:
    """Show every setting, its value and where it came from."""
    from pinformers import _cli_about

    leave(_cli_about.config(os.environ.get("PINFORMERS_CONFIG"), as_json=as_json))


@root.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what works here, and what to change.

    Exits with 1 where something that is configured does not work.
    """
    from pinformers import _cli_doctor

    leave(_cli_doctor.doctor(as_json=as_json))


@root.command()
@click.argument("model")
@click.option("--as", "name", metavar="ORG/MODEL", help="MODEL is a local folder; pin it under this name.")
@click.option("--revision", metavar="REV", default="main", show_default=True, help="A branch, a tag or a commit.")
@click.option("--include", metavar="PATTERN", multiple=True, help="Download only files like this; may be repeated.")
@click.option("--exclude", metavar="PATTERN", multiple=True, help="Download no files like this; may be repeated.")
@click.option("--update", is_flag=True, help="Ask the hub for a newer commit even where nothing is missing.")
@json_option
def pin(
    model: str, name: str | None, revision: str, include: tuple[str, ...], exclude: tuple[str, ...], update: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Pin MODEL: a hub name, ipfs://CID, or a folder with --as.

    What the hub cache holds is adopted without a request; what is missing is downloaded to where it always goes.
    """
    from pinformers import _cli_pins
    from pinformers.pinning.hub_pins import Wanted

    if name is not None:
        if include or exclude or update:
            raise click.UsageError("--include, --exclude and --update are for hub names; a folder is pinned whole.")
        leave(_cli_pins.pin_from_folder(Path(model), name, revision, as_json=as_json))
        return
    leave(_cli_pins.pin_from_hub(Wanted(model, revision, include, exclude, update), as_json=as_json))


@root.command()
@click.argument("model")
@click.option("--as", "name", metavar="ORG/MODEL", help="MODEL is a local folder; pin it under this name.")
@click.option("--revision", metavar="REV", default="main", show_default=True, help="A branch, a tag or a commit.")
@json_option
def push(model: str, name: str | None, revision: str, as_json: bool) -> None:
    """Pin MODEL, as `pin` does, and publish it.

    Prints the root CID and the line that loads it elsewhere. The daemon and the cluster of the settings get it.
    """
    from pinformers import _cli_push

    leave(_cli_push.push(model, name, revision, as_json=as_json))


@root.command()
@click.argument("model", nargs=-1)
@json_option
def refresh(model: tuple[str, ...], as_json: bool) -> None:
    """Ask the hub whether pinned branches have moved.

    All branches and tags, or those of each MODEL. Nothing is downloaded, and what is pinned stays pinned.
    """
    from pinformers import _cli_refresh

    leave(_cli_refresh.ask_hub(model, as_json=as_json))


@root.command()
@json_option
def ls(as_json: bool) -> None:
    """List what is pinned."""
    from pinformers import _cli_pins

    leave(_cli_pins.list_pins(as_json=as_json))


@root.command()
@click.argument("model")
@revision_option
@json_option
def explain(model: str, revision: str | None, as_json: bool) -> None:
    """Say, file by file, from where MODEL would come, and why."""
    from pinformers import _cli_pins

    leave(_cli_pins.explain(model, revision, as_json=as_json))


@root.command()
@click.argument("model", nargs=-1)
@revision_option
@click.option("-o", "--output", metavar="PATH", help="The lockfile; by default the nearest, or ./pinformers.lock.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where the lockfile and the pins differ.")
@json_option
def lock(model: tuple[str, ...], revision: str | None, output: str | None, check: bool, as_json: bool) -> None:
    """Write what is pinned of each MODEL into pinformers.lock.

    Without MODEL: of all that are in it, or of all that are pinned where there is no lockfile yet.
    """
    from pinformers import _cli_lock

    if revision is not None and not model:
        raise click.UsageError("--revision is for the models that you name.")
    path = Path(output) if output is not None else None
    leave(_cli_lock.lock(model, revision, path, check=check, as_json=as_json))


root.add_command(catalog)


@root.command()
@click.argument("model")
@revision_option
@click.option("-o", "--output", metavar="PATH", required=True, help="The CAR file to write; - is stdout.")
@json_option
def export(model: str, revision: str | None, output: str, as_json: bool) -> None:
    """Write a pinned model as one CAR file.

    Every block is hashed on its way. `pinformers import` reads the file, and so does `ipfs dag import`.
    """
    from pinformers import _cli_archive

    leave(_cli_archive.export(model, revision, output, as_json=as_json))


@root.command("import")
@click.argument("car", metavar="PATH")
@click.option("--as", "name", metavar="ORG/MODEL", help="Others made the CAR file; pin its folder under this name.")
@click.option("--revision", metavar="REV", default="main", show_default=True, help="The branch or tag to pin it at.")
@json_option
def import_car(car: str, name: str | None, revision: str, as_json: bool) -> None:
    """Pin the model of a CAR file; - is stdin.

    Every block is verified. What cannot be imported whole leaves nothing behind.
    """
    from pinformers import _cli_archive

    leave(_cli_archive.import_(car, name, revision, as_json=as_json))


@root.command()
@click.argument("model", nargs=-1)
@click.option("--repair", is_flag=True, help="Fetch the files again, in place of the bad bytes, whoever wrote those.")
@json_option
def verify(model: tuple[str, ...], repair: bool, as_json: bool) -> None:
    """Hash every pinned file again, of all models or of each MODEL.

    On a terminal it asks whether to repair. Exits with 1 when a bad or missing file is left.
    """
    from pinformers import _cli_upkeep

    leave(_cli_upkeep.verify(model, mend=repair, as_json=as_json))


@root.command()
@click.argument("model")
@revision_option
@json_option
def rm(model: str, revision: str | None, as_json: bool) -> None:
    """Forget the pins of MODEL and delete what we brought.

    All its revisions, or the one that --revision names; of a commit with other names, only the name is forgotten.
    Files that huggingface_hub's client wrote stay.
    """
    from pinformers import _cli_upkeep

    leave(_cli_upkeep.remove(model, revision, as_json=as_json))


@root.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--moved", is_flag=True, help="Forget also the cache folders that are not there any more.")
@json_option
def gc(dry_run: bool, moved: bool, as_json: bool) -> None:
    """Remove what killed processes left and no pin needs."""
    from pinformers import _cli_upkeep

    leave(_cli_upkeep.collect_garbage(dry_run=dry_run, moved=moved, as_json=as_json))


@root.command()
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer than that.")
@json_option
def flush(timeout: float | None, as_json: bool) -> None:
    """Wait until everything that was loaded is pinned."""
    from pinformers import _cli_upkeep

    leave(_cli_upkeep.flush(timeout, as_json=as_json))


@root.command()
@click.option("--car", "cars", type=_PATH, multiple=True, metavar="FILE...", help="Serve the blocks of CAR files.")
@click.argument("more_cars", metavar="", nargs=-1, type=_PATH)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 picks a free one.")
@click.option("--cert", type=_PATH, metavar="FILE", help="Serve TLS and HTTP/2 with it (PEM).")
@click.option("--key", type=_PATH, metavar="FILE", help="The key, unless it is in --cert.")
def serve(
    cars: tuple[Path, ...], more_cars: tuple[Path, ...], host: str, port: int, cert: Path | None, key: Path | None
) -> None:
    """Serve pinned models, or CAR files, to other machines.

    A read-only trustless gateway: machines without an IPFS node load from it (the setting gateways), each block
    verified. The first line it prints has its URL.
    """
    from pinformers import _cli_serve

    if more_cars and not cars:
        raise click.UsageError(f"{more_cars[0]} is to be served by --car.")
    if key is not None and cert is None:
        raise click.UsageError("--key goes with --cert.")
    tls = (cert, key or cert) if cert is not None else None
    leave(_cli_serve.serve(_cli_serve.Stall(host, port, (*cars, *more_cars), tls)))


@root.command()
@json_option
def activate(as_json: bool) -> None:
    """Turn pinformers on for this Python environment, for good."""
    from pinformers import _cli_switch

    leave(_cli_switch.activate(as_json=as_json))


@root.command()
@json_option
def deactivate(as_json: bool) -> None:
    """Undo activate."""
    from pinformers import _cli_switch

    leave(_cli_switch.deactivate(as_json=as_json))


@root.command()
@json_option
def selftest(as_json: bool) -> None:
    """Load a tiny model both ways and say what was seen."""
    from pinformers import _cli_selftest

    leave(_cli_selftest.selftest(os.environ, as_json=as_json))


def main() -> None:
    """Run the command line; what it asks of the hub is answered by the hub, also where the scope is "hub"."""
    activation = sys.modules.get("pinformers._activation")
    if activation is not None:
        activation.step_aside()
    run_whole(root)
