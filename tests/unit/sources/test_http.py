from __future__ import annotations

import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bad_gateway as bad
from bad_gateway import Answer, BadGateway, Visit
from pinformers._errors import Refusal
from pinformers.sources.addresses import Address, is_loopback, redacted
from pinformers.sources.http import Connections, Exchange, Network, discard
from tls_rooms import gateways, write_certificate

Start = Callable[..., BadGateway]
Get = Callable[..., bytes]
NOBODY = "http://127.0.0.1:9"


def echoes(visit: Visit) -> None:
    visit.reply(200, visit.path.encode())


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path)


@pytest.fixture
def start(certificate: tuple[Path, Path]) -> Iterator[Start]:
    with gateways(certificate, echoes) as begin:
        yield begin


@pytest.fixture
def get() -> Iterator[Get]:
    """Fetch a URL: ``get(network, url)``."""
    with ExitStack() as stack:

        def fetch(network: Network, url: str, **secret: str) -> bytes:
            connections = Connections(network, timeout=bad.PATIENCE, kept=2)
            stack.callback(connections.close)
            answer = connections.get(url, {}, Exchange(), secret)
            try:
                return answer.read()
            finally:
                discard(answer)

        yield fetch


def refused(get: Get, network: Network, url: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        get(network, url)
    assert "0x" not in str(caught.value), "the repr of an object"
    return caught.value


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_proxy_of_the_environment_is_asked(
    start: Start, get: Get, no_proxies: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = start()
    no_proxies.setenv(variable, f"http://me:s%40cret@{proxy.host}")
    url = "http://gateway.example/ipfs/x?format=raw"
    assert get(Network.of_user(), url) == url.encode()
    assert proxy.headers[0]["host"] == "gateway.example"
    assert proxy.headers[0]["proxy-authorization"] == "Basic bWU6c0BjcmV0"


def test_no_proxy_and_this_machine_are_reached_without_one(
    start: Start, get: Get, no_proxies: pytest.MonkeyPatch
) -> None:
    gateway = start()
    no_proxies.setenv("ALL_PROXY", NOBODY)
    no_proxies.setenv("NO_PROXY", "near.example, other.example:81")
    network = Network.of_user()
    assert get(network, f"{gateway.url}/x") == b"/x"
    assert "the proxy did not let us through (Connection refused)" in str(refused(get, network, "http://far.example/"))
    for url in ("http://near.example/", "http://other.example:81/", "http://[::1]:1/", "http://a.localhost:1/"):
        assert "proxy" not in str(refused(get, network, url))


def test_https_goes_through_a_tunnel_and_is_verified_behind_it(
    start: Start, get: Get, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, proxy = start(tls=True), start()
    proxy.tunnel_to = ("127.0.0.1", gateway.port)
    network = Network({"https": proxy.host}, ca_bundle=certificate[0])
    said = str(refused(get, network, "https://gateway.example/x"))
    assert "TLS failed" in said
    assert "gateway.example" in said
    assert gateway.paths == []

    # The certificate is for localhost, which no proxy is asked for otherwise.
    monkeypatch.setattr("pinformers.sources.http.is_loopback", lambda host: False)
    assert get(network, "https://localhost/x") == b"/x"
    assert proxy.paths == ["gateway.example:443", "localhost:443"]


def test_a_proxy_that_refuses_and_one_that_is_none(start: Start, get: Get) -> None:
    proxy = start()
    proxy.tunnel_to = ("127.0.0.1", 9)
    assert "proxy" in str(refused(get, Network({"https": proxy.url}), "https://gateway.example/"))
    said = str(refused(get, Network({"http": "http://me:s3cret@host:port"}), "http://gateway.example/"))
    assert "the proxy http://host:port cannot be used" in said
    said = str(refused(get, Network({"all": "ftp://me:s3cret@host"}), "http://gateway.example/"))
    assert "the proxy ftp://host cannot be used" in said
    said = str(refused(get, Network({"all": "http://me:s3cret@127.0.0.1:9"}), "http://gateway.example/"))
    assert "s3cret" not in said


def test_a_socks_proxy_needs_a_further_package(get: Get) -> None:
    said = str(refused(get, Network({"all": "socks5h://me:s3cret@127.0.0.1:9"}), "http://gateway.example/"))
    assert "s3cret" not in said
    assert "socks5h://127.0.0.1:9 needs PySocks" in said or "cannot be reached" in said


def test_what_goes_through_a_socks_proxy_can_be_cut_off_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    # PySocks is an optional package; of it urllib3 uses these names.
    package: Any = ModuleType("socks")
    package.__spec__ = ModuleSpec("socks", None)
    package.PROXY_TYPE_SOCKS4, package.PROXY_TYPE_SOCKS5, package.ProxyError = 1, 2, OSError
    package.create_connection = lambda _, *, proxy_addr, proxy_port, timeout, **more: socket.create_connection(
        (proxy_addr, proxy_port), timeout
    )
    monkeypatch.setitem(sys.modules, "socks", package)
    # What it is imported into is undone, too.
    monkeypatch.setitem(sys.modules, "urllib3.contrib.socks", ModuleType("none"))
    del sys.modules["urllib3.contrib.socks"]

    def late(visit: Visit) -> None:
        visit.connection.settimeout(5.0)
        with suppress(TimeoutError):
            visit.connection.recv(1)
            visit.gateway.left.set()
        visit.reply(200)

    proxy, exchange = start(late), Exchange()
    network = Network({"all": f"socks5h://{proxy.host}"})
    connections = Connections(network, timeout=10 * bad.PATIENCE, kept=1)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: (proxy.wait_in_flight(1), exchange.abandon()))
        with pytest.raises(Refusal):
            connections.get("http://gateway.example/", {}, exchange)
    assert proxy.headers[0]["host"] == "gateway.example"
    assert proxy.left.wait(bad.PATIENCE), "its connection is closed"


def test_an_exchange_has_one_time_for_all_redirects(start: Start) -> None:
    gateway = start(lambda visit: visit.reply(302, b"", Location=f"{visit.path}x"))
    connections = Connections(Network(), timeout=10 * bad.PATIENCE, kept=1)
    with pytest.raises(Refusal, match="did not answer in time") as caught:
        connections.get(gateway.url, {}, Exchange(until=time.monotonic() - 1))
    assert (caught.value.kind, gateway.paths) == ("stalled", [])
    stalls = start(bad.stalls_at_once)
    with pytest.raises(Refusal, match="it stalled"):
        connections.get(stalls.url, {}, Exchange(until=time.monotonic() + 0.2))
    connections.close()


def test_a_certificate_is_believed_by_the_bundle_alone(
    start: Start, get: Get, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    gateway = start(tls=True)
    url = f"https://127.0.0.1:{gateway.port}/x"
    assert get(Network(ca_bundle=certificate[0]), url) == b"/x"
    said = str(refused(get, Network(), url))
    assert "TLS failed (self-signed certificate); REQUESTS_CA_BUNDLE or SSL_CERT_FILE name other certificates" in said
    assert "TLS failed" in str(refused(get, Network(), f"https://{start().host}/"))
    for missing in (tmp_path / "missing.pem", certificate[1]):
        assert f"the certificates in {missing} cannot be read" in str(refused(get, Network(ca_bundle=missing), url))


def test_the_certificates_that_openssl_is_told_of_are_believed(
    start: Start, get: Get, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = start(tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert get(Network.of_user(), f"https://127.0.0.1:{gateway.port}/x") == b"/x"


def test_a_folder_of_certificates(start: Start, get: Get, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    gateway = start(tls=True)
    assert "TLS failed" in str(refused(get, Network(ca_bundle=folder), f"https://127.0.0.1:{gateway.port}/x"))


def test_redirects_are_followed_five_times(start: Start, get: Get) -> None:
    def redirects(visit: Visit) -> None:
        step = int(visit.path[1:])
        if step:
            visit.reply(307, b"there", Location=f"{step - 1}")
        else:
            visit.reply(200, b"here")

    gateway = start(redirects)
    assert get(Network(), f"{gateway.url}/5") == b"here"
    assert len(gateway.paths) == 6
    assert len(set(gateway.connections)) == 1
    assert "it redirects without an end" in str(refused(get, Network(), f"{gateway.url}/6"))


def test_a_redirect_never_leaves_https(start: Start, get: Get, certificate: tuple[Path, Path]) -> None:
    other = start()
    gateway = start(bad.says(302, Location=f"{other.url}/x"), tls=True)
    network = Network(ca_bundle=certificate[0])
    said = str(refused(get, network, f"https://127.0.0.1:{gateway.port}/"))
    assert "it redirects from https to http" in said
    assert other.paths == []


def test_a_server_elsewhere_does_not_redirect_to_this_machine(start: Start, get: Get) -> None:
    here = start()
    elsewhere = start(bad.says(302, Location=f"{here.url}/x"))
    # Reached through a proxy, so that its name is not one of this machine.
    network = Network({"http": elsewhere.url})
    assert "it redirects to this machine" in str(refused(get, network, "http://gateway.example/"))
    assert here.paths == []


def test_a_redirect_to_a_name_below_localhost_stays_on_this_machine(start: Start, get: Get) -> None:
    # As Kubo answers under the name localhost, where few resolvers know the names below it.
    def redirects(visit: Visit) -> None:
        if visit.headers["Host"].startswith("cid.ipfs.localhost"):
            visit.reply(200, visit.headers["Host"].encode())
        else:
            visit.reply(301, b"", Location=f"http://cid.ipfs.localhost:{visit.gateway.port}/?format=raw")

    gateway = start(redirects)
    assert get(Network(), gateway.url) == f"cid.ipfs.localhost:{gateway.port}".encode()


def test_localhost_is_asked_under_its_number(start: Start, get: Get) -> None:
    gateway = start()
    assert get(Network(), f"http://localhost:{gateway.port}/x") == b"/x"
    assert gateway.headers[0]["host"] == gateway.host


def test_headers_that_are_secret_go_to_the_first_server_only(start: Start, get: Get) -> None:
    other = start()
    gateway = start(bad.first(1, bad.says(302, Location="/again"), bad.says(302, Location=f"{other.url}/x")))
    assert get(Network(), gateway.url, authorization="Basic eA==") == b"/x"
    assert [headers.get("authorization") for headers in gateway.headers] == ["Basic eA=="] * 2
    assert "authorization" not in other.headers[0]


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("answer", [bad.stalls_at_once, bad.stalls_in_the_header])
def test_an_exchange_that_is_abandoned_ends_at_once(
    start: Start, certificate: tuple[Path, Path], answer: Answer, tls: bool
) -> None:
    gateway = start(answer, tls=tls)
    connections = Connections(Network(ca_bundle=certificate[0]), timeout=10 * bad.PATIENCE, kept=1)
    exchange = Exchange()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: (gateway.wait_in_flight(1), exchange.abandon()))
        with pytest.raises(Refusal):
            connections.get(f"http{'s' * tls}://{gateway.host}/", {}, exchange)
    assert gateway.left.wait(bad.PATIENCE)
    with pytest.raises(Refusal):
        connections.get(f"http{'s' * tls}://{gateway.host}/", {}, exchange)
    assert len(gateway.paths) == 1, "what was abandoned opens no connection"
    connections.close()


def test_an_exchange_that_is_over_cuts_nobody_else_off(start: Start) -> None:
    gateway = start()
    connections = Connections(Network(), timeout=bad.PATIENCE, kept=1)
    first, second = Exchange(), Exchange()
    discard(connections.get(f"{gateway.url}/1", {}, first))
    answer = connections.get(f"{gateway.url}/2", {}, second)
    first.abandon()
    assert answer.read() == b"/2"
    discard(answer)
    assert second.kept
    assert len(set(gateway.connections)) == 1
    connections.close()


def test_failures_are_told_in_plain_words(start: Start, get: Get) -> None:
    network = Network()
    assert "it cannot be reached (Connection refused)" in str(refused(get, network, NOBODY))
    assert "its name cannot be resolved" in str(refused(get, network, "http://nothing.invalid/"))
    assert refused(get, network, start(bad.Visit.hang_up).url).kind == "broken"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connections = Connections(network, timeout=0.1, kept=1)
        with pytest.raises(Refusal, match="it stalled: no byte, or too few of them, came in time") as caught:
            connections.get(f"http://127.0.0.1:{silent.getsockname()[1]}/", {}, Exchange())
        assert caught.value.kind == "stalled"
        connections.close()


def test_a_refusal_survives_pickle() -> None:
    said = pickle.loads(pickle.dumps(Refusal("it", "it waits", "busy", 3.0)))
    assert (said.source, said.reason, said.kind, said.wait) == ("it", "it waits", "busy", 3.0)
    assert str(said) == "The source it did not deliver: it waits."


def test_an_address_keeps_its_password_apart() -> None:
    address = Address.parse("https://me:p%40ss@Gateway.Example:443/ipfs/")
    assert address == Address("https://gateway.example/ipfs")
    assert address.headers == {"authorization": "Basic bWU6cEBzcw=="}
    assert "authorization" not in repr(address)
    assert Address.parse("http://[::1]:8080").url == "http://[::1]:8080"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pw@host/x", "http://host/x"),
        ("me:pw@host", "host"),
        ("http://me:p@w@host", "http://host"),
        ("http://me:p://w@host", "http://host"),
        ("me:pw@http://host", "http://host"),
        ("http://host", "http://host"),
    ],
)
def test_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("x.localhost", True), ("127.8.0.1", True), ("::1", True), ("10.0.0.1", False), ("a", False)],
)
def test_is_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) is here
