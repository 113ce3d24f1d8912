from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bad_gateway import Answer, BadGateway, drips, drips_in_the_header
from cluster_stub import ClusterStub, cluster_stub
from ipfs_data import MemoryStore
from pinformers._errors import SourceError, SourceUnavailable
from pinformers.ipfs import CID
from pinformers.sources.cluster import ClusterAddress, ClusterNode, Replication
from tls_rooms import certified, write_certificate

A, B = CID.raw(b"a" * 32), CID.raw(b"b" * 32)
OK = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def stub() -> Iterator[ClusterStub]:
    with cluster_stub() as running:
        yield running


@pytest.fixture
def node(stub: ClusterStub) -> ClusterNode:
    return ClusterNode(stub.url, timeout=5, patience=5)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:9094", "http://127.0.0.1:9094"),
        ("https://cluster.example/api/", "https://cluster.example/api"),
        ("http://[::1]:9094/", "http://[::1]:9094"),
        ("/ip4/10.0.0.7/tcp/9094", "http://10.0.0.7:9094"),
        ("/ip4/10.0.0.7/tcp/9094/http", "http://10.0.0.7:9094"),
        ("/ip6/::1/tcp/9094", "http://[::1]:9094"),
        ("/dns4/cluster.example/tcp/443/https", "https://cluster.example:443"),
        ("/dns/cluster.example/tcp/443/tls/http", "https://cluster.example:443"),
    ],
)
def test_an_address_is_a_url_or_a_multiaddr(text: str, url: str) -> None:
    assert ClusterAddress.parse(text) == ClusterAddress(url)


@pytest.mark.parametrize(
    "text", ["", "cluster", "ftp://a:s3cret@b", "http://a:s3cret@b:port", "http://", "/ip4/1.2.3.4"]
)
def test_what_is_no_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(SourceUnavailable, match="cluster_api is no address like") as caught:
        ClusterNode(text)
    assert "s3cret" not in str(caught.value)


def test_user_and_password_are_sent_and_never_shown(stub: ClusterStub) -> None:
    node = ClusterNode(stub.url.replace("//", "//ada:s3%3Acret@"))
    assert node.version() == "1.1.6"
    assert stub.authorizations == ["Basic " + base64.b64encode(b"ada:s3:cret").decode()]
    stub.raw = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(SourceUnavailable, match="it asks for a user and a password") as caught:
        node.version()
    shown = f"{node!r} {node.name} {node.url} {caught.value} {ClusterAddress.parse('http://a:s3:cret@b')!r}"
    assert "cret" not in shown


def test_pins_are_added_with_what_belongs_to_them(stub: ClusterStub, node: ClusterNode) -> None:
    assert node.get(A) is None
    assert list(node.pins("pinformers")) == []
    metadata = {"pinformers": "1", "ref-refs/pr/3": "2026-11-24T10:00:00+00:00", "other": "ü & ö=1"}
    node.pin(A, "org/model@abc", metadata, Replication(2, -1, ("/ip4/1.2.3.4/tcp/4001/p2p/12D3",)))
    node.pin(B, "of somebody else", {"note": "not of pinformers"})
    (pin,) = node.pins("pinformers")
    assert pin == node.get(A)
    assert (pin.cid, pin.name, pin.metadata) == (A, "org/model@abc", metadata)
    posted = next(line for line in stub.asked if line.startswith("POST"))
    assert "&replication-min=2&replication-max=-1&origins=/ip4/1.2.3.4/tcp/4001/p2p/12D3" in posted
    assert "replication" not in stub.asked[-3]


def test_how_far_each_peer_is(node: ClusterNode) -> None:
    assert node.status(A) == {"12D3": "pinned", "12D4": "pinning"}


def test_a_pin_without_metadata_is_passed_over(stub: ClusterStub, node: ClusterNode) -> None:
    stub.pins[str(A)] = {"cid": str(A), "name": "pinformers", "metadata": None, "timestamp": ""}
    stub.pins[str(B)] = {"cid": str(B), "name": '"pinformers"', "metadata": {"x": "pinformers"}, "timestamp": ""}
    assert list(node.pins("pinformers")) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not HTTP\r\n\r\n",
        OK + b"hello",
        OK + b"[" * 5000,
        OK + b"[1]",
        OK + b"null",
        OK + b'{"version": ' + b" " * (1 << 20) + b"1}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/version\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\n\r\n" + json.dumps({"code": 500, "message": "no peers " * 200}).encode(),
    ],
    ids=lambda raw: repr(raw[:60]),
)
def test_an_answer_that_is_none_is_one_sentence(stub: ClusterStub, node: ClusterNode, raw: bytes) -> None:
    stub.raw = raw
    for ask in (node.version, lambda: node.get(A), lambda: node.status(A), lambda: node.pin(A, "a", {})):
        with pytest.raises(SourceError) as caught:
            ask()
        assert str(caught.value).startswith(f"The source the IPFS Cluster at {stub.url} did not deliver: ")
        assert len(str(caught.value)) < 500
        assert "object at 0x" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (OK + b'{"metadata": {"pinformers": "1"}}\n', "it lists what is no pin"),
        (
            OK + b'{"cid": "bafy", "name": "", "timestamp": "", "metadata": {"pinformers": "1"}}\n',
            "it lists what is no pin",
        ),
        (OK + b'"pinformers"\n', "it lists what is no pin"),
        (OK + b'{"pinformers": \n', "it lists what is no pin"),
        (OK + b"x" * (1 << 21), "a line without an end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}\n", ""),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "a user and a password"),
        (b"HTTP/1.1 500 Oops\r\n\r\nno JSON", "it answers 500"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_list_that_is_none_is_one_sentence(stub: ClusterStub, node: ClusterNode, raw: bytes, said: str) -> None:
    stub.raw = raw
    with pytest.raises(SourceError) as caught:
        list(node.pins("pinformers"))
    assert said in str(caught.value)


def test_a_list_is_given_up_when_the_patience_is_at_its_end(stub: ClusterStub) -> None:
    stub.raw = OK + b"{}\n{}\n"
    with pytest.raises(SourceUnavailable, match="its answer does not end"):
        list(ClusterNode(stub.url, patience=0).pins("pinformers"))


def test_a_list_is_given_up_when_it_has_too_many_bytes(
    stub: ClusterStub, node: ClusterNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinformers.sources.cluster._LIST", 100)
    stub.raw = OK + b"{}\n" * 34
    with pytest.raises(SourceUnavailable, match="its answer does not end"):
        list(node.pins("pinformers"))


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        SourceUnavailable, match=rf"^The source the IPFS Cluster at http://127\.0\.0\.1:{port} .*refused\.$"
    ):
        ClusterNode(f"http://127.0.0.1:{port}").version()


@pytest.mark.parametrize("answer", [drips, drips_in_the_header])
def test_a_peer_that_drips_is_given_up(answer: Answer) -> None:
    store = MemoryStore()
    store.put(b"a" * 2000)
    with BadGateway(answer, store) as peer, pytest.raises(SourceUnavailable, match="timed out"):
        ClusterNode(peer.url, timeout=0.3, patience=60).get(CID.raw(hashlib.sha256(b"a" * 2000).digest()))


def test_the_certificates_of_the_settings_count(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    context = certified(cert, key)
    peer = BadGateway(lambda visit: visit.reply(200, b'{"version": "1.1.6"}'))
    peer.start(lambda sock: context.wrap_socket(sock, server_side=True))
    try:
        url = f"https://127.0.0.1:{peer.port}"
        assert ClusterNode(url, ca_bundle=cert).version() == "1.1.6"
        with pytest.raises(SourceUnavailable, match="self-signed certificate"):
            ClusterNode(url).version()
    finally:
        peer.stop()


def test_a_peer_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node = ClusterNode(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(SourceUnavailable, match="timed out"):
            node.version()
