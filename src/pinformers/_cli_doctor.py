"""What ``doctor`` does: look at all that is configured, ask whoever is named, and say what to change."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pinformers._cli_checks import (
    Finding,
    check_catalogs,
    check_folders,
    check_lockfile,
    check_settings,
    check_switch,
    check_versions,
    places,
)
from pinformers._cli_output import plural, print_json, print_table, say
from pinformers._composition import hub_cache
from pinformers._discovery import DEFAULT_API
from pinformers._errors import Refusal, SettingsError, SourceError
from pinformers._settings import Loaded, Settings, read_settings
from pinformers.ipfs.cid import CID
from pinformers.sources.addresses import Address, redacted
from pinformers.sources.cluster import ClusterNode
from pinformers.sources.http import Connections, Exchange, Network
from pinformers.sources.kubo import KuboNode
from pinformers.sources.trustless import Gateway
from pinformers.sources.workers import Workers

Check = Callable[[], Iterable[Finding]]
# For each answer of a server, and for all of an area: a server whose answer drips ends no other way.
WAIT, PATIENCE = 4.0, 25.0
# The identity CID of nothing: every gateway has it.
_PROBE = CID.parse("bafkqaaa")
_FILESTORE = "`ipfs config --json Experimental.FilestoreEnabled true` and a restart of the daemon"


def doctor(*, as_json: bool) -> int:
    """Print what works and what to change; 1 where something that is configured does not work."""
    try:
        findings = examine(read_settings({}))
    except SettingsError as exc:
        unread = Finding("settings", "wrong", f"{exc} What the settings name is looked at once that is mended.")
        findings = [*run_checks([("switch", check_switch), ("versions", check_versions)], PATIENCE), unread]
    wrong = sum(finding.level == "wrong" for finding in findings)
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        print_table(("", "AREA", "WHAT WAS SEEN"), [(one.level, one.area, one.sentence) for one in findings])
        say()
        say(f"{plural(wrong, 'thing')} to change, marked wrong." if wrong else "Nothing is wrong.")
    return 1 if wrong else 0


def examine(loaded: Loaded) -> list[Finding]:
    """Look at every area, all at once; what one of them raises is its own finding."""
    return run_checks(_areas(loaded), PATIENCE)


def _areas(loaded: Loaded) -> list[tuple[str, Check]]:
    settings = loaded.settings
    return [
        ("switch", check_switch),
        ("versions", partial(check_versions, settings)),
        ("settings", partial(check_settings, loaded)),
        ("kubo", partial(check_kubo, settings, loaded.origins["kubo_api"])),
        *_gateways(settings),
        ("cluster", partial(check_cluster, settings)),
        ("lockfile", partial(check_lockfile, settings)),
        ("catalogs", partial(check_catalogs, settings)),
        ("folders", lambda: check_folders(places(settings))),
    ]


def run_checks(areas: Sequence[tuple[str, Check]], patience: float) -> list[Finding]:
    """Run checks beside each other and return their findings in order; none hides those of another."""
    asked = [(name, _Area(name, check)) for name, check in areas]
    deadline = time.monotonic() + patience
    return [finding for _, area in asked for finding in area.findings(deadline)]


class _Area:
    """A check that runs in a thread of its own, where one can be had; the end of the process does not wait for it."""

    def __init__(self, name: str, check: Check) -> None:
        self._name, self._check = name, check
        self._found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()
        workers = Workers(f"pinformers-doctor-{name}")
        workers.run(self._run)
        workers.close()

    def _run(self) -> None:
        try:
            for finding in self._check():
                self._found.put(finding)
        except SourceError as exc:
            self._found.put(Finding(self._name, "wrong", f"{exc.reason.rstrip('.')}."))
        except Exception as exc:
            # Told, not raised: one area must not hide the others.
            said = f"It could not be looked at: {str(exc).rstrip('.') or 'no reason'} ({type(exc).__name__})."
            self._found.put(Finding(self._name, "wrong", said))
        finally:
            self._found.put(None)

    def findings(self, deadline: float) -> Iterator[Finding]:
        try:
            while (found := self._found.get(timeout=max(0.001, deadline - time.monotonic()))) is not None:
                yield found
        except queue.Empty:
            said = "Looking at it did not come to an end; a server or a disk hangs there, or is overloaded."
            yield Finding(self._name, "wrong", said)


# -- Kubo -----------------------------------------------------------------------------------------------------


def check_kubo(settings: Settings, origin: str) -> Iterator[Finding]:
    """Ask the daemon who it is, and whether models can be published there without a copy."""
    named = settings.kubo_api != DEFAULT_API or settings.kubo_token is not None
    if not named and "kubo" not in settings.sources and settings.publish == "never":
        said = "No daemon is used: the setting sources does not name kubo, and publish is never."
        yield Finding("kubo", "note", said)
        return
    place = "the default address" if origin == "default" else f"from {origin}"
    try:
        node = KuboNode(settings.kubo_api, token=settings.kubo_token, timeout=WAIT, ca_bundle=settings.ca_bundle)
        where = f"{node.url} ({place})"
        version, old = node.version(), node.too_old()
    except SourceError as exc:
        where = f"{redacted(settings.kubo_api)} ({place})"
        yield _absent(where, exc.reason.rstrip("."), needed=named or settings.publish == "required")
        return
    yield Finding("kubo", "ok", f"Kubo {version} answers at {where}.")
    if old is not None:
        yield Finding("kubo", "wrong", f"{old}; update it, so that models can be published there.")
    for ask in (partial(_filestore, node, settings), partial(_peers, node)):
        try:
            yield ask()
        except SourceError as exc:
            said = f"The daemon did not say all that publishing needs: {exc.reason.rstrip('.')}."
            yield Finding("kubo", "note", said)


def _absent(where: str, why: str, *, needed: bool) -> Finding:
    if needed:
        change = "start it with `ipfs daemon`, or name another with `export PINFORMERS_KUBO_API=ADDRESS`"
        return Finding("kubo", "wrong", f"No Kubo daemon can be used at {where}: {why}; {change}.")
    said = f"No Kubo daemon can be used at {where}: {why}; nothing names one, so models come from elsewhere"
    return Finding("kubo", "note", f"{said}; to have one: `ipfs init`, then `ipfs daemon`.")


def _filestore(node: KuboNode, settings: Settings) -> Finding:
    if not node.local:
        return Finding("kubo", "note", "The daemon runs on another machine, so it stores a copy of what is published.")
    if not node.filestore_enabled():
        said = "Its filestore is off, so what is published is stored twice"
        return Finding("kubo", "note", f"{said}; {_FILESTORE} save the copy.")
    parent, cache = node.repo_path().resolve().parent, Path(hub_cache(settings)).resolve()
    if parent in (cache, *cache.parents):
        return Finding("kubo", "ok", f"Its filestore is on, and {cache} lies below {parent}: published without a copy.")
    said = f"Its filestore takes only what lies below {parent}, and the hub cache is {cache}: published with a copy"
    return Finding("kubo", "note", f"{said}; `export PINFORMERS_CACHE_DIR={parent / 'hub'}` saves it.")


def _peers(node: KuboNode) -> Finding:
    count = node.peers()
    if count:
        return Finding("kubo", "ok", f"It is connected to {plural(count, 'peer')}.")
    said = "It is connected to no peer, so it has only what its own repo holds"
    return Finding("kubo", "note", f"{said}; `ipfs swarm connect ADDRESS` connects it.")


# -- gateways and the cluster ---------------------------------------------------------------------------------


def _gateways(settings: Settings) -> Iterator[tuple[str, Check]]:
    if settings.gateways and "gateway" not in settings.sources:
        said = "The gateways are not used: the setting sources does not name gateway."
        yield "gateways", lambda: [Finding("gateways", "note", said)]
        return
    for url in dict.fromkeys(settings.gateways):
        yield "gateways", partial(check_gateway, url, Network.of_user(settings.ca_bundle))


def check_gateway(url: str, network: Network) -> Iterator[Finding]:
    """Ask a gateway for the empty block, which it must have."""
    change = "name gateways that work with `export PINFORMERS_GATEWAYS=URL,URL`"
    try:
        address = Address.parse(url.strip())
    except ValueError as exc:
        yield Finding("gateways", "wrong", f"{redacted(url)} is no URL of a gateway: {exc}; {change}.")
        return
    connections = Connections(network, timeout=WAIT, kept=1)
    try:
        Gateway(address).block(_PROBE, connections, Exchange())
    except Refusal as exc:
        why = exc.reason.rstrip(".")
        yield Finding("gateways", "wrong", f"{address.url} does not answer as a gateway: {why}; {change}.")
    else:
        yield Finding("gateways", "ok", f"{address.url} answers as a trustless gateway.")
    finally:
        connections.close()


def check_cluster(settings: Settings) -> Iterator[Finding]:
    """Ask the cluster's peer who it is."""
    if settings.cluster_api is None:
        return
    change = "start it, or name another with `export PINFORMERS_CLUSTER_API=ADDRESS`"
    try:
        node = ClusterNode(settings.cluster_api, timeout=WAIT, patience=WAIT, ca_bundle=settings.ca_bundle)
        where, version = node.url, node.version()
    except SourceError as exc:
        yield Finding(
            "cluster",
            "wrong",
            f"{exc.source[:1].upper()}{exc.source[1:]} cannot be used: {exc.reason.rstrip('.')}; {change}.",
        )
        return
    if not version[:1].isdigit():
        yield Finding("cluster", "wrong", f"What answers at {where} is no IPFS Cluster; {change}.")
        return
    yield Finding("cluster", "ok", f"IPFS Cluster {version} answers at {where}.")
