"""What a person asks about the pin cache: how much, what is where, from where a model would come and why."""

from __future__ import annotations

import time
from typing import Any

from pinformers._errors import SourceError
from pinformers.ipfs.cid import CID
from pinformers.pinning import access
from pinformers.pinning.ledger import PLAIN, Served
from pinformers.pinning.pin import Pin, parse_name
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.publishing import published
from pinformers.pinning.references import Reference
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.times import span
from pinformers.sources.base import Source

_LOADS = "plain transformers loads it where the hub cache holds it or the hub delivers it"
_ON_MISS = {
    "import": f"{_LOADS}, and it is pinned beside the load",
    "passthrough": f"{_LOADS}, and nothing is recorded",
    "error": "loading it is refused",
}
_REFERENCE = "loading it asks the sources for what its CID holds, and pins it; the hub is not asked"
_NO_HUB = "the setting sources does not name the hub, so only what the hub cache holds can be loaded"


def totals(resolver: Resolver) -> dict[str, Any]:
    """Return where things lie, how much is pinned, and this process's counts."""
    pins = [pin for pin in resolver.catalog.pins() if pin.files]
    names = ("hits", "misses", "fallbacks")
    return {
        "cache_dir": resolver.default_cache,
        "state_dir": str(resolver.catalog.state_dir),
        "sources": [*(source.name for source in resolver.sources), *(["hub"] if resolver.policy.hub_allowed else [])],
        "on_miss": resolver.policy.on_miss,
        "pins": len(pins),
        "bytes": sum(pin.size for pin in pins),
        **{name: resolver.ledger.counts[name] for name in names},
    }


def summary(resolver: Resolver, pin: Pin) -> dict[str, Any]:
    """Return one line of ``pinformers ls``."""
    refs = resolver.catalog.refs(pin.repo, pin.repo_type)
    return {
        "model": pin.name,
        "revisions": sorted(name for name, commit in refs.items() if commit == pin.commit),
        "commit": pin.commit,
        "root": pin.root,
        "files": len(pin.files),
        "missing": len(pin.others) if pin.listed or pin.others else None,
        "bytes": pin.size,
        "origin": pin.origin,
        "access": access.said(pin),
        "pinned_at": pin.pinned_at,
        "caches": [place.cache_dir for place in resolver.catalog.places(pin)],
    }


def explanation(resolver: Resolver, repo: str, revision: str | None) -> dict[str, Any]:
    """Return, file by file, from where a model would be served, or was in this process, and why."""
    pinned = looked_up(resolver, repo, revision)
    return explained(resolver, repo, revision, pinned)


def looked_up(resolver: Resolver, repo: str, revision: str | None) -> PinnedRepo | None:
    """Return the pin that would answer, and record nothing of it: a question changes nothing."""
    name, repo_type = parse_name(repo)
    return resolver.find(name, revision, repo_type=repo_type, note=False)


def explained(resolver: Resolver, repo: str, revision: str | None, pinned: PinnedRepo | None) -> dict[str, Any]:
    """Return what ``explanation`` does, of a pin that was looked up."""
    said: dict[str, Any] = {"model": repo, "revision": revision or "main", "pinned": pinned is not None}
    if pinned is None:
        on_miss = resolver.policy.on_miss
        why = _ON_MISS[on_miss] if resolver.hub_allowed or on_miss == "error" else _NO_HUB
        if Reference.parse(repo) is not None:
            why = _REFERENCE
        return {
            **said,
            "commit": None,
            "root": None,
            "complete": False,
            "access": None,
            "published": None,
            "why": f"no pin names it; {why}",
            "files": [],
        }
    files = [_file(resolver, pinned, path) for path in sorted(pinned.pin.files)]
    files += [_other(resolver, pinned, path) for path in sorted(pinned.pin.others)]
    return {
        **said,
        "commit": pinned.commit,
        "root": pinned.pin.root,
        "complete": pinned.pin.complete,
        "access": access.said(pinned.pin),
        "why": _named(resolver, pinned),
        "published": done.to_json() if (done := published(resolver.catalog, pinned.pin)) is not None else None,
        "files": files,
    }


def _named(resolver: Resolver, pinned: PinnedRepo) -> str:
    """Say who names the pin, and how old the word on a branch is."""
    pin = pinned.pin
    why = [f"the local catalog pins it since {pin.pinned_at}"] if pin.pinned_at else []
    if pin.origin == "ipfs":
        return "; ".join(["its CID says what it is", *why])
    if pinned.holder:
        why = [f"the lockfile names it ({pinned.holder})", *why]
    elif pin.learned:
        why = [f"{pin.learned} named it", *(f"it is pinned there since {pin.pinned_at}" for _ in why)]
    seen = resolver.catalog.ref(pin.repo, pinned.revision, pin.repo_type)
    # Of a folder the hub knows nothing.
    if seen is not None and seen[0] == pin.commit and pin.origin == "hub":
        age = span(time.time() - seen[1] / 1e9)
        why.append(f"{pinned.revision} was seen at this commit {age} ago, `pinformers refresh` asks the hub")
    return "; ".join(why)


def _file(resolver: Resolver, pinned: PinnedRepo, path: str) -> dict[str, Any]:
    file = pinned.pin.files[path]
    was = resolver.ledger.served(pinned.pin.repo, pinned.commit, path)
    would = was or _would(resolver, pinned, path)
    return {
        "path": path,
        "size": file.size,
        # What plain transformers read in its place is not what the pin says.
        "cid": None if was is not None and was.source == PLAIN else file.cid,
        "source": would.source,
        "why": would.why,
        "served": was is not None,
    }


def _would(resolver: Resolver, pinned: PinnedRepo, path: str) -> Served:
    state = pinned.state(path)
    if state == "here":
        return Served("hub cache", "unchanged since it was hashed")
    if state == "changed":
        return Served("hub cache", "it looks unlike its record: served only if hashing it finds the pinned bytes")
    for source in resolver.sources:
        if _has(source, pinned.pin.files[path].cid):
            return Served(source.name, "it is not in the hub cache; its blocks lie elsewhere on this machine")
    asked = [_described(source) for source in resolver.sources if not getattr(source, "local", False)]
    asked += ["the hub"] if pinned.hub_allowed else []
    if not asked:
        return Served("nobody", "it is not on this machine, and the settings name nobody who could be asked")
    return Served("not here", f"a load would ask {', then '.join(asked)}")


def _has(source: Source, cid: str) -> bool:
    """Whether a source of this machine has at least the root of a file; whoever is elsewhere is not asked."""
    try:
        return getattr(source, "local", False) and source.block(CID.parse(cid)) is not None
    except SourceError:
        return False


def _described(source: Source) -> str:
    return source.name if getattr(source, "expected", True) else f"{source.name} (if one runs here)"


def _other(resolver: Resolver, pinned: PinnedRepo, path: str) -> dict[str, Any]:
    source = "hub" if pinned.hub_allowed else "nobody"
    size = pinned.pin.others[path].get("size")
    return {"path": path, "size": size, "cid": None, "source": source, "why": "it is not pinned yet", "served": False}
