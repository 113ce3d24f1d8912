"""One frozen Settings, read once: defaults < one TOML file < ``PINFORMERS_*`` < keywords."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pinformers._discovery import DEFAULT_API, discovered
from pinformers._errors import SettingsError
from pinformers._metadata import entry_points

OnMiss = Literal["import", "passthrough", "error"]
Publish = Literal["auto", "never", "required"]
Gated = Literal["keep", "share"]
Log = Literal["debug", "info", "warning", "error", "off"]
PREFIX = "PINFORMERS_"
CONFIG = "PINFORMERS_CONFIG"
# The entry points by which other packages add sources.
GROUP = "pinformers.sources"
_BUILT_IN = ("embedded", "kubo", "gateway", "hub")
_FOR_TESTS = ("PINFORMERS_TEST_", "PINFORMERS_REQUIRE_")


def _path(value: object) -> Path | None:
    if isinstance(value, str | os.PathLike) and os.fspath(value):
        return Path(os.path.abspath(os.path.expanduser(value)))
    raise ValueError("a path")


def _names(value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, list | tuple) and all(isinstance(part, str) for part in parts):
        return tuple(part.strip() for part in parts if part.strip())
    raise ValueError("names, separated by commas")


def _sources(value: object) -> tuple[str, ...]:
    names = _names(value)
    if not names or len(set(names)) != len(names):
        raise ValueError("one or more sources, each named once, separated by commas")
    return names


def _text(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError("a text that is not empty")


def _seconds(value: object) -> float:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds < float("inf"):
        raise ValueError("a number of seconds, 0 or more")
    return seconds


def _flag(value: object) -> bool:
    # The words of the switch PINFORMERS; what it takes for true beyond them would be a slip of the pen here.
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError("true or false")


def _one_of(*names: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value in names:
            return str(value)
        raise ValueError(" or ".join(repr(name) for name in names))

    return parse


def _setting(default: Any, parse: Callable[[object], Any], about: str, *, secret: str = "") -> Any:
    return field(default=default, repr=not secret, metadata={"parse": parse, "about": about, "secret": secret})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default; ``None`` stands for the default that its description names."""

    cache_dir: Path | None = _setting(None, _path, "the hub cache; by default that of huggingface_hub")
    state_dir: Path | None = _setting(None, _path, "our records; by default `pinformers` beside the hub cache")
    on_miss: OnMiss = _setting(
        "import", _one_of("import", "passthrough", "error"), "a model without a pin: record it, let it pass, refuse it"
    )
    sources: tuple[str, ...] = _setting(
        ("embedded", "kubo", "gateway", "hub"), _sources, "where files may come from, in this order"
    )
    lockfile: Path | None = _setting(
        None, _path, "a pinformers.lock; by default the nearest one, from the working directory upwards"
    )
    locked: bool = _setting(False, _flag, "whether what is not in the lockfile is refused")
    kubo_api: str = _setting(
        DEFAULT_API,
        _text,
        "the RPC address of a Kubo daemon, a multiaddr or a URL; by default from `$IPFS_PATH/api`",
        secret="password",
    )
    kubo_token: str | None = _setting(
        None, _text, "the bearer token of that RPC, where it asks for one", secret="whole"
    )
    swarm_timeout: float = _setting(10.0, _seconds, "seconds that a Kubo daemon may look for a block in its swarm")
    gateways: tuple[str, ...] = _setting(
        (),
        _names,
        "trustless gateways; by default from `$IPFS_GATEWAY` and the files in which IPFS tools keep them",
        secret="password",
    )
    gateway_timeout: float = _setting(10.0, _seconds, "seconds without a byte after which a gateway counts as stalled")
    ca_bundle: Path | None = _setting(
        None, _path, "certificates for https; by default `$REQUESTS_CA_BUNDLE`, else those of the system"
    )
    cluster_api: str | None = _setting(
        None, _text, "the REST address of an IPFS Cluster whose pins are a catalog", secret="password"
    )
    catalog_grace: float = _setting(
        7 * 86400.0, _seconds, "seconds for which a shared catalog counts beyond the expiry of its signed record"
    )
    publish: Publish = _setting(
        "never", _one_of("auto", "never", "required"), "offer what was loaded to the Kubo daemon and the cluster"
    )
    gated: Gated = _setting(
        "keep", _one_of("keep", "share"), "what the hub keeps private or gated: keep to that, or share it like all else"
    )
    chunking: Literal["fixed", "tensors"] = _setting(
        "fixed",
        _one_of("fixed", "tensors"),
        "how new files are cut into blocks: as Kubo does, or also where the tensors of safetensors files begin",
    )
    scope: Literal["transformers", "hub"] = _setting(
        "transformers",
        _one_of("transformers", "hub"),
        "whose downloads are routed: those of transformers, or all of huggingface_hub's",
    )
    log: Log = _setting(
        "info",
        _one_of("debug", "info", "warning", "error", "off"),
        "what is shown on stderr where the application configured no logging",
    )
    lock_timeout: float = _setting(60.0, _seconds, "seconds to wait for a file lock before going on without it")


NAMES = tuple(setting.name for setting in fields(Settings))
SECRET = tuple(setting.name for setting in fields(Settings) if setting.metadata["secret"] == "whole")
# A password may stand in them.
ADDRESSES = tuple(setting.name for setting in fields(Settings) if setting.metadata["secret"] == "password")


class Loaded(NamedTuple):
    """The settings, and for each name where its value came from."""

    settings: Settings
    origins: Mapping[str, str]
    unknown: tuple[str, ...] = ()

    @property
    def strangers(self) -> list[str]:
        """What is to say of the variables that name no setting."""
        said = "The variable {} names no setting; `pinformers config` lists them."
        return [said.format(variable) for variable in self.unknown]

    @property
    def remarks(self) -> list[str]:
        """What a person should know of what was given: variables that name no setting, gateways that are no URLs."""
        # Not refused: other tools have lists of their own, and what is no URL may hold a password.
        if all(url.lower().startswith(("http://", "https://")) for url in self.settings.gateways):
            return self.strangers
        why = f"A gateway (from {self.origins['gateways']}) does not begin with http:// or https://"
        return [*self.strangers, f"{why}, so it is never asked; `pinformers doctor` names it."]


def read_settings(keywords: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Loaded:
    """Read and check all settings; raises SettingsError."""
    loaded = load(keywords, environ)
    _check_sources(loaded.settings.sources, loaded.origins["sources"])
    return loaded


def _check_sources(names: tuple[str, ...], origin: str) -> None:
    offered = entry_points(GROUP) if set(names) - set(_BUILT_IN) else {}
    for name in names:
        if name not in _BUILT_IN and name not in offered:
            known = ", ".join(sorted({*_BUILT_IN, *offered}))
            raise SettingsError("sources", name, origin, f"among {known} (entry points in {GROUP} add more)")


def load(keywords: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Loaded:
    """Read all settings; raises SettingsError, which names the setting, for a wrong value or an unknown name."""
    environ = os.environ if environ is None else environ
    given: dict[str, tuple[object, str]] = {}
    given.update(discovered(environ))
    given.update(_from_file(environ.get(CONFIG)))
    given.update(_from_environment(environ))
    given.update({name: (value, "keyword") for name, value in keywords.items() if value is not None})
    values = {name: _parse(name, value, origin) for name, (value, origin) in given.items()}
    origins = {name: given[name][1] if name in given else "default" for name in NAMES}
    unknown = tuple(sorted(variable for variable in environ if _unknown(variable)))
    return Loaded(Settings(**values), origins, unknown)


def config_path(named: str | None) -> Path:
    """Return the TOML file: the one that PINFORMERS_CONFIG names, else config.toml in the user's config folder."""
    if named:
        return Path(os.path.expanduser(named))
    # deferred: see _certainly_none.
    import platformdirs

    return (user_folder(platformdirs.user_config_dir) or Path("/nonexistent")) / "config.toml"


def user_folder(find: Callable[[str], str]) -> Path | None:
    """Return our folder of a kind that platformdirs knows; None for a user who has no home."""
    try:
        folder = Path(find("pinformers"))
    except RuntimeError:
        # No HOME and no line in the passwd file: a container that runs under a bare number.
        return None
    # platformdirs 4.3 leaves the `~` as it is then.
    return folder if folder.is_absolute() else None


def _from_file(named: str | None) -> dict[str, tuple[object, str]]:
    if not named and _certainly_none():
        return {}
    path = config_path(named)
    # A pipe or a device may never come to its end. An empty one is how to say that there is no file.
    if not os.path.isfile(path) and os.path.exists(path) and named != os.devnull:
        raise SettingsError(CONFIG, str(path), "the file itself", "a readable TOML file (it is no regular file)")
    try:
        found = _toml(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as exc:
        if named:
            raise SettingsError(CONFIG, named, "the environment", "a TOML file that exists") from exc
        return {}
    except (OSError, ValueError) as exc:
        # HOME of another user, as under `sudo -u`: what may not even be looked for is not there.
        if isinstance(exc, PermissionError) and not named and not os.path.exists(path):
            return {}
        raise SettingsError(CONFIG, str(path), "the file itself", f"a readable TOML file ({exc})") from exc
    return {name: (value, str(path)) for name, value in found.items()}


def _certainly_none() -> bool:
    """Whether a Linux user has no file; to read the settings takes four times as long where platformdirs is asked."""
    if sys.platform != "linux" or os.environ.get("XDG_CONFIG_HOME"):
        return False
    try:
        os.stat(os.path.expanduser("~/.config/pinformers"))
    except OSError as exc:
        # Any other may be a disk that does not answer: what the file says may not be passed over.
        return isinstance(exc, FileNotFoundError | NotADirectoryError)
    return False


def _toml(text: str) -> dict[str, Any]:
    # deferred: most have no file, and all wait for this at the import of transformers.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}
    for variable, value in environ.items():
        name = variable[len(PREFIX) :].lower()
        if variable.startswith(PREFIX) and value and name in NAMES:
            found[name] = (value, variable)
    return found


def _unknown(variable: str) -> bool:
    ours = variable == CONFIG or variable.startswith(_FOR_TESTS) or variable[len(PREFIX) :].lower() in NAMES
    return variable.startswith(PREFIX) and not ours


def _parse(name: str, value: object, origin: str) -> Any:
    parse = next((setting.metadata["parse"] for setting in fields(Settings) if setting.name == name), None)
    if parse is None:
        # Its value may be meant for any of them, also for one that is not shown.
        # deferred: nobody needs it who types well.
        from difflib import get_close_matches

        near = get_close_matches(name, NAMES, 1)
        meant = f"written {near[0]}" if near else f"one of {', '.join(NAMES)}"
        raise SettingsError(name, "...", origin, f"left out, or {meant}")
    try:
        return parse(value)
    except ValueError as exc:
        raise SettingsError(name, "..." if name in (*SECRET, *ADDRESSES) else value, origin, str(exc)) from None
