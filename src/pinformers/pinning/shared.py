"""Publish the local catalog under an IPNS name of a Kubo node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pinformers._errors import PinError, SourceError
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.ipns import verify_record
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin
from pinformers.pinning.shared_tree import Tree, build_tree, publishable

KEY = "pinformers"
# Kubo's own defaults. While its daemon runs it signs anew every four hours.
LIFETIME, TTL = 48 * 3600.0, 300.0


class Node(Protocol):
    """What is asked of a Kubo node; times are in seconds."""

    def import_car(self, blocks: Iterable[Block], roots: Sequence[CID]) -> None:
        """Store blocks, and pin nothing."""

    def pin(self, cid: CID, name: str) -> None:
        """Pin a DAG under a name."""

    def unpin(self, cid: CID) -> None:
        """Pin it no longer."""

    def pins(self, name: str) -> Mapping[CID, str]:
        """Return the pins whose names hold ``name``, with their names."""

    def keys(self) -> Mapping[str, str]:
        """Return the IPNS keys by their names."""

    def key_gen(self, name: str) -> str:
        """Make an Ed25519 key and return its IPNS name."""

    def publish_name(self, cid: CID, *, key: str, lifetime: float, ttl: float) -> str:
        """Sign that the key's name stands for ``cid``; return the name."""

    def name_record(self, name: str) -> bytes:
        """Return the signed record of a name."""


@dataclass(frozen=True, slots=True)
class Published:
    """The IPNS ``name``, what it now stands for, and with which ``sequence`` number."""

    name: str
    tree: Tree
    sequence: int


def publish_catalog(
    catalog: Catalog,
    node: Node,
    *,
    key: str = KEY,
    models: Sequence[str] = (),
    lifetime: float = LIFETIME,
    ttl: float = TTL,
) -> Published:
    """Publish the pins of ``models``, or all, under the node's ``key``, which is made where it is missing.

    Raises PinError where there is nothing to publish, and the node's own errors.
    """
    pins = _chosen(catalog, models)
    tree = build_tree(pins, {repo: _refs(catalog, repo) for repo in {pin.repo for pin in pins}})
    known = node.keys()
    if key not in known:
        node.key_gen(key)
    label = f"pinformers-catalog {key}"
    node.import_car(tree.blocks, [tree.root])
    before = [cid for cid, name in node.pins(label).items() if name == label]
    if not any(cid.multihash == tree.root.multihash for cid in before):
        node.pin(tree.root, label)
    name = node.publish_name(tree.root, key=key, lifetime=lifetime, ttl=ttl)
    # Only now does nobody need the older ones.
    for cid in before:
        if cid.multihash != tree.root.multihash:
            node.unpin(cid)
    return Published(name, tree, verify_record(name, _record(node, name)).sequence)


def _record(node: Node, name: str) -> bytes:
    try:
        return node.name_record(name)
    except SourceError as exc:
        # Kubo signs and publishes with Routing.Type "none" as well, and says that it did.
        reason = f"it signed {name} and gives the record to nobody ({exc.reason}); its Routing.Type must not be none"
        raise SourceError(exc.source, reason) from exc


def _chosen(catalog: Catalog, models: Sequence[str]) -> list[Pin]:
    pins = [pin for pin in catalog.pins() if publishable(pin) and (not models or pin.repo in models)]
    for model in models:
        if not any(pin.repo == model for pin in pins):
            raise PinError(model, "it is not pinned, so no catalog can name it; `pinformers pin` pins it")
    if not pins:
        raise PinError("The catalog", "it would be empty; `pinformers pin MODEL` pins a model")
    return pins


def _refs(catalog: Catalog, repo: str) -> dict[str, tuple[str, int]]:
    return {name: ref for name in catalog.refs(repo) if (ref := catalog.ref(repo, name)) is not None}
