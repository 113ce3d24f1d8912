"""What reaches beyond this machine, composed from settings: servers on loopback see whether each setting counts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bad_gateway import PATIENCE, Answer, BadGateway, Visit, honest
from catalog_rooms import MemoryNode, Publisher, pin_of
from cluster_stub import ClusterStub, cluster_stub
from ipfs_data import MemoryStore
from ipns_data import ed25519_key, record
from pinformers._composition import build_resolver, build_sharing
from pinformers._errors import BlockMismatch, PinError, SourceError
from pinformers._settings import Settings
from pinformers._sharing import Sharing, kubo_node
from pinformers.ipfs import CID
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.cluster_pins import ClusterShelf
from pinformers.sources.cluster import ClusterNode
from pinformers.sources.ipns import MEDIA_TYPE
from tls_rooms import gateways, write_certificate

KEY = ed25519_key()
NAME = str(KEY.name)
HOUR = timedelta(hours=1)
OLD, NEW = CID.raw(b"o" * 32), CID.raw(b"n" * 32)
NOBODY = "/ip4/127.0.0.1/tcp/9"
REPO = "org/model"
Start = Callable[..., BadGateway]
Share = Callable[..., Sharing]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path)


@pytest.fixture
def start(certificate: tuple[Path, Path]) -> Iterator[Start]:
    with gateways(certificate) as begin:
        yield begin


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    given = {"cache_dir": tmp_path / "hub", "state_dir": tmp_path / "state", "kubo_api": NOBODY}
    return lambda **more: Settings(**(given | more))  # type: ignore[arg-type]


@pytest.fixture
def share(settings: Callable[..., Settings]) -> Share:
    return lambda **more: build_sharing(settings(**more))


def says(value: str | CID = NEW, *, left: timedelta = HOUR, sequence: int = 1) -> Answer:
    """Send a record that counts for so long yet."""
    path = value if isinstance(value, str) else f"/ipfs/{value}"
    signed = record(KEY, path, sequence=sequence, validity=datetime.now(timezone.utc) + left)
    return lambda visit: visit.reply(200, signed, MEDIA_TYPE)


def cid_of(gateway: BadGateway) -> CID:
    """The one block that it has."""
    (multihash,) = gateway.store.blocks
    return CID.from_bytes(b"\x01\x55" + multihash)


def refusal(sharing: Sharing) -> str:
    with pytest.raises(PinError) as caught:
        sharing.resolve_name(NAME)
    assert caught.value.subject == f"ipns://{NAME}"
    return caught.value.advice


# -- names ----------------------------------------------------------------------------------------------------


def test_a_gateway_says_what_a_name_points_to(start: Start, share: Share) -> None:
    gateway = start(says())
    for url in (gateway.url, f"{gateway.url}/ipfs/"):
        assert share(sources=("gateway",), gateways=(url,)).resolve_name(NAME) == NEW
    assert gateway.paths == [f"/ipns/{NAME}?format=ipns-record"] * 2


def test_a_daemon_says_what_a_name_points_to(start: Start, share: Share) -> None:
    daemon = start(says())
    assert share(sources=("kubo",), kubo_api=daemon.url, kubo_token="s3cret").resolve_name(NAME) == NEW
    assert daemon.paths == [f"/api/v0/name/get?arg={NAME}"]
    assert daemon.headers[0]["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("newest", [0, 1, 2])
def test_the_newest_record_counts_whoever_has_it(start: Start, share: Share, newest: int) -> None:
    gateways = [start(says(NEW if at == newest else OLD, sequence=8 if at == newest else 7)) for at in range(3)]
    sharing = share(sources=("gateway",), gateways=tuple(gateway.url for gateway in gateways))
    assert sharing.resolve_name(NAME) == NEW


def test_of_one_number_that_which_counts_for_longer_is_the_newest(start: Start, share: Share) -> None:
    gateways = [start(says(NEW, left=2 * HOUR)), start(says(OLD)), start(says(OLD, left=-HOUR, sequence=9))]
    sharing = share(sources=("gateway",), gateways=tuple(gateway.url for gateway in gateways))
    assert sharing.resolve_name(NAME) == NEW


def test_a_record_that_expired_is_refused(start: Start, share: Share) -> None:
    gateway = start(says(left=-HOUR))
    day = f"{datetime.now(timezone.utc) - HOUR:%Y-%m-%d}"
    said = refusal(share(sources=("gateway",), gateways=(gateway.url,)))
    assert said == f"nobody delivers a valid record of it (a record of it expired on {day})"


def test_each_reason_is_told(start: Start, share: Share) -> None:
    forged = record(ed25519_key(2), f"/ipfs/{NEW}", validity=datetime.now(timezone.utc) + HOUR)
    lies, lacks = start(lambda visit: visit.reply(200, forged, MEDIA_TYPE)), start(lambda visit: visit.reply(404))
    said = refusal(share(sources=("kubo", "gateway"), kubo_api="nonsense", gateways=(lies.url, lacks.url)))
    assert said.startswith("nobody delivers a valid record of it (")
    for reason in ("the setting kubo_api is no address", "its signature is not", f"it has no record of {NAME}"):
        assert reason in said
    assert refusal(share(sources=("embedded",))) == (
        "nobody delivers a valid record of it (no gateway and no daemon is configured)"
    )


def test_who_cannot_be_asked_keeps_nobody_from_answering(start: Start, share: Share) -> None:
    gateway = start(says())
    sharing = share(sources=("kubo", "gateway"), kubo_api="nonsense", gateways=("nonsense", gateway.url))
    assert sharing.resolve_name(NAME) == NEW


def test_a_path_below_a_cid_is_named(start: Start, share: Share) -> None:
    gateway = start(says(f"/ipfs/{NEW}/models"))
    said = refusal(share(sources=("gateway",), gateways=(gateway.url,)))
    assert said == f"it points to a path below a CID (/ipfs/{NEW}/models); use that path itself"


def test_all_are_asked_at_once(start: Start, share: Share) -> None:
    both = threading.Barrier(2)

    def waits(visit: Visit) -> None:
        both.wait(PATIENCE)
        says()(visit)

    urls = tuple(start(waits).url for _ in range(2))
    assert share(sources=("gateway",), gateways=urls, gateway_timeout=PATIENCE).resolve_name(NAME) == NEW
    assert not both.broken


def test_the_certificates_of_the_settings_count_for_names(
    start: Start, share: Share, certificate: tuple[Path, Path]
) -> None:
    given = {"sources": ("gateway",), "gateways": (f"https://{start(says(), tls=True).host}",)}
    assert share(**given, ca_bundle=certificate[0]).resolve_name(NAME) == NEW
    assert "TLS failed" in refusal(share(**given))


def test_the_certificates_of_the_settings_count_for_blocks(
    start: Start, share: Share, certificate: tuple[Path, Path]
) -> None:
    gateway = start(honest, MemoryStore(), tls=True)
    gateway.store.put(b"a block")
    given = {"sources": ("gateway",), "gateways": (f"https://{gateway.host}",)}
    (trusting,), (other,) = share(**given, ca_bundle=certificate[0]).sources, share(**given).sources
    assert trusting.block(cid_of(gateway)) == b"a block"
    with pytest.raises(SourceError, match="TLS failed"):
        other.block(cid_of(gateway))


def test_the_proxy_of_the_environment_counts_for_names(
    start: Start, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = start(says())
    sharing = share(sources=("gateway",), gateways=("http://gateway.example",))
    monkeypatch.setenv("http_proxy", proxy.url)
    assert sharing.resolve_name(NAME) == NEW
    assert proxy.paths == [f"http://gateway.example/ipns/{NAME}?format=ipns-record"]


def late(answer: Answer, seconds: float = 5.0) -> Answer:
    """Answer after so many seconds, unless whoever asks has gone by then."""

    def answers(visit: Visit) -> None:
        visit.connection.settimeout(seconds)
        try:
            visit.connection.recv(1)
        except TimeoutError:
            answer(visit)
        visit.close_connection = True

    return answers


def test_after_a_record_that_expired_the_others_still_have_their_time(
    start: Start, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinformers.pinning.following.AFTER_THE_FIRST", 0.05)
    gateways = start(says(OLD, left=-HOUR)), start(late(says(), 0.5))
    sharing = share(sources=("gateway",), gateways=tuple(gateway.url for gateway in gateways))
    assert sharing.resolve_name(NAME) == NEW


def test_the_time_that_a_gateway_has_is_that_of_the_settings(start: Start, share: Share) -> None:
    names, blocks = start(late(says())), start(late(honest), MemoryStore())
    blocks.store.put(b"a block")
    assert "it stalled" in refusal(share(sources=("gateway",), gateways=(names.url,), gateway_timeout=0.2))
    (source,) = share(sources=("gateway",), gateways=(blocks.url,), gateway_timeout=0.2).sources
    with pytest.raises(SourceError, match="it stalled"):
        source.block(cid_of(blocks))


# -- the daemon -----------------------------------------------------------------------------------------------


def test_the_daemon_is_asked_as_the_settings_say(
    start: Start, share: Share, settings: Callable[..., Settings], certificate: tuple[Path, Path]
) -> None:
    def answer(visit: Visit) -> None:
        if "offline=true" in visit.path:
            visit.reply(500, b'{"Message": "block was not found"}')
        else:
            visit.reply(200, b'{"Version": "0.43.0"}')

    daemon = start(answer, tls=True)
    given = {"kubo_api": f"https://{daemon.host}", "kubo_token": "s3cret", "ca_bundle": certificate[0]}
    assert kubo_node(settings(**given)).version() == "0.43.0"
    (source,) = share(**given, sources=("kubo",), swarm_timeout=3.25).sources
    with pytest.raises(BlockMismatch):
        source.block(NEW)
    assert "timeout=3.250s" in daemon.paths[-1]
    assert {headers["authorization"] for headers in daemon.headers} == {"Bearer s3cret"}


# -- catalogs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grace", "counts"), [(3 * 3600.0, True), (60.0, False)])
def test_a_catalog_counts_beyond_its_expiry_for_as_long_as_the_settings_say(
    start: Start, share: Share, tmp_path: Path, grace: float, counts: bool
) -> None:
    publisher, store = Publisher(Catalog(tmp_path / "publisher")), MemoryStore()
    published = publisher.publish(pin_of())
    for block in publisher.node.blocks.values():
        store.put(block)
    expired = says(published.tree.root, left=-HOUR)
    gateway = start(lambda visit: (expired if visit.path.startswith("/ipns/") else honest)(visit), store)
    sharing = share(sources=("gateway",), gateways=(gateway.url,), catalog_grace=grace)
    sharing.following.list.add(NAME, "team", first=False)
    (shelf,) = sharing.shelves()
    assert (shelf.find(REPO, "c" * 40) is not None) is counts
    assert ("expired" in sharing.following.refusals.get("team", "")) is not counts


# -- the cluster ----------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[ClusterStub]:
    with cluster_stub() as running:
        yield running


def test_what_a_cluster_has_pinned_is_found(
    cluster: ClusterStub, start: Start, settings: Callable[..., Settings]
) -> None:
    node, store, pin = MemoryNode(), MemoryStore(), pin_of()
    ClusterShelf(ClusterNode(cluster.url), store).publish(pin, {"main": 10**18}, node)
    for block in node.blocks.values():
        store.put(block)
    given = {"sources": ("gateway",), "gateways": (start(honest, store).url,)}
    found = build_resolver(settings(**given, cluster_api=cluster.url)).find(REPO, "main")
    assert found is not None
    assert (found.pin.commit, found.pin.learned) == (pin.commit, f"the IPFS Cluster at {cluster.url}")


def test_nothing_of_a_cluster_is_asked_where_none_is_named(cluster: ClusterStub, share: Share) -> None:
    assert share().shelves() == []
    assert len(share(cluster_api=cluster.url).shelves()) == 1
    assert cluster.asked == []


@pytest.mark.parametrize("address", ["nonsense", "https://127.0.0.1:9"])
def test_a_cluster_that_cannot_be_asked_denies_no_load(
    settings: Callable[..., Settings], tmp_path: Path, address: str
) -> None:
    resolver = build_resolver(settings(cluster_api=address, ca_bundle=tmp_path / "none.pem", sources=("embedded",)))
    assert resolver.find(REPO, "main") is None
    (said,) = resolver.lookup.failures
    assert "cluster_api is no address" in said or "none.pem cannot be read" in said


def test_the_certificates_of_the_settings_count_for_the_cluster(
    start: Start, share: Share, certificate: tuple[Path, Path]
) -> None:
    pin = {"cid": str(NEW), "name": "", "metadata": {}, "timestamp": ""}
    peer = start(lambda visit: visit.reply(200, json.dumps(pin).encode()), tls=True)
    url = f"https://{peer.host}"
    assert share(cluster_api=url, ca_bundle=certificate[0]).cluster.node.get(NEW) is not None
    assert urlsplit(peer.paths[0]).path == f"/allocations/{NEW}"
    with pytest.raises(SourceError, match="self-signed"):
        share(cluster_api=url).cluster.node.get(NEW)


def test_a_plug_in_has_a_name_and_blocks_and_need_not_say_more(
    tmp_path: Path, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "path" / "plain_source-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-source\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pinformers.sources]\nplain = plain_source:Plain\n")
    (info.parent / "plain_source.py").write_text(
        "class Plain:\n    name = 'plain'\n\n    def block(self, cid):\n        return b''\n"
    )
    monkeypatch.syspath_prepend(str(info.parent))
    sharing = share(sources=("embedded", "plain"))
    assert [source.name for source in sharing.sources] == ["embedded", "plain"]
    assert sharing.shelves() == []
