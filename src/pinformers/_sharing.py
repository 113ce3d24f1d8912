"""Compose what reaches beyond this machine: shared catalogs, clusters, publishing, IPNS names."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pinformers._errors import BadContent, PinError, PinformersError, SourceError
from pinformers._settings import Settings
from pinformers.ipfs.cid import CID
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.catalog_blocks import AnySource
from pinformers.pinning.following import FetchRecord, Following
from pinformers.pinning.lookup import Shelf
from pinformers.pinning.pin import Pin
from pinformers.pinning.publishing import Published, publish
from pinformers.sources.base import Source

if TYPE_CHECKING:
    from pinformers.pinning.cluster_pins import ClusterShelf
    from pinformers.sources.kubo import KuboNode

_logger = logging.getLogger("pinformers")


def kubo_node(settings: Settings) -> KuboNode:
    """Return the Kubo node of the settings."""
    # deferred: network clients, which a load out of the hub cache never needs.
    from pinformers.sources.kubo import KuboNode

    return KuboNode(settings.kubo_api, token=settings.kubo_token, ca_bundle=settings.ca_bundle)


class Sharing:
    """The shared catalogs that ``settings`` name, asked through ``sources``, and the way by which pins are offered."""

    def __init__(self, settings: Settings, catalog: Catalog, sources: Sequence[Source]) -> None:
        self._settings, self.catalog, self.sources = settings, catalog, sources
        self._others = AnySource([source for source in sources if not source.local])
        self._lock = threading.Lock()
        self._following: Following | None = None
        self._cluster: ClusterShelf | None = None
        self._said: set[str] = set()

    # -- catalogs ---------------------------------------------------------------------------------------------

    @property
    def following(self) -> Following:
        """The catalogs that are followed."""
        with self._lock:
            if self._following is None:
                folder = self.catalog.state_dir / "catalogs"
                grace = self._settings.catalog_grace
                self._following = Following(folder, self.record_sources(), self._others, grace=grace)
            return self._following

    def shelves(self) -> list[Shelf]:
        """Return the followed catalogs, and the cluster's pins."""
        shelves: list[Shelf] = [self.following] if (self.catalog.state_dir / "catalogs").is_dir() else []
        return [*shelves, self.cluster] if self._settings.cluster_api is not None else shelves

    @property
    def cluster(self) -> ClusterShelf:
        """The pins of the cluster that the settings name."""
        # deferred: network clients, see kubo_node.
        from pinformers.pinning.cluster_pins import ClusterShelf
        from pinformers.sources.cluster import ClusterNode

        with self._lock:
            if self._cluster is None:
                self._cluster = ClusterShelf(ClusterNode(self._settings.cluster_api or ""), self._others)
            return self._cluster

    # -- names ------------------------------------------------------------------------------------------------

    def record_sources(self) -> list[FetchRecord]:
        """Return whoever may deliver the signed record of a name."""
        # deferred: network clients, see kubo_node. Not inside of the calls, which come from several threads.
        from pinformers.sources.ipns import fetch_record

        asked: list[FetchRecord] = []
        if "kubo" in self._settings.sources:
            asked.append(kubo_node(self._settings).name_record)
        if "gateway" in self._settings.sources:
            timeout = self._settings.gateway_timeout
            asked += [partial(fetch_record, url, timeout=timeout) for url in self._settings.gateways]
        return asked

    def resolve_name(self, name: str) -> CID:
        """Return what an IPNS name points to: by the newest of the valid records that are delivered."""
        # deferred: signatures, which only such names need.
        from pinformers.ipfs.ipns import IpnsRecord, verify_record

        found: list[IpnsRecord] = []
        problems: list[str] = []
        for ask in self.record_sources():
            try:
                record = verify_record(name, ask(name))
            except (SourceError, BadContent) as exc:
                problems.append(str(exc).rstrip("."))
                continue
            if record.validity.timestamp() > time.time():
                found.append(record)
            else:
                problems.append(f"a record of it expired on {record.validity:%Y-%m-%d}")
        if not found:
            raise PinError(
                f"ipns://{name}", f"nobody delivers a valid record of it ({'; '.join(problems) or 'no source'})"
            )
        newest = max(found, key=lambda record: record.rank)
        if newest.path:
            raise PinError(f"ipns://{name}", f"it points to a path below a CID ({newest.value}); use that path itself")
        return newest.root

    # -- publishing -------------------------------------------------------------------------------------------

    def publisher(self) -> Callable[[Pin], None] | None:
        """Return what offers a pin after a load, as the setting ``publish`` says; None where it says never.

        It raises only where the setting is ``required``.
        """
        how = self._settings.publish
        return None if how == "never" else partial(self._offer, required=how == "required")

    def _offer(self, pin: Pin, *, required: bool) -> None:
        try:
            self.publish(pin)
        except (OSError, PinformersError) as exc:
            if required:
                raise
            self._say(f"{pin.repo} is not published: {exc}")

    def publish(self, pin: Pin) -> Published:
        """Give a pin to the daemon, and to the cluster where one is named."""
        node = kubo_node(self._settings)
        done = publish(self.catalog, pin, node)
        if self._settings.cluster_api is not None and pin.repo_type == "model" and pin.origin != "ipfs":
            refs = self.catalog.refs(pin.repo)
            seen = {name: self.catalog.ref(pin.repo, name) for name, commit in refs.items() if commit == pin.commit}
            self.cluster.publish(pin, {name: ref[1] for name, ref in seen.items() if ref is not None}, node)
        return done

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            _logger.info("%s", sentence)
