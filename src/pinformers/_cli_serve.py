"""What ``serve`` does: a trustless gateway over the pin cache, or over CAR files, until it is told to end."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pinformers import _logging
from pinformers._cli_output import note, plural, progress_bar, say
from pinformers._composition import build_sharing, embedded
from pinformers._errors import ServeError
from pinformers._settings import Settings, read_settings
from pinformers.ipfs.cid import CID, Block
from pinformers.pinning.pin import Pin
from pinformers.serving.car_files import CarFiles
from pinformers.serving.listening import listen, until_signalled, url, urls_for_others
from pinformers.serving.secure import check_tls, serve_tls
from pinformers.serving.threads import serve_plainly
from pinformers.sources.embedded import EmbeddedSource


@dataclass(frozen=True, slots=True)
class Stall:
    """Where to serve, and what: the CAR files, or the pin cache where there are none; TLS with ``files``."""

    host: str
    port: int
    cars: Sequence[Path] = ()
    tls: tuple[Path, Path] | None = None


def serve(stall: Stall) -> int:
    """Serve until SIGINT or SIGTERM; raises ServeError where that cannot begin."""
    settings = read_settings({}).settings
    _logging.attach(settings.log)
    if stall.tls is not None:
        check_tls(*stall.tls)
    with listen(stall.host, stall.port) as bound:
        scheme = "http" if stall.tls is None else "https"
        place = url(scheme, bound)
        # Meanwhile signals end the process as ever: it may take long, and nobody is served yet.
        source, what = _cars(stall.cars) if stall.cars else _pins(settings)
        if not _is_loopback(bound.getsockname()[0]):
            others = " or ".join(urls_for_others(scheme, bound))
            note(f"Other machines reach it at {others}; whoever does, and knows a CID, can read it.")

        def blocks(cid: CID) -> Block:
            # Both sources have verified what they return.
            return Block(cid, source.block(cid))

        with until_signalled() as ended:
            say(f"Serving {what} at {place} (Ctrl-C ends)")
            if stall.tls is None:
                serve_plainly(bound, blocks, ended)
            else:
                serve_tls(bound, blocks, stall.tls, ended)
    return 0


def _cars(paths: Sequence[Path]) -> tuple[CarFiles, str]:
    for path in paths:
        # A pipe would be waited for, and has no places to which one can return.
        if path.exists() and not path.is_file():
            raise ServeError(str(path), "this is no file; --car takes CAR files on a disk.")
    with progress_bar("Indexing") as bar:
        bar.begin(sum(path.stat().st_size for path in paths))
        cars = CarFiles(paths, bar)
    return cars, f"{plural(len(cars), 'block')} of {plural(len(paths), 'CAR file')}"


def _pins(settings: Settings) -> tuple[EmbeddedSource, str]:
    sharing = build_sharing(settings)
    pins = [pin for pin in sharing.catalog.pins() if pin.files]
    kept = {pin.repo: word for pin in pins if (word := sharing.gate.access(pin)) != "open"}
    if kept:
        named = ", ".join(f"{repo} ({word})" for repo, word in sorted(kept.items()))
        note(f"Left out, as the hub is not known to give it to everyone: {named}. The setting gated says more.")
    models = {(pin.repo_type, pin.repo) for pin in pins if pin.repo not in kept}

    def chosen(pin: Pin) -> bool:
        # Blocks wait meanwhile, so the hub is not asked for what is pinned from now on.
        return sharing.gate.access(pin, ask=False) == "open"

    return embedded(sharing.catalog, remember=True, chosen=chosen), plural(len(models), "pinned model")


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
