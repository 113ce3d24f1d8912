from __future__ import annotations

import dataclasses
import errno
import os
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pinformers import _autostart
from pinformers._activation import Handle
from pinformers._errors import SettingsError
from pinformers._settings import ADDRESSES, CONFIG, NAMES, PREFIX, SECRET, Loaded, Settings, config_path, load

# One value for each setting, as a person writes it in TOML, in the environment and as a keyword; and what it means.
VALUES: Mapping[str, tuple[object, str, object]] = {
    "cache_dir": ("/some/hub", "/some/hub", Path("/some/hub")),
    "state_dir": ("/some/state", "/some/state", Path("/some/state")),
    "on_miss": ("error", "error", "error"),
    "sources": (["embedded"], "embedded", ("embedded",)),
    "lockfile": ("/some/pinformers.lock", "/some/pinformers.lock", Path("/some/pinformers.lock")),
    "kubo_api": ("/ip4/127.0.0.1/tcp/5001", "/ip4/127.0.0.1/tcp/5001", "/ip4/127.0.0.1/tcp/5001"),
    "gateways": (["http://a", "http://b"], "http://a, http://b", ("http://a", "http://b")),
    "locked": (True, "1", True),
    "kubo_token": ("secret", "secret", "secret"),
    "swarm_timeout": (2.5, "2.5", 2.5),
    "gateway_timeout": (2.5, "2.5", 2.5),
    "ca_bundle": ("/some/ca.pem", "/some/ca.pem", Path("/some/ca.pem")),
    "cluster_api": ("http://127.0.0.1:9094", "http://127.0.0.1:9094", "http://127.0.0.1:9094"),
    "catalog_grace": (60.5, "60.5", 60.5),
    "publish": ("auto", "auto", "auto"),
    "gated": ("share", "share", "share"),
    "chunking": ("tensors", "tensors", "tensors"),
    "scope": ("transformers", "transformers", "transformers"),
    "log": ("debug", "debug", "debug"),
    "lock_timeout": (2.5, "2.5", 2.5),
}
WRONG: Mapping[str, tuple[object, ...]] = {
    "cache_dir": (7, True, ["/a"], b"/a"),
    "state_dir": (7, {}),
    "on_miss": ("Import", "ignore", 1, True, ["import"]),
    "sources": ([], (), ["hub", "hub"], "hub,embedded,hub", ",", [1], 5, {"hub": 1}),
    "lockfile": (1.5,),
    "kubo_api": (5001, ["x"]),
    "locked": ("perhaps", 2, [True], {}),
    "kubo_token": (5,),
    "cluster_api": (5,),
    "swarm_timeout": ("soon", -1),
    "gateway_timeout": ("soon", -1),
    "ca_bundle": (7, True),
    "gateways": (5, [1], {"http://a": 1}),
    "catalog_grace": ("a week", -1, float("inf")),
    "publish": ("yes", True),
    "gated": ("ask", True),
    "chunking": ("cdc", True),
    "scope": ("diffusers", "transformers,diffusers"),
    "log": ("verbose", "INFO", 20),
    "lock_timeout": ("soon", -1, "-0.5", "nan", "inf", float("nan"), True, [1], "1e999"),
}
WRONG_CASES = [(name, value) for name, values in WRONG.items() for value in values]


def toml(**values: object) -> str:
    # TOML writes booleans in small letters.
    written = {name: str(value).lower() if isinstance(value, bool) else repr(value) for name, value in values.items()}
    return "".join(f"{name} = {value}\n" for name, value in written.items())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pinformers.toml"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config folder that holds nothing, whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "pinformers" / "config.toml"


def refused(*args: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(*args)
    assert "\n" not in str(caught.value)
    assert len(re.findall(r"\.(\s|$)", str(caught.value))) == 1, "one sentence"
    assert str(caught.value).endswith(".")
    return caught.value


# -- the order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["1", "true", "True", "YES", " on "])
def test_a_flag_takes_the_words_of_the_switch(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_autostart.SWITCH, word)
    assert _autostart.wanted() == "env"
    assert load({}, {"PINFORMERS_LOCKED": word}).settings.locked


@pytest.mark.parametrize("word", [word for word in _autostart._FALSE if word])
def test_and_those_that_turn_it_off(word: str) -> None:
    assert not load({"locked": word.upper()}, {}).settings.locked


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kubo_token", "hunter2"),
        *((name, "http://user:hunter2@host") for name in ("kubo_api", "cluster_api", "gateways")),
    ],
)
def test_a_secret_is_in_no_text_of_ours(name: str, value: str) -> None:
    assert "hunter2" not in str(refused({name: [[value]]}, {}))
    assert "hunter2" not in str(refused({f"{name}s": value}, {}))
    assert "hunter2" not in repr(load({name: value}, {}))


def test_the_defaults() -> None:
    loaded = load({}, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins) == set(NAMES) == set(VALUES)
    assert set(loaded.origins.values()) == {"default"}
    assert (loaded.settings.on_miss, loaded.settings.sources, loaded.settings.log) == (
        "import",
        ("embedded", "kubo", "gateway", "hub"),
        "info",
    )


def test_the_names_that_stay() -> None:
    stay = "cache_dir state_dir on_miss sources lockfile kubo_api gateways publish scope log"
    assert set(stay.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_comes_from_file_environment_or_keyword(name: str, file: Path) -> None:
    in_file, in_environment, meant = VALUES[name]
    file.write_text(toml(**{name: in_file}))
    variable = f"{PREFIX}{name.upper()}"
    found = {
        str(file): load({}, {CONFIG: str(file)}),
        variable: load({}, {variable: in_environment}),
        "keyword": load({name: meant}, {}),
    }
    for origin, loaded in found.items():
        assert (getattr(loaded.settings, name), loaded.origins[name]) == (meant, origin)
        assert {loaded.origins[other] for other in NAMES if other != name} == {"default"}


def test_keywords_over_environment_over_file_over_defaults(file: Path) -> None:
    file.write_text(toml(log="debug", on_miss="error", lock_timeout=1))
    environ = {CONFIG: str(file), "PINFORMERS_ON_MISS": "passthrough", "PINFORMERS_LOCK_TIMEOUT": "2"}
    loaded = load({"lock_timeout": 3}, environ)
    settings = loaded.settings
    assert (settings.scope, settings.log, settings.on_miss, settings.lock_timeout) == (
        "transformers",
        "debug",
        "passthrough",
        3.0,
    )
    assert [loaded.origins[name] for name in ("scope", "log", "on_miss", "lock_timeout")] == [
        "default",
        str(file),
        "PINFORMERS_ON_MISS",
        "keyword",
    ]


def test_a_value_that_loses_is_not_looked_at(file: Path) -> None:
    file.write_text(toml(log="nonsense"))
    assert load({}, {CONFIG: str(file), "PINFORMERS_LOG": "off"}).settings.log == "off"


def test_empty_variables_and_none_are_not_given() -> None:
    loaded = load({"cache_dir": None, "log": None}, {"PINFORMERS_ON_MISS": "", "PINFORMERS_CONFIG": ""})
    assert loaded == Loaded(Settings(), dict.fromkeys(NAMES, "default"))


def test_other_variables_of_the_prefix_are_no_settings() -> None:
    assert load({}, {"PINFORMERS": "1", "PINFORMERS_FUTURE": "x", "CACHE_DIR": "/x"}).settings == Settings()


def test_the_user_s_file_is_read_and_a_named_one_replaces_it(nowhere: Path, file: Path) -> None:
    nowhere.parent.mkdir(parents=True)
    nowhere.write_text(toml(log="error", on_miss="error"))
    file.write_text(toml(log="warning"))
    assert config_path(None) == nowhere
    assert load({}, {}).origins["log"] == str(nowhere)
    named = load({}, {CONFIG: str(file)})
    assert (named.settings.log, named.settings.on_miss) == ("warning", "import")


def test_the_file_below_the_home_is_read_and_looked_for_without_platformdirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    with monkeypatch.context() as absent:
        if sys.platform == "linux":
            absent.setitem(sys.modules, "platformdirs", None)
        assert load({}, {}).settings == Settings()
    path = config_path(None)
    path.parent.mkdir(parents=True)
    path.write_text(toml(log="error"))
    assert load({}, {}).origins["log"] == str(path)
    assert sys.platform != "linux" or path == tmp_path / ".config" / "pinformers" / "config.toml"


def test_a_folder_that_cannot_be_looked_at_may_hold_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk over the network that does not answer for a moment."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = config_path(None)
    path.parent.mkdir(parents=True)
    path.write_text(toml(locked=True))
    look = os.stat

    def stat(name: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if name == str(path.parent):
            raise OSError(errno.EIO, "Input/output error", name)
        return look(name, *args, **kwargs)

    monkeypatch.setattr(os, "stat", stat)
    assert load({}, {}).settings.locked


def test_a_path_is_absolute_and_knows_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/homes/me")
    monkeypatch.chdir(tmp_path)
    loaded = load({"cache_dir": "~/hub", "state_dir": Path("here/../there")}, {})
    assert (loaded.settings.cache_dir, loaded.settings.state_dir) == (Path("/homes/me/hub"), tmp_path / "there")


@pytest.mark.parametrize("written", [0, 1, "0", "7.25", " 3 "])
def test_seconds_may_be_written_in_many_ways(written: object) -> None:
    assert load({"lock_timeout": written}, {}).settings.lock_timeout == float(str(written))


# -- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), WRONG_CASES)
def test_a_wrong_keyword_is_named_with_its_value_and_origin(name: str, value: object) -> None:
    error = refused({name: value}, {})
    shown = "..." if name in (*SECRET, *ADDRESSES) else value
    assert (error.name, error.value, error.origin) == (name, shown, "keyword") or value != value
    assert f"The setting {name} is {shown!r} (from keyword); it should be " in str(error)


def test_a_number_of_seconds_beyond_all_floats_is_refused() -> None:
    assert refused({"lock_timeout": 10**400}, {}).name == "lock_timeout"


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, value in WRONG_CASES if isinstance(value, str) and value]
)
def test_a_wrong_variable_is_named_with_its_value_and_origin(name: str, value: str) -> None:
    variable = f"{PREFIX}{name.upper()}"
    error = refused({}, {variable: value})
    assert f"The setting {name} is {value!r} (from {variable}); it should be " in str(error)


@pytest.mark.parametrize(
    ("name", "written"), [("on_miss", "true"), ("log", "20"), ("sources", "[]"), ("cache_dir", "1")]
)
def test_a_wrong_line_of_the_file_is_named_with_its_value_and_origin(name: str, written: str, file: Path) -> None:
    file.write_text(f"{name} = {written}\n")
    error = refused({}, {CONFIG: str(file)})
    assert error.name == name
    assert f"The setting {name} is " in str(error)
    assert f"(from {file}); it should be " in str(error)


@pytest.mark.parametrize("content", ["on_mis = 'import'", "[log]\nlevel = 'info'", "Log = 'info'", "'' = 1"])
def test_an_unknown_or_misplaced_key_of_the_file_is_refused(content: str, file: Path) -> None:
    file.write_text(content)
    error = refused({}, {CONFIG: str(file)})
    assert error.name in content
    assert error.origin == str(file)


def test_an_unknown_keyword_is_refused_and_the_known_ones_are_listed() -> None:
    error = refused({"quirk": "import"}, {})
    assert (error.name, error.origin) == ("quirk", "keyword")
    assert all(name in str(error) for name in NAMES)
    assert str(refused({"on_mis": "import"}, {})).endswith("it should be left out, or written on_miss.")


@pytest.mark.parametrize("name", ["", "__class__", "settings", "cache-dir"])
def test_odd_names_are_unknown_too(name: str) -> None:
    assert refused({name: 1}, {}).name == name


@pytest.mark.parametrize("missing", ["gone.toml", "file/inside.toml"])
def test_a_named_file_that_is_not_there_is_refused(missing: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / missing)
    error = refused({}, {CONFIG: path})
    assert (error.name, error.value) == (CONFIG, path)
    assert "a TOML file that exists" in str(error)


@pytest.mark.parametrize("content", [b"log =", b"log = 'info'\nlog = 'off'", b"\xff\xfe", b"[[]]", b"= 1\n\n"])
@pytest.mark.parametrize("named", [True, False])
def test_a_broken_file_is_refused_by_its_name(content: bytes, named: bool, nowhere: Path, file: Path) -> None:
    path = file if named else nowhere
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    error = refused({}, {CONFIG: str(file)} if named else {})
    assert (error.name, error.value) == (CONFIG, str(path))
    assert "a readable TOML file" in str(error)


def test_a_folder_in_the_file_s_place_is_refused(file: Path) -> None:
    file.mkdir()
    assert "no regular file" in str(refused({}, {CONFIG: str(file)}))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("named", [True, False])
def test_a_pipe_in_the_file_s_place_is_refused_and_not_waited_for(
    named: bool, nowhere: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file if named else nowhere
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    read = Path.read_text
    # Reading the pipe would wait for ever: nobody writes.
    monkeypatch.setattr(Path, "read_text", lambda self, **how: "" if self == path else read(self, **how))
    assert "no regular file" in str(refused({}, {CONFIG: str(file)} if named else {}))


def test_the_null_device_is_an_empty_file() -> None:
    assert load({}, {CONFIG: os.devnull}).settings == Settings()


def test_a_home_that_may_not_be_searched_holds_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo -u` and services keep a HOME that is somebody else's: opening a file below it is a PermissionError."""

    def denied(self: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", denied)
    assert load({}, {}).settings == Settings()
    assert refused({}, {CONFIG: "/root/of/another.toml"}).name == CONFIG


def test_a_file_that_may_not_be_read_is_refused(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    nowhere.parent.mkdir(parents=True)
    nowhere.touch()
    monkeypatch.setattr(Path, "read_text", denied)
    assert refused({}, {}).value == str(nowhere)


# -- once -----------------------------------------------------------------------------------------------------


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.log = "off"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        settings.other = 1  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings) == hash(Settings())


def test_an_activation_reads_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG, raising=False)
    monkeypatch.setenv("PINFORMERS_LOG", "error")
    handle = Handle(None, active=False, reason="", force=False)
    monkeypatch.setenv("PINFORMERS_LOG", "warning")
    first = handle.settings
    monkeypatch.setenv("PINFORMERS_LOG", "nonsense")
    assert handle.settings is first
    assert first.settings.log == "warning"


def test_a_mistyped_variable_is_remarked_on() -> None:
    loaded = load({}, {"PINFORMERS_ON_MIS": "error", "PINFORMERS_TEST_X": "1", "PINFORMERS": "1", CONFIG: ""})
    assert loaded.unknown == ("PINFORMERS_ON_MIS",)
    assert loaded.remarks == ["The variable PINFORMERS_ON_MIS names no setting; `pinformers config` lists them."]


@pytest.mark.parametrize("gateway", ["ftp://example.org", "example.org:8080", "ada:hunter2@b"])
def test_a_gateway_that_is_no_url_is_remarked_on_and_not_shown(gateway: str) -> None:
    assert load({"gateways": ["HTTPS://example.org", "http://b"]}, {}).remarks == []
    loaded = load({}, {"PINFORMERS_GATEWAYS": f"http://b,{gateway}"})
    assert loaded.settings.gateways == ("http://b", gateway)
    (remark,) = loaded.remarks
    assert remark.startswith("A gateway (from PINFORMERS_GATEWAYS) does not begin with http:// or https://")
    assert gateway not in remark
