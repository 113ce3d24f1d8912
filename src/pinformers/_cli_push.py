"""What ``push`` does: pin, give to the daemon, and say how others load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinformers._cli_output import note, print_facts, print_json, progress_bar, say
from pinformers._cli_pins import (
    bring,
    check_is_no_folder,
    chosen,
    from_folder,
    hush_hub,
    note_unknown,
    publishing,
    silent,
    undelivered,
)
from pinformers._composition import build_resolver, build_sharing
from pinformers._errors import PinformersError
from pinformers._settings import read_settings
from pinformers.pinning.access import Gate
from pinformers.pinning.hub_pins import Wanted, pin_model
from pinformers.pinning.pin import Pin
from pinformers.pinning.publishing import Published
from pinformers.pinning.references import Reference
from pinformers.pinning.resolver import DEFAULT_REVISION, Resolver


def push(model: str, name: str | None, revision: str, *, as_json: bool) -> int:
    """Pin a model or a folder, publish it, and print its root CID; exit with 1 where it could not be published."""
    settings = read_settings({}).settings
    resolver = build_resolver(settings, tell=silent)
    sharing = build_sharing(settings)
    hush_hub(quiet=as_json)
    pin = _pinned(resolver, sharing.gate, model, name, revision, quiet=as_json)
    sharing.gate.check(pin)
    note_unknown(sharing.gate, [pin])
    problem, done = "", None
    try:
        done = sharing.publish(pin)
    except (PinformersError, OSError) as exc:
        problem = undelivered(settings, exc)
    if problem:
        note(f"It is pinned here and not published. {problem} `pinformers serve` offers it without a daemon.")
    if as_json:
        print_json(_said(pin, revision, done, problem))
    else:
        _print(pin, revision, done)
    return 1 if problem else 0


def _pinned(resolver: Resolver, gate: Gate, model: str, name: str | None, revision: str, *, quiet: bool) -> Pin:
    with progress_bar(f"Pinning {name or model}", quiet=quiet) as bar:
        if name is not None:
            return from_folder(resolver, Path(model), name, revision, bar)
        check_is_no_folder(model)
        known = resolver.find(model, revision)
        if known is not None:
            # Before the rest of it is downloaded in vain.
            gate.check(known.pin)
        if known is not None and known.pin.origin != "hub":
            return chosen(resolver, model, known.commit)[0]
        if Reference.parse(model) is not None:
            return bring(resolver, Wanted(model, revision), bar)[0]
        return pin_model(resolver, Wanted(model, revision), bar.begin).pin


def _said(pin: Pin, revision: str, done: Published | None, problem: str) -> dict[str, Any]:
    files = {} if done is None else {path: {"how": how, "why": why} for path, (how, why) in done.files.items()}
    facts = {"model": pin.repo, "commit": pin.commit, "root": pin.root, "load": _load(pin)}
    if pin.origin != "ipfs":
        facts["load_by_name"] = _load_by_name(pin, revision)
    sent = {"published": done is not None, "daemon": done.url if done is not None else None}
    return {**facts, **sent, "files": files, "problem": problem}


def _load(pin: Pin) -> str:
    return f'AutoModel.from_pretrained("ipfs://{pin.root}")'


def _load_by_name(pin: Pin, revision: str) -> str:
    at = "" if revision == DEFAULT_REVISION else f', revision="{revision}"'
    return f'AutoModel.from_pretrained("{pin.repo}"{at})'


def _print(pin: Pin, revision: str, done: Published | None) -> None:
    facts = [("model", pin.repo), ("revision", revision), ("commit", pin.commit), ("root CID", pin.root)]
    print_facts([*facts, *publishing(None if done is None else done.to_json())])
    say()
    say("Elsewhere, load it with:" if done is not None else "Once somebody offers it, it is loaded elsewhere with:")
    say(_load(pin))
    if pin.origin != "ipfs":
        say(f"Or by its name, where a catalog that has it is followed (`pinformers catalog publish {pin.repo}`):")
        say(_load_by_name(pin, revision))
