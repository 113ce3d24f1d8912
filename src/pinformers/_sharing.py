"""Compose what reaches beyond this machine: shared catalogs, clusters, publishing, IPNS names."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pinformers._errors import PinError, PinformersError, SourceUnavailable
from pinformers._settings import Settings
from pinformers.ipfs.cid import CID
from pinformers.pinning.access import Gate
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.catalog_blocks import AnySource
from pinformers.pinning.lookup import Found, Shelf
from pinformers.pinning.offering import Publish
from pinformers.pinning.pin import Pin
from pinformers.sources.base import Source

if TYPE_CHECKING:
    from pinformers.pinning.cluster_pins import ClusterShelf
    from pinformers.pinning.following import FetchRecord, Following
    from pinformers.pinning.publishing import Published
    from pinformers.sources.kubo import KuboNode

_logger = logging.getLogger("pinformers")


def kubo_node(settings: Settings, stop: Callable[[], bool] = lambda: False) -> KuboNode:
    """Return the Kubo node of the settings; a long piece of work with it ends once ``stop()`` is true."""
    # deferred: network clients, which a load out of the hub cache never needs.
    from pinformers.sources.kubo import KuboNode

    return KuboNode(settings.kubo_api, token=settings.kubo_token, ca_bundle=settings.ca_bundle, stop=stop)


class _Opened(NamedTuple):
    """A shelf that is opened when it is asked: settings that it cannot use are its failure, not the load's."""

    shelf: Callable[[], Shelf]

    def find(self, repo: str, revision: str) -> Found | None:
        return self.shelf().find(repo, revision)


class Sharing:
    """The shared catalogs that ``settings`` name, asked through ``sources``, and the way by which pins are offered."""

    def __init__(self, settings: Settings, catalog: Catalog, sources: Sequence[Source]) -> None:
        self._settings, self.catalog, self.sources = settings, catalog, sources
        self.gate = Gate(catalog, kept=settings.gated == "keep", hub_allowed="hub" in settings.sources)
        self._others = AnySource([source for source in sources if not getattr(source, "local", False)])
        self._lock = threading.Lock()
        self._following: Following | None = None
        self._cluster: ClusterShelf | None = None
        self._said: set[str] = set()

    # -- catalogs ---------------------------------------------------------------------------------------------

    @property
    def following(self) -> Following:
        """The catalogs that are followed."""
        # deferred: most loads follow none, and each of these rooms is a millisecond of every process.
        from pinformers.pinning.following import Following

        with self._lock:
            if self._following is None:
                folder = self.catalog.state_dir / "catalogs"
                grace = self._settings.catalog_grace
                self._following = Following(folder, self.record_sources(), self._others, grace=grace)
            return self._following

    def shelves(self) -> list[Shelf]:
        """Return the followed catalogs, and the cluster's pins."""
        shelves: list[Shelf] = [self.following] if (self.catalog.state_dir / "catalogs").is_dir() else []
        return [*shelves, _Opened(lambda: self.cluster)] if self._settings.cluster_api is not None else shelves

    @property
    def cluster(self) -> ClusterShelf:
        """The pins of the cluster that the settings name."""
        # deferred: network clients, see kubo_node.
        from pinformers.pinning.cluster_pins import ClusterShelf
        from pinformers.sources.cluster import ClusterNode

        with self._lock:
            if self._cluster is None:
                node = ClusterNode(self._settings.cluster_api or "", ca_bundle=self._settings.ca_bundle)
                self._cluster = ClusterShelf(node, self._others)
            return self._cluster

    # -- names ------------------------------------------------------------------------------------------------

    def record_sources(self) -> list[FetchRecord]:
        """Return whoever may deliver the signed record of a name."""
        # deferred: network clients, see kubo_node. Not inside of the calls, which come from several threads.
        from pinformers.sources.http import Network
        from pinformers.sources.ipns import fetch_record

        asked: list[FetchRecord] = []
        if "kubo" in self._settings.sources:
            # Made when it is asked: an address that is none must not keep the gateways from their answer.
            asked.append(lambda name: kubo_node(self._settings).name_record(name))
        if "gateway" in self._settings.sources:
            timeout, network = self._settings.gateway_timeout, Network.of_user(self._settings.ca_bundle)
            ask = partial(fetch_record, timeout=timeout, network=network)
            asked += [partial(ask, url) for url in self._settings.gateways]
        return asked

    def resolve_name(self, name: str) -> CID:
        """Return what an IPNS name points to: by the newest of the valid records that are delivered."""
        # deferred: as above.
        from pinformers.pinning.following import ask_all

        answers = list(ask_all(self.record_sources(), name))
        records = [answer[0] for answer in answers if isinstance(answer, tuple)]
        found = [record for record in records if record.validity.timestamp() > time.time()]
        if not found:
            problems = [str(answer).rstrip(".") for answer in answers if not isinstance(answer, tuple)]
            problems += [f"a record of it expired on {record.validity:%Y-%m-%d}" for record in records]
            why = "; ".join(problems) or "no gateway and no daemon is configured"
            raise PinError(f"ipns://{name}", f"nobody delivers a valid record of it ({why})")
        newest = max(found, key=lambda record: record.rank)
        if newest.path:
            raise PinError(f"ipns://{name}", f"it points to a path below a CID ({newest.value}); use that path itself")
        return newest.root

    # -- publishing -------------------------------------------------------------------------------------------

    def publisher(self) -> Publish | None:
        """Return what offers a pin after a load, as the setting ``publish`` says; None where it says never.

        It raises only where the setting is ``required``.
        """
        how = self._settings.publish
        return None if how == "never" else partial(self._offer, required=how == "required")

    def _offer(self, pin: Pin, stop: Callable[[], bool], *, required: bool) -> bool:
        try:
            node = kubo_node(self._settings, stop)
            if self.gate.access(pin, ask=False) in ("open", "unknown"):
                # The hub is not asked who may have a model that nobody is there to take.
                node.version()
            self.gate.check(pin, by_itself=True)
            self.publish(pin, node)
        except InterruptedError:
            raise
        except (OSError, PinformersError) as exc:
            # What the hub keeps to some is left out for good: a later process would fare no better.
            if required and self.gate.access(pin, ask=False) in ("open", "unknown"):
                raise
            # That no daemon answers is no news where one is only used if it is there.
            self._say(f"{pin.repo} is not published: {exc}", quiet=isinstance(exc, SourceUnavailable))
            return isinstance(exc, PinError)
        return True

    def publish(self, pin: Pin, node: KuboNode | None = None) -> Published:
        """Give a pin to the daemon, and to the cluster where one is named."""
        # deferred: as above.
        from pinformers.pinning.publishing import publish

        node = node or kubo_node(self._settings)
        done = publish(self.catalog, pin, node)
        if self._settings.cluster_api is not None and pin.repo_type == "model" and pin.origin != "ipfs":
            refs = self.catalog.refs(pin.repo)
            seen = {name: self.catalog.ref(pin.repo, name) for name, commit in refs.items() if commit == pin.commit}
            self.cluster.publish(pin, {name: ref[1] for name, ref in seen.items() if ref is not None}, node)
        return done

    def _say(self, sentence: str, *, quiet: bool) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            _logger.log(logging.DEBUG if quiet else logging.INFO, "%s", sentence)
