"""What ``status`` and ``config`` print."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

from pinformers import _autostart
from pinformers._activation import get_status
from pinformers._cli_output import note, plural, print_facts, print_json, print_with_prose, say, size
from pinformers._composition import hub_cache, lockfile, state_dir
from pinformers._settings import ADDRESSES, SECRET, Settings, config_path, read_settings
from pinformers.sources.addresses import redacted

_SWITCHES = {
    "env": f"on, by the environment variable {_autostart.SWITCH}",
    "force": f"on, by {_autostart.SWITCH}=force",
    "marker": "on, by `pinformers activate`",
    None: "off (`pinformers run`, PINFORMERS=1 or `pinformers activate` turn it on)",
}


_HELD_OFF = f"off: `pinformers activate` turned it on, and {_autostart.SWITCH} in the environment holds it off"


def status(*, as_json: bool) -> int:
    """Print the state of the switch, the gate and the pin cache."""
    loaded = read_settings({})
    settings, path = loaded.settings, lockfile(loaded.settings)
    said = {
        **get_status(),
        "lockfile": path and str(path),
        "switch": _autostart.wanted(),
        "marker": _autostart.marker() if _autostart.marked() else None,
    }
    said["pending"] = 0
    pending = os.path.join(said["state_dir"], "pending")
    if os.path.isdir(pending):
        said["pending"] = sum(name.endswith(".json") for name in os.listdir(pending))
    if as_json:
        print_json(said)
    else:
        print_facts(_facts(said, settings))
    for remark in loaded.remarks:
        note(f"pinformers: {remark}")
    return 0


def _facts(said: dict[str, Any], settings: Settings) -> list[tuple[str, str]]:
    versions = [f"{name} {version or '(not installed)'}" for name, version in said["versions"].items()]
    # As `config` says them; one is not asked while nobody names where it is.
    sources = [name if name in said["sources"] else f"{name} (none named)" for name in settings.sources]
    return [
        ("switch", _HELD_OFF if said["marker"] and said["switch"] is None else _SWITCHES[said["switch"]]),
        ("gate", "open" if said["should_patch"] else f"closed: {said['reason']}"),
        ("versions", ", ".join(versions)),
        ("hub cache", said["cache_dir"]),
        ("records", said["state_dir"]),
        ("lockfile", said["lockfile"] or "none here or above"),
        ("sources", ", ".join(sources)),
        ("on miss", said["on_miss"]),
        ("pinned", f"{plural(said['pins'], 'model')}, {size(said['bytes'])}"),
        ("pending", f"{plural(said['pending'], 'model')} to be hashed" if said["pending"] else "nothing"),
    ]


def config(named: str | None, *, as_json: bool) -> int:
    """Print every setting, its value and where it came from; ``named`` is the file that the environment names."""
    loaded = read_settings({})
    # What None stands for, where that is a folder.
    effective = {"cache_dir": hub_cache(loaded.settings), "state_dir": str(state_dir(loaded.settings))}
    origins = dict(loaded.origins)
    if loaded.settings.lockfile is None and (path := lockfile(loaded.settings)) is not None:
        effective["lockfile"], origins["lockfile"] = str(path), "found"
    values = {name: _open(name, effective.get(name, getattr(loaded.settings, name))) for name in loaded.origins}
    if as_json:
        print_json({name: {"value": values[name], "from": origins[name]} for name in values})
        return 0
    about = {setting.name: setting.metadata["about"] for setting in fields(Settings)}
    rows = [(name, _written(values[name]), origins[name], about[name]) for name in values]
    print_with_prose(("SETTING", "VALUE", "FROM", "WHAT IT IS"), rows)
    say()
    file = config_path(named)
    say(f"file: {file}{'' if file.is_file() else ' (there is none)'}")
    return 0


def _open(name: str, value: object) -> object:
    """Return what may be printed of a value: no token, and no password of an address."""
    if isinstance(value, tuple):
        return tuple(_open(name, part) for part in value)
    if name in SECRET and value is not None:
        return "(set, not shown)"
    if name not in ADDRESSES or not isinstance(value, str):
        return value
    return redacted(value)


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "-"
    return "-" if value is None else str(value)
