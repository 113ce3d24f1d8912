"""What ``pin``, ``ls`` and ``explain`` do; each returns its exit code."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pinformers._cli_output import (
    Bar,
    note,
    on_terminal,
    plural,
    print_facts,
    print_json,
    print_with_cids,
    progress_bar,
    say,
    size,
)
from pinformers._composition import build_resolver
from pinformers._errors import PinError, SourceUnavailable
from pinformers._settings import Settings, read_settings
from pinformers.pinning.access import Gate
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.hub_pins import Pinned, Wanted, pin_model
from pinformers.pinning.pin import Pin, parse_name
from pinformers.pinning.references import Reference
from pinformers.pinning.reporting import explained, looked_up, summary
from pinformers.pinning.resolver import Resolver
from pinformers.sources.addresses import redacted

SENT = {"nocopy": "without a second copy", "copied": "copied into the daemon", "there": "there already"}
_KEPT = {
    "private": "private: the hub shows it to its owners alone; the setting gated says what that means here",
    "gated": "gated: the hub gives it to who accepted its terms; the setting gated says what that means here",
}
_MADE_BY = {
    "adopted": "adopted from the hub cache, without a request",
    "kept": "adopted from the hub cache; the hub could not be asked",
    "fetched": "fetched from other sources than the hub, every block verified",
    "downloaded": "downloaded by huggingface_hub",
    "copied": "copied from the folder",
}


def opened() -> Resolver:
    """Return a resolver for the settings of this process."""
    return build_resolver(read_settings({}).settings, tell=silent)


def silent(_: str) -> None:
    """Say nothing of a lockfile that was found: `explain` names it, and so does `status`."""


def chosen(resolver: Resolver, model: str, revision: str | None = None) -> list[Pin]:
    """Return the pins of a model, of one branch, tag or commit of it, or raise PinError when there is none."""
    if Reference.parse(model) is not None and resolver.find(model, None) is None:
        raise not_pinned(model, revision)
    repo = parse_name(resolver.name(model))
    refs = resolver.catalog.refs(*repo)
    pins = [pin for pin in resolver.catalog.pins() if (pin.repo, pin.repo_type) == repo]
    if revision is not None:
        pins = [pin for pin in pins if revision == pin.commit or refs.get(revision) == pin.commit]
    if not pins:
        raise not_pinned(model, revision)
    return pins


def not_pinned(model: str, revision: str | None) -> PinError:
    """Return what is raised where no pin answers for a model, or for one revision of it."""
    name = model if revision is None else f"{model}@{revision}"
    return PinError(name, "it is not pinned; `pinformers ls` lists what is")


# -- ls, explain ----------------------------------------------------------------------------------------------


def list_pins(*, as_json: bool) -> int:
    """Print one line for each pin."""
    resolver = opened()
    lines = [summary(resolver, pin) for pin in resolver.catalog.pins() if pin.files]
    if as_json:
        print_json(lines)
    elif lines:
        _print_pins(lines)
        say()
        say(f"{plural(len(lines), 'pin')}, {size(sum(line['bytes'] for line in lines))}")
    else:
        say("Nothing is pinned yet. `pinformers pin MODEL` pins a model; so does loading one with pinformers on.")
    return 0


def _print_pins(lines: list[dict[str, Any]]) -> None:
    rows = []
    for line in lines:
        row = [line["model"], ", ".join(line["revisions"]), line["commit"][:12], _count(line)]
        kept = f", {line['access']}" if line["access"] in _KEPT else ""
        rows.append([*row, size(line["bytes"]), f"{line['origin']}{kept}", line["root"]])
    print_with_cids(("MODEL", "REVISION", "COMMIT", "FILES", "SIZE", "FROM", "ROOT CID"), rows, ("FILES", "SIZE"))


def _count(line: dict[str, Any]) -> str:
    if line["missing"] is None:
        return f"{line['files']} of ?"
    return f"{line['files']} of {line['files'] + line['missing']}" if line["missing"] else str(line["files"])


def explain(model: str, revision: str | None, *, as_json: bool) -> int:
    """Print from where each file of a model would come, and why."""
    resolver = opened()
    pinned = looked_up(resolver, model, revision)
    said = explained(resolver, model, revision, pinned)
    if as_json:
        print_json(said)
        return 0
    print_facts(_headline(said))
    if said["files"]:
        say()
        _print_files(said["files"])
    return 0


def _headline(said: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [("model", said["model"]), ("revision", said["revision"]), ("pinned", _yes(said["pinned"]))]
    if said["pinned"]:
        whole = "every file is pinned" if said["complete"] else "some files are not pinned, or not known"
        facts += [("commit", said["commit"]), ("root CID", said["root"]), ("complete", whole)]
    kept = [("access", _KEPT[said["access"]])] if said["access"] in _KEPT else []
    return [*facts, ("why", said["why"]), *kept, *publishing(said["published"])]


def note_unknown(gate: Gate, pins: Iterable[Pin]) -> None:
    """Say of which pins the hub did not tell whether everyone may have them."""
    names = sorted({pin.repo for pin in pins if gate.access(pin) == "unknown"})
    if names:
        note(f"Whether the hub gives {', '.join(names)} to everyone is not known; see to it that who gets it may.")


def undelivered(settings: Settings, problem: Exception) -> str:
    """Say why something could not be published, and what to do where no daemon answers."""
    if not isinstance(problem, SourceUnavailable) or problem.source != "kubo":
        return str(problem)
    where = f"No Kubo daemon can be used at {redacted(settings.kubo_api)}: {problem.reason.rstrip('.')}"
    return f"{where}; start it with `ipfs daemon`, or name another with `export PINFORMERS_KUBO_API=ADDRESS`."


def publishing(done: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Say where a pin was published, and how its files got there."""
    if done is None:
        return []
    facts = [("published", f"/ipfs/{done['root']} by the daemon at {done['url']}")]
    for how, count in sorted(Counter(how for how, _ in done["files"].values()).items()):
        whys = {why for one, why in done["files"].values() if one == how}
        # With nocopy the reason names each file: --json lists them.
        facts.append((SENT[how], plural(count, "file") + (f": {min(whys)}" if len(whys) == 1 else "")))
    return facts


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _print_files(files: list[dict[str, Any]]) -> None:
    rows = [[file["path"], size(file["size"]), file["source"], file["why"], file["cid"] or "-"] for file in files]
    print_with_cids(("FILE", "SIZE", "SOURCE", "WHY", "CID"), rows, ("SIZE",))


# -- pin ------------------------------------------------------------------------------------------------------


def pin_from_folder(folder: Path, name: str, revision: str, *, as_json: bool) -> int:
    """Pin a local folder under a model's name."""
    resolver = opened()
    with progress_bar(f"Pinning {name}", quiet=as_json) as bar:
        pin = from_folder(resolver, folder, name, revision, bar)
    _report(resolver, pin, "copied", as_json=as_json)
    return 0


def from_folder(resolver: Resolver, folder: Path, name: str, revision: str, bar: Bar) -> Pin:
    """Pin a folder, and say where its name stood for another commit before."""
    with moving(resolver, name, revision):
        # Each byte passes twice: it is hashed, then copied into the hub cache.
        bar.begin(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()), passes=2)
        return pin_folder(resolver, folder, name, revision, bar).pin


@contextmanager
def moving(resolver: Resolver, name: str, revision: str) -> Iterator[None]:
    """Say where the block makes a branch stand for another commit than before."""
    before = resolver.catalog.ref(name, revision)
    yield
    after = resolver.catalog.ref(name, revision)
    if before is None or after is None or before[0] == after[0]:
        return
    said = f"{name}@{revision} was {before[0][:12]} and is {after[0][:12]} from now on"
    if resolver.catalog.pin(name, before[0]) is not None:
        said += f"; the old one stays pinned until `pinformers rm {name} --revision {before[0]}`"
    note(f"{said}.")


def check_is_no_folder(model: str) -> None:
    """Raise UsageError for a path that names a folder where the name of a model belongs."""
    if Path(model).is_dir() and (Path(model).is_absolute() or model.startswith(".")):
        raise click.UsageError(f"{model} is a folder; say under which name to pin it: --as org/model.")


def pin_from_hub(wanted: Wanted, *, as_json: bool) -> int:
    """Pin a model by its hub name, or by its CID."""
    check_is_no_folder(wanted.repo)
    resolver = opened()
    if Reference.parse(wanted.repo) is not None:
        with progress_bar(f"Fetching {wanted.repo}", quiet=as_json) as bar:
            pin, fetched = bring(resolver, wanted, bar)
        _report(resolver, pin, "fetched" if fetched else "adopted", as_json=as_json)
        return 0
    hush_hub(quiet=as_json)
    with progress_bar(f"Hashing {wanted.repo}", quiet=as_json) as bar:
        pinned = pin_model(resolver, wanted, bar.begin)
    _report(resolver, pinned.pin, "kept" if pinned.unasked else pinned.how, as_json=as_json)
    return _complain(pinned)


def bring(resolver: Resolver, wanted: Wanted, bar: Bar) -> tuple[Pin, bool]:
    """Have the sources deliver all that a name by content holds; says whether any of it was not here."""
    if wanted.include or wanted.exclude or wanted.update:
        raise click.UsageError("--include, --exclude and --update are for hub names; what a CID holds is pinned whole.")
    pinned = resolver.refer(wanted.repo, wanted.revision)
    if pinned is None or not pinned.pin.files:
        raise PinError(wanted.repo, "it is one file without a name; a load names it, by gguf_file='model.gguf'")
    missing = [path for path in pinned.pin.files if pinned.state(path) != "here"]
    bar.begin(sum(pinned.pin.files[path].size for path in missing))
    for path in missing:
        pinned.put(path)
        bar(pinned.pin.files[path].size)
    if missing:
        pinned.settle()
    # What was not known of the files before they were here stands in the record.
    return resolver.catalog.pin(pinned.repo, pinned.commit) or pinned.pin, bool(missing)


def hush_hub(*, quiet: bool) -> None:
    """Have huggingface_hub's client draw no progress bars where nobody looks at stderr."""
    if not quiet and on_terminal(sys.stderr):
        return
    # deferred: an import of half a second that only what may download needs.
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()


def _report(resolver: Resolver, pin: Pin, how: str, *, as_json: bool) -> None:
    line = summary(resolver, pin)
    if as_json:
        print_json({**line, "how": how})
        return
    files = str(line["files"])
    if line["missing"]:
        files += f" of {line['files'] + line['missing']}; the others come when they are asked for"
    elif line["missing"] is None:
        files += "; whether the model has more is not known, --update asks the hub"
    print_facts(
        [
            ("model", pin.repo),
            ("revision", ", ".join(line["revisions"]) or pin.commit),
            ("commit", pin.commit),
            ("root CID", line["root"]),
            ("files", files),
            ("size", size(line["bytes"])),
            ("how", _MADE_BY[how]),
        ]
    )


def _complain(pinned: Pinned) -> int:
    if pinned.unasked:
        note(f"Only what the hub cache holds is pinned: {pinned.unasked}.")
    for path, why in pinned.rejected.items():
        note(f"{path} is not pinned: {why}.")
    return 1 if pinned.rejected else 0
