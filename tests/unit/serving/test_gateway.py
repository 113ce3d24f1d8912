from __future__ import annotations

from collections.abc import Iterator

import pytest

from dag_rooms import TINY, Room, named, unpacked
from pinformers._errors import SourceUnavailable
from pinformers.ipfs import CID, DAG_PB, RAW, Block, read_file
from pinformers.serving.gateway import answer
from pinformers.serving.messages import Request, Response

CONTENT = bytes(range(40))
FILES = {"a.txt": b"first", "sub/b.txt": CONTENT, "sub/c é.txt": b"first"}
RAW_TYPE, CAR_TYPE = "application/vnd.ipld.raw", "application/vnd.ipld.car"


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def root(room: Room) -> CID:
    return room.store.add_folder(FILES, TINY).cid


def get(room: Room, target: str, method: str = "GET", **headers: str) -> Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(Request(method, target, sent), room)


def body(response: Response) -> bytes:
    return b"".join(response.body)


# -- raw blocks -----------------------------------------------------------------------------------------------


def test_a_raw_block(room: Room) -> None:
    cid = room.store.add_file(b"content").cid
    for response in (get(room, f"/ipfs/{cid}?format=raw"), get(room, f"/ipfs/{cid}", accept=RAW_TYPE)):
        assert (response.status, body(response)) == (200, b"content")
        assert response.headers == {
            "Content-Type": RAW_TYPE,
            "Content-Length": "7",
            "Content-Disposition": f"attachment; filename=\"{cid}.bin\"; filename*=UTF-8''{cid}.bin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "public, max-age=29030400, immutable",
            "Etag": f'"{cid}.raw"',
            "X-Ipfs-Path": f"/ipfs/{cid}",
            "X-Ipfs-Roots": str(cid),
            "Accept-Ranges": "bytes",
            "Vary": "Accept",
        }


def test_any_spelling_of_a_cid_is_understood(room: Room) -> None:
    cid = room.store.add_file(b"content").cid
    assert body(get(room, f"/ipfs/f{cid.to_bytes().hex()}?format=raw")) == b"content"


def test_the_probe_of_gateways(room: Room) -> None:
    raw = get(room, "/ipfs/bafkqaaa?format=raw")
    assert (raw.status, body(raw), raw.headers["Content-Length"]) == (200, b"", "0")
    car = get(room, "/ipfs/bafkqaaa?format=car")
    assert (car.status, *unpacked(car.body)) == (200, (CID.parse("bafkqaaa"),), [])


@pytest.mark.parametrize(
    ("asked", "part", "content"),
    [
        ("bytes=0-2", "0-2", b"con"),
        ("bytes=4-", "4-6", b"ent"),
        ("bytes=-3", "4-6", b"ent"),
        ("bytes=-99", "0-6", b"content"),
        ("bytes=5-99", "5-6", b"nt"),
        ("bytes=1-2,4-5", "1-2", b"on"),
    ],
)
def test_a_range_of_a_raw_block(room: Room, asked: str, part: str, content: bytes) -> None:
    cid = room.store.add_file(b"content").cid
    response = get(room, f"/ipfs/{cid}?format=raw", range=asked)
    assert (response.status, body(response)) == (206, content)
    assert response.headers["Content-Range"] == f"bytes {part}/7"
    assert response.headers["Content-Length"] == str(len(content))


@pytest.mark.parametrize("asked", ["bytes=7-", "bytes=-0", "bytes=3-2"])
def test_a_range_outside_of_a_raw_block(room: Room, asked: str) -> None:
    response = get(room, f"/ipfs/{room.store.add_file(b'content').cid}?format=raw", range=asked)
    assert (response.status, response.headers["Content-Range"]) == (416, "bytes */7")


@pytest.mark.parametrize("headers", [{"range": "items=0-1"}, {"range": "bytes=0-1", "if_range": '"other"'}])
def test_a_range_that_means_nothing_is_ignored(room: Room, headers: dict[str, str]) -> None:
    response = get(room, f"/ipfs/{room.store.add_file(b'content').cid}?format=raw", **headers)
    assert (response.status, body(response)) == (200, b"content")


def test_a_filename_of_ones_own_cannot_end_the_header(room: Room) -> None:
    cid = room.store.add_file(b"content").cid
    said = get(room, f"/ipfs/{cid}?format=raw&filename=m%22%0D%0Ad%C3%A9l.bin").headers["Content-Disposition"]
    assert said == "attachment; filename=\"m%22__d_l.bin\"; filename*=UTF-8''m%22%0D%0Ad%C3%A9l.bin"


# -- CARs -----------------------------------------------------------------------------------------------------


def test_a_car(room: Room, root: CID) -> None:
    response = get(room, f"/ipfs/{root}/sub/b.txt?format=car")
    assert response.status == 200
    assert response.headers["Content-Type"] == f"{CAR_TYPE}; version=1; order=dfs; dups=n"
    assert f'filename="{root}.car"' in response.headers["Content-Disposition"]
    assert response.headers["Accept-Ranges"] == "none" and "Content-Length" not in response.headers
    roots = response.headers["X-Ipfs-Roots"].split(",")
    car_roots, blocks = unpacked(response.body)
    assert list(map(str, blocks[:3])) == roots and (str(car_roots[0]), len(roots)) == (roots[-1], 3)
    assert b"".join(read_file(car_roots[0], room.store)) == CONTENT


def test_a_path_is_percent_encoded(room: Room, root: CID) -> None:
    response = get(room, f"/ipfs/{root}/sub/c%20%C3%A9.txt?format=car")
    assert len(unpacked(response.body)[1]) == 5
    assert response.headers["X-Ipfs-Path"] == f"/ipfs/{root}/sub/c%20%C3%A9.txt"


@pytest.mark.parametrize(("scope", "count"), [("block", 2), ("entity", 2), ("all", 22), ("", 22)])
def test_scopes(room: Room, root: CID, scope: str, count: int) -> None:
    query = f"&dag-scope={scope}" if scope else ""
    blocks = unpacked(get(room, f"/ipfs/{root}/sub?format=car{query}").body)[1]
    assert len(blocks) == count


def test_bytes_of_a_file(room: Room, root: CID) -> None:
    for query in ("entity-bytes=4:11", "entity-bytes=-36:-29", "dag-scope=entity&entity-bytes=4:11"):
        blocks = unpacked(get(room, f"/ipfs/{root}/sub/b.txt?format=car&{query}").body)[1]
        assert [cid for cid in blocks if cid.codec == RAW] == [named(RAW, CONTENT[4:8]), named(RAW, CONTENT[8:12])]


def test_a_path_to_nothing_is_proved(room: Room, root: CID) -> None:
    response = get(room, f"/ipfs/{root}/sub/nothing?format=car")
    assert response.status == 200
    assert len(unpacked(response.body)[1]) == 2


def test_doubled_blocks(room: Room, root: CID) -> None:
    plain = unpacked(get(room, f"/ipfs/{root}?format=car").body)[1]
    doubled = get(room, f"/ipfs/{root}?format=car&car-dups=y")
    assert doubled.headers["Content-Type"].endswith("; dups=y")
    assert len(unpacked(doubled.body)[1]) == len(plain) + 3 == len(set(plain)) + 3


def test_a_big_block_is_passed_on_uncopied(room: Room) -> None:
    content = bytes(1 << 20)
    cid = room.store.add_file(content).cid
    held = room.store.blocks[cid.multihash]
    pieces = list(get(room, f"/ipfs/{cid}?format=car").body)
    assert any(piece is held for piece in pieces) and unpacked(pieces)[1] == [cid]


def test_a_block_that_is_missing_in_the_middle_breaks_the_car(room: Room, root: CID) -> None:
    gone = named(RAW, CONTENT[20:24])
    room.gone.add(gone)
    response = get(room, f"/ipfs/{root}/sub/b.txt?format=car")
    assert response.status == 200
    pieces = list[bytes | memoryview]()
    with pytest.raises(OSError, match=str(gone)):
        pieces.extend(response.body)
    # extend() kept what came before the error.
    assert named(RAW, CONTENT[16:20]) in unpacked(pieces)[1]
    whole = get(room, f"/ipfs/{root}/sub/b.txt?format=car&entity-bytes=0:19")
    assert named(RAW, CONTENT[16:20]) in unpacked(whole.body)[1]


# -- formats --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("format=raw", CAR_TYPE, RAW_TYPE),
        ("format=car", RAW_TYPE, f"{CAR_TYPE}; version=1; order=dfs; dups=n"),
        ("format=car", f"{CAR_TYPE}; order=unk; dups=y", f"{CAR_TYPE}; version=1; order=unk; dups=y"),
        ("format=car&car-dups=n&car-order=dfs", f"{CAR_TYPE};order=unk;dups=y", "; order=dfs; dups=n"),
        ("", f"text/html, {CAR_TYPE};dups=y, {RAW_TYPE}", "; dups=y"),
        ("", f"{CAR_TYPE};q=0.5, {RAW_TYPE}", RAW_TYPE),
        ("", f"{CAR_TYPE};q=0, {RAW_TYPE};q=0.1", RAW_TYPE),
        ("", f'{CAR_TYPE.upper()} ; Version="1" ; dups=y', "; dups=y"),
    ],
)
def test_formats(room: Room, root: CID, query: str, accept: str, kind: str) -> None:
    assert get(room, f"/ipfs/{root}?{query}", accept=accept).headers["Content-Type"].endswith(kind)


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "application/x-tar", f"{RAW_TYPE};q=0"])
def test_what_cannot_be_verified_is_refused(room: Room, root: CID, accept: str) -> None:
    assert get(room, f"/ipfs/{root}", accept=accept).status == 406


@pytest.mark.parametrize("target", ["?format=tar", "?format=dag-json", "?format=ipns-record", "/a.txt?format=raw"])
def test_other_formats_are_refused(room: Room, root: CID, target: str) -> None:
    assert get(room, f"/ipfs/{root}{target}").status == 406


@pytest.mark.parametrize(
    "query",
    [
        "car-version=2",
        "car-order=bfs",
        "car-dups=yes",
        "dag-scope=some",
        "dag-scope=",
        "entity-bytes=",
        "entity-bytes=3",
        "entity-bytes=3:2",
        "entity-bytes=-2:-3",
        "entity-bytes=*:3",
        "entity-bytes=1:2:3",
        "entity-bytes=0x1:*",
        "filename=%FF",
        "&".join(f"x{number}=1" for number in range(40)),
    ],
)
def test_parameters_that_are_wrong(room: Room, root: CID, query: str) -> None:
    response = get(room, f"/ipfs/{root}?format=car&{query}")
    assert response.status == 400
    assert body(response).count(b"\n") == 1 and response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/ipfs/nonsense?format=raw", 400),
        ("/ipfs/?format=raw", 400),
        ("/ipfs/%FF?format=raw", 400),
        ("/ipfs/bafkqaaa/%FF?format=car", 400),
        ("/ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8?format=raw", 404),
        ("/", 404),
        ("ipfs/bafkqaaa", 404),
        ("http://other/ipfs/bafkqaaa?format=raw", 404),
    ],
)
def test_other_targets(room: Room, target: str, status: int) -> None:
    assert get(room, target).status == status


# -- headers --------------------------------------------------------------------------------------------------


def test_head_has_the_headers_and_no_body(room: Room, root: CID) -> None:
    for target in (f"/ipfs/{root}?format=raw", f"/ipfs/{root}/sub?format=car", "/ipfs/nonsense", "/ipfs/bafkqaaa"):
        got, headers_only = get(room, target), get(room, target, "HEAD")
        assert (headers_only.status, headers_only.headers) == (got.status, got.headers)
        assert body(headers_only) == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods(room: Room, root: CID, method: str) -> None:
    response = get(room, f"/ipfs/{root}?format=raw", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


def test_a_client_that_has_it_gets_nothing(room: Room, root: CID) -> None:
    for target in (f"/ipfs/{root}?format=raw", f"/ipfs/{root}?format=car"):
        etag = get(room, target).headers["Etag"]
        for condition in (etag, f'"other", {etag}', "*", etag.removeprefix("W/")):
            response = get(room, target, if_none_match=condition)
            assert (response.status, response.headers["Etag"], body(response)) == (304, etag, b"")
        assert get(room, target, if_none_match='"other"').status == 200


def test_what_differs_has_another_etag(room: Room, root: CID) -> None:
    queries = ["raw", "car", "car&dag-scope=block", "car&entity-bytes=0:1", "car&entity-bytes=0:2", "car&car-dups=y"]
    etags = {get(room, f"/ipfs/{root}?format={query}").headers["Etag"] for query in queries}
    etags.add(get(room, f"/ipfs/{root}/sub?format=car").headers["Etag"])
    assert len(etags) == len(queries) + 1


@pytest.mark.parametrize("target", ["{}?format=raw", "{}?format=car", "{}/sub?format=car"])
def test_a_missing_root(room: Room, root: CID, target: str) -> None:
    room.gone.add(root)
    target = f"/ipfs/{target.format(root)}"
    assert [get(room, target, method).status for method in ("GET", "HEAD")] == [404, 404]
    assert get(room, target, cache_control="only-if-cached").status == 412
    room.gone.clear()
    assert get(room, target, cache_control="only-if-cached").status == 200


def test_a_block_that_cannot_be_read_on_the_way(room: Room) -> None:
    room.store.put(b"\xff no dag-cbor")
    assert get(room, f"/ipfs/{named(0x71, bytes([255]) + b' no dag-cbor')}/x?format=car").status == 422


def test_a_source_that_is_not_available() -> None:
    def blocks(cid: CID) -> Block:
        raise SourceUnavailable("disk", "it is on fire")

    response = answer(Request("GET", f"/ipfs/{CID.raw(bytes(32))}?format=raw"), blocks)
    assert response.status == 502 and b"it is on fire" in body(response)


def test_blocks_are_read_while_the_car_is_taken(room: Room, root: CID) -> None:
    pieces = iter(get(room, f"/ipfs/{root}?format=car").body)
    asked = len(room.store.asked)
    assert asked == 1 and isinstance(pieces, Iterator)
    b"".join(pieces)
    assert len(room.store.asked) > 10


def test_dag_pb_of_version_0_keeps_its_name(room: Room) -> None:
    dag = room.store.add_file(CONTENT, TINY)
    old = CID(0, DAG_PB, 0x12, dag.cid.digest)
    assert unpacked(get(room, f"/ipfs/{old}?format=car").body)[1][0] == old
