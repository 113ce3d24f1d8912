"""What ``verify``, ``rm``, ``gc`` and ``flush`` do; each returns its exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pinformers._cli_output import note, on_terminal, plural, print_json, progress_bar, say, size
from pinformers._cli_pins import chosen, hush_hub, opened
from pinformers._errors import PinError, SourceError
from pinformers._settings import read_settings
from pinformers._sharing import kubo_node
from pinformers.pinning.checking import Finding, bytes_to_check, caches_away, check, repair
from pinformers.pinning.pin import Pin
from pinformers.pinning.publishing import Withdrawal
from pinformers.pinning.records import reason
from pinformers.pinning.removal import Removal, remove_pin
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.sweeping import Garbage, find_garbage

_SHOWN = 5


@dataclass(slots=True)
class Repairs:
    """What became of the bad files: by whom each was delivered, or why it was not."""

    done: dict[Path, str]
    failed: dict[Path, str]


def verify(models: Sequence[str], *, mend: bool, as_json: bool) -> int:
    """Hash every pinned file again and, when the user says so, repair the bad ones."""
    resolver = opened()
    named = [pin for model in models for pin in chosen(resolver, model)] if models else resolver.catalog.pins()
    # A first load that was killed leaves what the hub said of the model, and no file that could be wrong.
    pins = [pin for pin in named if pin.files]
    with progress_bar("Hashing", quiet=as_json) as bar:
        bar.begin(sum(bytes_to_check(resolver.catalog, pin) for pin in pins))
        cache_dir = resolver.default_cache
        findings = [found for pin in pins for found in check(resolver.catalog, pin, bar, default_cache=cache_dir)]
    bad = [finding for finding in findings if finding.state != "good"]
    away = sorted(caches_away(resolver.catalog, pins))
    for cache_dir in away:
        note(
            f"The cache {cache_dir} is not there and was passed over; if it moved, `pinformers gc --moved` forgets it."
        )
    for why in sorted({finding.unrecorded for finding in findings if finding.unrecorded}):
        note(f"{resolver.catalog.state_dir} cannot be written, so less is remembered: {why}.")
    if not as_json:
        _print_findings(findings, bad)
        if pins and not findings and not away:
            note(_nothing_here(pins))
    repairs = Repairs({}, {})
    if bad and (mend or (not as_json and _consents(bad))):
        hush_hub(quiet=as_json)
        repairs = _repair(resolver, bad, quiet=as_json)
    if as_json:
        print_json(_verdict(findings, repairs))
    elif bad:
        _print_repairs(repairs)
    # With pins and not one of their files here, nothing was found to be well.
    return 0 if len(repairs.done) == len(bad) and (findings or not pins) else 1


def _print_findings(findings: list[Finding], bad: list[Finding]) -> None:
    total = size(sum(finding.pin.files[finding.path].size for finding in findings if finding.state == "good"))
    good = plural(len(findings) - len(bad), "file")
    say(f"{good}, {total}: {'all ' if not bad else ''}as pinned." if findings else "No pinned file is in a cache here.")
    for finding in bad:
        say(f"{finding.state}: {finding.pin.repo}/{finding.path}: {finding.why}")
        say(f"  {finding.file}")


def _nothing_here(pins: list[Pin]) -> str:
    models = sorted({pin.name for pin in pins})
    said = f"{plural(len(models), 'model')} {'is' if len(models) == 1 else 'are'} pinned, and no file has arrived yet"
    return f"{said}; loading one brings what it asks for, `pinformers pin {models[0]}` all of it."


def _consents(bad: list[Finding]) -> bool:
    if not (on_terminal(sys.stdin) and on_terminal(sys.stderr)):
        note("`pinformers verify --repair` fetches them again; bad bytes go when the good ones are here.")
        for name in sorted({finding.pin.name for finding in bad if finding.pin.origin == "folder"}):
            note(f"{name} was pinned from a folder: `pinformers pin FOLDER --as {name}` mends it without a source.")
        return False
    question = f"Remove the bad bytes of {plural(len(bad), 'file')} and fetch again?"
    return click.confirm(question, err=True)


def _repair(resolver: Resolver, bad: list[Finding], *, quiet: bool) -> Repairs:
    repairs = Repairs({}, {})
    with progress_bar("Repairing", quiet=quiet) as bar:
        bar.begin(sum(finding.pin.files[finding.path].size for finding in bad))
        for finding in bad:
            try:
                repairs.done[finding.file] = repair(resolver, finding)
            except PinError as exc:
                repairs.failed[finding.file] = exc.advice
            except OSError as exc:
                repairs.failed[finding.file] = reason(exc)
            bar(finding.pin.files[finding.path].size)
    return repairs


def _print_repairs(repairs: Repairs) -> None:
    for file, source in repairs.done.items():
        say(f"repaired      {file}, from {source}")
    for file, why in repairs.failed.items():
        say(f"not repaired  {file}: {why}")


def _verdict(findings: list[Finding], repairs: Repairs) -> list[dict[str, Any]]:
    return [
        {
            **finding.to_json(),
            "repaired_from": repairs.done.get(finding.file),
            "not_repaired": repairs.failed.get(finding.file),
        }
        for finding in findings
    ]


def remove(model: str, revision: str | None, *, as_json: bool) -> int:
    """Delete what we brought for a model and forget its pins; of a commit with other names, forget the name only."""
    resolver = opened()
    pins = chosen(resolver, model, revision)
    others = [name for pin in pins for name in _names(resolver, pin) if name != revision]
    if revision is not None and others and revision != pins[0].commit:
        resolver.catalog.forget_ref(pins[0].repo, revision, pins[0].repo_type)
        line = f"{model}@{revision} is forgotten; its commit stays pinned as {', '.join(others)}."
        print_json([{"model": model, "forgotten": revision, "pinned_as": others}]) if as_json else say(line)
        return 0
    withdrawals = {pin.commit: Withdrawal(resolver.catalog, pin) for pin in pins}
    removals = {
        pin.commit: remove_pin(resolver.catalog, pin, lock_timeout=resolver.policy.lock_timeout) for pin in pins
    }
    unpublished = {commit: _withdraw(withdrawal) for commit, withdrawal in withdrawals.items()}
    if as_json:
        found = (_removal(model, commit, removal) for commit, removal in removals.items())
        print_json([{**line, "unpublished": unpublished[line["commit"]]} for line in found])
        return 0
    for commit, removal in removals.items():
        say(f"{model}@{commit} is not pinned any more: {size(removal.freed)} freed.")
        if unpublished[commit]:
            say("  The daemon does not keep it any more either; `ipfs repo gc` frees what it stored.")
        for why in sorted(set(removal.kept.values())):
            kept = [path for path, reason in removal.kept.items() if reason == why]
            one = len(kept) == 1
            said = why if one else re.sub(r"\bit\b", "them", why)
            say(f"  {plural(len(kept), 'file')} {'stays' if one else 'stay'}: {said}")
            for path in kept[:_SHOWN]:
                say(f"    {path}")
            if len(kept) > _SHOWN:
                say("    ... (--json names all)")
    return 0


def _withdraw(withdrawal: Withdrawal) -> bool | None:
    """Take a pin back from the daemon that keeps it; returns None where none was given it."""
    if withdrawal.known is None:
        return None
    url, root = withdrawal.known.url, withdrawal.known.root
    problem = "the settings name another daemon now"
    try:
        done = withdrawal.carry_out(kubo_node(read_settings({}).settings))
    except SourceError as exc:
        done, problem = False, exc.reason.rstrip(".")
    if not done:
        note(f"The daemon at {url} may still keep /ipfs/{root}: {problem}. There, `ipfs pin rm {root}` frees it.")
    return done


def _names(resolver: Resolver, pin: Pin) -> list[str]:
    return [name for name, commit in resolver.catalog.refs(pin.repo, pin.repo_type).items() if commit == pin.commit]


def _removal(model: str, commit: str, removal: Removal) -> dict[str, Any]:
    return {
        "model": model,
        "commit": commit,
        "freed": removal.freed,
        "deleted": [str(path) for path in removal.deleted],
        "kept": [{"file": str(path), "why": why} for path, why in removal.kept.items()],
    }


def collect_garbage(*, dry_run: bool, moved: bool, as_json: bool) -> int:
    """Sweep what no pin needs."""
    resolver = opened()
    found = list(find_garbage(resolver.catalog, resolver.default_cache, moved=moved))
    if not dry_run:
        for garbage in found:
            garbage.sweep()
    if as_json:
        print_json([{**_garbage(garbage), "removed": not dry_run} for garbage in found])
    elif found:
        for garbage in found:
            say(f"{garbage.kind}: {garbage.why} ({size(garbage.size)})")
            say(f"  {garbage.path}")
        freed = size(sum(garbage.size for garbage in found))
        say(f"{'Would remove' if dry_run else 'Removed'} {plural(len(found), 'thing')}, {freed}.")
    else:
        say("Nothing to collect.")
    return 0


def _garbage(garbage: Garbage) -> dict[str, Any]:
    return {"kind": garbage.kind, "path": str(garbage.path), "size": garbage.size, "why": garbage.why}


def flush(timeout: float | None, *, as_json: bool) -> int:
    """Wait until what was loaded is hashed, recorded and pinned, and published where it must be."""
    resolver = opened()
    with progress_bar("Recording", quiet=as_json):
        done = resolver.recorder.flush(timeout)
    left = sorted(path.name for path in (resolver.catalog.state_dir / "pending").glob("*.json"))
    if as_json:
        print_json({"done": done and not left, "left": left})
    elif left:
        note(f"{plural(len(left), 'model')} could not be recorded yet.")
    elif done:
        say("Everything that was loaded is pinned.")
    else:
        note("Everything that was loaded is pinned; not all of it could be published yet.")
    return 0 if done and not left else 1
