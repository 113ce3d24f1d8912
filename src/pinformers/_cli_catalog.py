"""What ``catalog publish``, ``follow``, ``unfollow``, ``ls`` and ``refresh`` do; each returns its exit code."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from pinformers._cli_output import note, plural, print_facts, print_json, print_with_cids, say
from pinformers._cli_pins import note_unknown, undelivered
from pinformers._composition import build_sharing
from pinformers._errors import SourceUnavailable
from pinformers._settings import read_settings
from pinformers._sharing import Sharing, kubo_node
from pinformers.pinning.followed import Followed
from pinformers.pinning.following import Following
from pinformers.pinning.shared import publish_catalog
from pinformers.pinning.shared_tree import publishable
from pinformers.pinning.times import day, span


def publish(models: Sequence[str], key: str, hours: float, *, as_json: bool) -> int:
    """Publish the local catalog, or some models of it, under a key of the Kubo node."""
    settings = read_settings({}).settings
    sharing = build_sharing(settings)
    chosen = _open(sharing, models)
    try:
        published = publish_catalog(sharing.catalog, kubo_node(settings), key=key, models=chosen, lifetime=hours * 3600)
    except SourceUnavailable as exc:
        note(f"pinformers: Nothing was published. {undelivered(settings, exc)}")
        return 1
    tree, command = published.tree, f"pinformers catalog follow /ipns/{published.name}"
    if as_json:
        facts = {"name": published.name, "key": key, "root": str(tree.root), "sequence": published.sequence}
        print_json({**facts, "models": tree.models, "pins": tree.pins, "follow": command})
        return 0
    print_facts(
        [
            ("IPNS name", published.name),
            ("root CID", str(tree.root)),
            ("number", str(published.sequence)),
            ("holds", f"{plural(tree.pins, 'pin')} of {plural(tree.models, 'model')}"),
        ]
    )
    say()
    say("Others follow it with:")
    say(command)
    return 0


def _open(sharing: Sharing, models: Sequence[str]) -> Sequence[str]:
    """Return the models that a catalog may name; raises PinError for one that was asked for and may not stand there."""
    pins = [pin for pin in sharing.catalog.pins() if publishable(pin) and (not models or pin.repo in models)]
    kept = {pin.repo for pin in pins if sharing.gate.kept(pin)}
    note_unknown(sharing.gate, pins)
    if not kept:
        return models
    for pin in pins:
        if models or {pin.repo for pin in pins} == kept:
            sharing.gate.check(pin)
    note(f"Left out, as the hub does not give it to everyone: {', '.join(sorted(kept))}.")
    return sorted({pin.repo for pin in pins} - kept)


def follow(name: str, label: str | None, *, first: bool, as_json: bool) -> int:
    """Follow a catalog, and fetch its record at once."""
    following = _opened()
    followed = following.list.add(name, label, first=first)
    with _unlogged():
        current = following.refresh(followed) or followed
    facts = _facts(following, current)
    if as_json:
        print_json(facts)
    else:
        print_facts([("catalog", current.label), ("IPNS name", current.name), *_lines(facts)])
    if current.refusal:
        note(f"It is followed, but: {current.refusal}")
    return 1 if current.refusal else 0


def unfollow(name: str, *, as_json: bool) -> int:
    """Follow a catalog no longer."""
    following = _opened()
    gone = following.list.remove(name)
    following.sweep()
    if as_json:
        print_json({"label": gone.label, "name": gone.name})
    else:
        say(f"{gone.label} is not followed any more; what was loaded by its word stays pinned.")
    return 0


def list_followed(*, as_json: bool) -> int:
    """Print the followed catalogs in their order of trust."""
    following = _opened()
    _print([_facts(following, one) for one in following.list.all()], as_json=as_json)
    return 0


def refresh(*, as_json: bool) -> int:
    """Fetch every catalog's record now."""
    following = _opened()
    with _unlogged():
        current = [following.refresh(one) or one for one in following.list.all()]
    following.sweep()
    _print([_facts(following, one) for one in current], as_json=as_json)
    return 1 if any(one.refusal for one in current) else 0


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep the log quiet: why a catalog was refused is printed with the answer."""

    def nothing(_: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger("pinformers")
    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)


def _opened() -> Following:
    return build_sharing(read_settings({}).settings).following


def _facts(following: Following, followed: Followed) -> dict[str, Any]:
    last, head = followed.last(), following.head(followed)
    fetched = datetime.fromtimestamp(followed.fetched_at, timezone.utc).isoformat(timespec="seconds")
    return {
        "label": followed.label,
        "name": followed.name,
        "sequence": None if last is None else last.sequence,
        "root": followed.root or None,
        "fetched": fetched if last is not None else None,
        "expires": None if last is None else last.validity.isoformat(timespec="seconds"),
        "updated": head.get("updated"),
        "models": head.get("models"),
        "pins": head.get("pins"),
        "refusal": followed.refusal or None,
    }


def _print(catalogs: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(catalogs)
        return
    if not catalogs:
        say("No shared catalog is followed. `pinformers catalog follow NAME` follows one.")
        return
    rows = [[one["label"], *(value for _, value in _lines(one)), one["name"]] for one in catalogs]
    columns = [name.upper() for name, _ in _lines(catalogs[0])]
    print_with_cids(["CATALOG", *columns, "IPNS NAME"], rows, ("NUMBER", "MODELS"))
    for one in catalogs:
        if one["refusal"]:
            note(one["refusal"])


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    if facts["sequence"] is None:
        return [("number", "-"), ("fetched", "never"), ("expires", "-"), ("models", "-")]
    fetched, expires = (datetime.fromisoformat(facts[name]) for name in ("fetched", "expires"))
    models = "?" if not isinstance(facts["models"], int) else str(facts["models"])
    age = f"{span(time.time() - fetched.timestamp())} ago"
    return [("number", str(facts["sequence"])), ("fetched", age), ("expires", day(expires)), ("models", models)]
