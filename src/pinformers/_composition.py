"""Build the resolver out of Settings: the one place where values leave them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pinformers import _logging
from pinformers._discovery import DEFAULT_API
from pinformers._errors import SettingsError
from pinformers._metadata import entry_points
from pinformers._settings import GROUP, Settings, user_folder
from pinformers._sharing import Sharing, kubo_node
from pinformers.pinning.cache import normal
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.lockfile import Lock, LockSource, nearest_lock
from pinformers.pinning.lookup import Lookup
from pinformers.pinning.pin import Pin
from pinformers.pinning.resolver import Policy, Resolver, folder_blocks, local_files
from pinformers.sources.base import Lazy, Source
from pinformers.sources.embedded import EmbeddedSource


def build_resolver(settings: Settings, *, tell: Callable[[str], None] = _logging.say) -> Resolver:
    """Return a resolver for ``settings``; raises SettingsError for a source that nobody provides.

    ``tell`` hears of a lockfile that was found, and not named, once it is used.
    """
    cache = _default_cache(settings)
    sharing = build_sharing(settings)
    catalog = sharing.catalog
    hub = "hub" in settings.sources
    policy = Policy(settings.on_miss, hub, settings.lock_timeout, settings.locked, settings.gated, settings.chunking)
    moved = str(settings.cache_dir) if settings.cache_dir is not None else None
    lookup = Lookup(catalog, _lock(settings, tell), sharing.shelves, locked=settings.locked)
    return Resolver(lookup, cache, sharing.sources, policy, moved, sharing.publisher(), sharing.resolve_name)


def build_sharing(settings: Settings) -> Sharing:
    """Return what reaches beyond this machine; raises SettingsError for a source that nobody provides."""
    catalog = Catalog(state_dir(settings), lock_timeout=settings.lock_timeout)
    sources = [source for name in settings.sources if name != "hub" for source in _sources(name, catalog, settings)]
    return Sharing(settings, catalog, sources)


def embedded(
    catalog: Catalog, *, remember: bool = False, chosen: Callable[[Pin], bool] = lambda _: True
) -> EmbeddedSource:
    """Return the source of the blocks that the cached files of ``catalog`` hold, of the ``chosen`` pins."""
    files, folders = partial(local_files, catalog, chosen), partial(folder_blocks, catalog, chosen)
    return EmbeddedSource(files, folders, catalog.version, remember=remember)


def hub_cache(settings: Settings) -> str:
    """Return the hub cache: the setting, or huggingface_hub's own default."""
    return normal(_default_cache(settings)())


def _default_cache(settings: Settings) -> Callable[[], str]:
    if settings.cache_dir is not None:
        moved = str(settings.cache_dir)
        return lambda: moved
    # deferred: `pinformers config` and the tests of settings need no hub client.
    from huggingface_hub import constants

    # At each call, as huggingface_hub does: test suites replace it for a while.
    return lambda: constants.HF_HUB_CACHE


def state_dir(settings: Settings) -> Path:
    """Return the folder of our records: the setting, beside the hub cache, or the user's where that cannot be begun."""
    if settings.state_dir is not None:
        return settings.state_dir
    beside = Path(hub_cache(settings)).parent / "pinformers"
    # Pins that are there count, also where none can be added: seen from another folder, none would exist.
    if os.path.isdir(beside / "pins") or _writable(beside):
        return beside
    # deferred: most have no need of it, and all wait for it at the first load.
    import platformdirs

    return user_folder(platformdirs.user_data_dir) or beside


def lockfile(settings: Settings) -> Path | None:
    """Return the lockfile in force: the setting, or the nearest one from the working directory upwards."""
    try:
        return settings.lockfile or nearest_lock(Path.cwd())
    except FileNotFoundError:
        # The working directory was deleted: there is no project around us.
        return None


def _lock(settings: Settings, tell: Callable[[str], None]) -> Callable[[], Lock | None]:
    if settings.lockfile is not None:
        if not settings.lockfile.is_file():
            raise SettingsError("lockfile", str(settings.lockfile), "the settings", "a lockfile that exists")
        return LockSource(settings.lockfile).read
    path = lockfile(settings)
    return LockSource(path, tell).read if path is not None else lambda: None


def _sources(name: str, catalog: Catalog, settings: Settings) -> list[Source]:
    if name == "embedded":
        return [embedded(catalog)]
    if name == "kubo":
        return [Lazy(name, lambda: _kubo(settings), expected=settings.kubo_api != DEFAULT_API, proves=True)]
    if name == "gateway":
        return [Lazy(name, lambda: _gateways(settings), proves=True)] if settings.gateways else []
    plug_in: Source = entry_points(GROUP)[name].load()()
    # What it says of itself beyond that counts for nothing: every block of it is verified.
    return [Lazy(plug_in.name, lambda: plug_in, local=getattr(plug_in, "local", False))]


def _kubo(settings: Settings) -> Source:
    # deferred: network clients, which a load out of the hub cache never needs.
    from pinformers.sources.kubo import KuboSource

    return KuboSource(kubo_node(settings), swarm_timeout=settings.swarm_timeout)


def _gateways(settings: Settings) -> Source:
    # deferred: as above.
    from pinformers.sources.gateway import GatewaySource
    from pinformers.sources.http import Network

    network = Network.of_user(settings.ca_bundle)
    return GatewaySource(settings.gateways, stall_timeout=settings.gateway_timeout, network=network)


def _writable(folder: Path) -> bool:
    # Of os.path: those of pathlib raise below a folder that may not be searched, as a HOME of another user.
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    return os.path.isdir(folder) and os.access(folder, os.W_OK)
