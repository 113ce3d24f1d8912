from __future__ import annotations

from pathlib import Path

import pytest

from pin_rooms import FILES, PIN, REPO, MemorySource, make_resolver, tree, write_folder
from pinformers._errors import BlockNotFound
from pinformers.ipfs.cid import CID
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.lockfile import Lock
from pinformers.pinning.lookup import Found, Lookup
from pinformers.pinning.pin import Pin
from pinformers.pinning.reporting import explanation, summary
from pinformers.pinning.resolver import Policy, Resolver
from pinformers.sources.base import Lazy, Source


class Shelf:
    """A catalog of others that names PIN."""

    def find(self, repo: str, revision: str) -> Found | None:
        return Found(PIN._replace(pinned_at="2026-01-01T00:00:00+00:00"), "theirs", "theirs says so", 5)


def around(tmp_path: Path, *sources: Source, hub: bool = True) -> Resolver:
    """A resolver of a machine that has nothing but a lockfile, which names PIN."""
    lookup = Lookup(Catalog(tmp_path / "pinformers"), lambda: Lock({(REPO, "main"): PIN}, "/p/pinformers.lock"))
    return Resolver(lookup, lambda: str(tmp_path / "hub"), sources, Policy(hub_allowed=hub), None)


def refused() -> Source:
    raise AssertionError("explaining asked a source that is not on this machine")


def test_explaining_records_nothing(tmp_path: Path) -> None:
    locked = around(tmp_path)
    shared = Resolver(
        Lookup(locked.catalog, shelves=lambda: [Shelf()]), lambda: str(tmp_path / "hub"), [], Policy(), None
    )
    assert all(explanation(resolver, REPO, None)["commit"] == PIN.commit for resolver in (locked, shared))
    assert tree(tmp_path) == {}


def test_who_may_have_the_model_is_said(tmp_path: Path) -> None:
    resolver, closed = around(tmp_path), PIN._replace(info={"gated": "manual"})
    assert explanation(resolver, "org/other", None)["access"] is None
    assert explanation(resolver, REPO, None)["access"] == "unknown"
    lookup = Lookup(resolver.catalog, lambda: Lock({(REPO, "main"): closed}))
    found = Resolver(lookup, lambda: str(tmp_path / "hub"), [], Policy(), None)
    assert explanation(found, REPO, None)["access"] == "gated"


def test_what_a_lockfile_alone_names_has_no_date(tmp_path: Path) -> None:
    resolver = around(tmp_path)
    assert explanation(resolver, REPO, None)["why"] == "the lockfile names it (/p/pinformers.lock)"
    # Recorded by a load.
    assert resolver.resolve(REPO, None) is not None
    assert explanation(resolver, REPO, None)["why"] == "the lockfile names it (/p/pinformers.lock)"


def test_what_a_catalog_named_was_pinned_there(tmp_path: Path) -> None:
    lookup = Lookup(Catalog(tmp_path / "pinformers"), shelves=lambda: [Shelf()])
    resolver = Resolver(lookup, lambda: str(tmp_path / "hub"), [], Policy(), None)
    why = explanation(resolver, REPO, None)["why"]
    assert why == "theirs named it; it is pinned there since 2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(("expected", "name"), [(True, "kubo"), (False, "kubo (if one runs here)")])
def test_a_source_that_is_elsewhere_is_neither_asked_nor_promised(tmp_path: Path, expected: bool, name: str) -> None:
    sources = [Lazy("kubo", refused, expected=expected), Lazy("gateway", refused)]
    said = explanation(around(tmp_path, *sources), REPO, None)["files"][0]
    assert (said["source"], said["why"]) == ("not here", f"a load would ask {name}, then gateway, then the hub")


def test_a_source_of_this_machine_is_named_where_it_has_the_file(tmp_path: Path) -> None:
    (cid,) = (CID.parse(file.cid) for file in PIN.files.values())
    for blocks, source in (({cid: b"a"}, "memory"), ({}, "nobody")):
        said = explanation(around(tmp_path, MemorySource(blocks), hub=False), REPO, None)["files"][0]
        assert said["source"] == source
    with pytest.raises(BlockNotFound):
        MemorySource({}).block(cid)


def test_of_a_folder_the_hub_is_not_asked(tmp_path: Path) -> None:
    resolver = make_resolver(tmp_path)
    pin = pin_folder(resolver, write_folder(tmp_path / "folder"), REPO).pin
    assert explanation(resolver, REPO, None)["why"] == f"the local catalog pins it since {pin.pinned_at}"
    resolver.catalog.set_ref("org/hub", "main", PIN.commit)
    resolver.catalog.add(PIN._replace(repo="org/hub", pinned_at=pin.pinned_at))
    assert "`pinformers refresh` asks the hub" in explanation(resolver, "org/hub", None)["why"]


@pytest.mark.parametrize(
    ("changes", "missing"),
    [({}, 1), ({"listed": False}, 1), ({"others": {}}, 0), ({"others": {}, "listed": False}, None)],
)
def test_how_many_files_are_missing(tmp_path: Path, changes: dict[str, object], missing: int | None) -> None:
    pin: Pin = PIN._replace(**changes)  # type: ignore[arg-type]
    assert len(FILES) > 1 and summary(make_resolver(tmp_path), pin)["missing"] == missing
