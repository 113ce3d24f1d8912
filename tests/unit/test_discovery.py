from __future__ import annotations

from pathlib import Path

import pytest

from pinformers._discovery import discovered
from pinformers._settings import load

SHARED = Path("/etc/ipfs/gateway")


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def test_nothing_is_found_where_nothing_is(home: dict[str, str]) -> None:
    found = discovered(home)
    assert set(found) <= ({"gateways"} if SHARED.exists() else set())
    assert set(discovered({})) <= ({"gateways"} if SHARED.exists() else set())


def test_the_address_that_a_daemon_writes(home: dict[str, str], tmp_path: Path) -> None:
    own = write(tmp_path / "home/.ipfs/api", "/ip4/127.0.0.1/tcp/5002\n")
    assert discovered(home)["kubo_api"] == ("/ip4/127.0.0.1/tcp/5002", str(own))
    other = write(tmp_path / "repo/api", "/ip4/127.0.0.1/tcp/5003")
    assert discovered(home | {"IPFS_PATH": str(other.parent)})["kubo_api"] == ("/ip4/127.0.0.1/tcp/5003", str(other))
    # A repo without a running daemon: that of another repo is not asked instead.
    assert "kubo_api" not in discovered(home | {"IPFS_PATH": str(tmp_path / "stopped")})


def test_the_first_place_that_names_a_gateway_counts(home: dict[str, str], tmp_path: Path) -> None:
    config, repo = tmp_path / "config", tmp_path / "repo"
    environ = home | {"XDG_CONFIG_HOME": str(config), "IPFS_PATH": str(repo)}
    for file in (config / "ipfs/gateway", tmp_path / "home/.ipfs/gateway", repo / "gateway"):
        write(file, f"https://{len(file.parts)}.example\n\n  http://second.example/ \n")
        expected = [f"https://{len(file.parts)}.example", "http://second.example/"]
        assert discovered(environ)["gateways"] == (expected, str(file))
    environ["IPFS_GATEWAY"] = "https://named.example"
    assert discovered(environ)["gateways"] == (["https://named.example"], "IPFS_GATEWAY")


def test_the_default_config_folder_counts_where_none_is_named(home: dict[str, str], tmp_path: Path) -> None:
    file = write(tmp_path / "home/.config/ipfs/gateway", "https://a.example")
    assert discovered(home)["gateways"] == (["https://a.example"], str(file))


@pytest.mark.parametrize("text", ["https://a.example,https://b.example", " https://a.example\nhttps://b.example\n"])
def test_a_variable_may_name_several_gateways(text: str) -> None:
    assert discovered({"IPFS_GATEWAY": text})["gateways"][0] == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_place_is_passed_over(home: dict[str, str], tmp_path: Path, text: str) -> None:
    write(tmp_path / "repo/gateway", text)
    file = write(tmp_path / "home/.ipfs/gateway", "https://a.example")
    environ = home | {"IPFS_PATH": str(tmp_path / "repo"), "IPFS_GATEWAY": text}
    assert discovered(environ)["gateways"] == (["https://a.example"], str(file))


def test_what_cannot_be_read_says_nothing(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "home/.ipfs/gateway").mkdir(parents=True)
    (tmp_path / "home/.ipfs/api").write_bytes(b"\xff\xfe")
    assert not {"kubo_api"} & set(discovered(home | {"IPFS_PATH": ""}))
    assert "kubo_api" not in discovered(home | {"IPFS_PATH": "~nobody-of-this-name/repo"})


def test_certificates_as_requests_takes_them() -> None:
    assert discovered({"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"})["ca_bundle"] == ("/a", "REQUESTS_CA_BUNDLE")
    assert discovered({"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": "/b"})["ca_bundle"] == ("/b", "CURL_CA_BUNDLE")
    assert "ca_bundle" not in discovered({"SSL_CERT_FILE": "/c"})


def test_what_is_found_becomes_the_settings_and_says_where_it_came_from(home: dict[str, str], tmp_path: Path) -> None:
    api = write(tmp_path / "home/.ipfs/api", "/ip4/127.0.0.1/tcp/5002")
    environ = home | {"PINFORMERS_CONFIG": str(write(tmp_path / "none.toml", "")), "IPFS_GATEWAY": "https://a.example"}
    loaded = load({}, environ)
    assert (loaded.settings.kubo_api, loaded.origins["kubo_api"]) == ("/ip4/127.0.0.1/tcp/5002", str(api))
    assert (loaded.settings.gateways, loaded.origins["gateways"]) == (("https://a.example",), "IPFS_GATEWAY")
    own = load({"gateways": ["https://b.example"]}, environ)
    assert (own.settings.gateways, own.origins["gateways"]) == (("https://b.example",), "keyword")
