from __future__ import annotations

import hashlib
import pickle

import pytest

from pinformers import ipfs
from pinformers._errors import BadCID, BlockMismatch
from pinformers.ipfs import CID, DAG_PB, IDENTITY, RAW, SHA2_256

V0 = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"
V1 = "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"
EMPTY_RAW = CID.raw(hashlib.sha256(b"").digest())
# The same CID in each base, by `ipfs cid format -b`.
SAME = {
    "b": "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
    "z": "zdj7Wic6KcJAfWz1c9o4M6kq9Lwd5BfbxkVafnrojaaGiSFxM",
    "f": "f01701220c3c4733ec8affd06cf9e9ff50ffc6bcd2ec85a6170004bb709669c31de94391a",
    "k": "k2jmtxw8rjh1z69c6not3wtdxb0u3urbzhyll1t9jg6ox26dhi5sfi1m",
}


@pytest.mark.parametrize("text", [V0, V1, "bafkqaaa", "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"])
def test_parse_and_print(text: str) -> None:
    cid = CID.parse(text)
    assert str(cid) == text
    assert CID.from_bytes(cid.to_bytes()) == cid
    assert pickle.loads(pickle.dumps(cid)) == cid and hash(pickle.loads(pickle.dumps(cid))) == hash(cid)


def test_fields() -> None:
    assert (CID.parse(V0).version, CID.parse(V0).codec, CID.parse(V0).hash_code) == (0, DAG_PB, SHA2_256)
    assert CID.parse(V1) == CID.dag_pb(CID.parse(V1).digest)
    assert CID.parse("bafkqaaa") == CID(1, RAW, IDENTITY, b"")
    assert EMPTY_RAW.multihash.hex() == "1220" + hashlib.sha256(b"").hexdigest()
    assert CID.dag_pb(EMPTY_RAW.digest) != EMPTY_RAW


def test_no_way_to_another_one_leads_past_the_rules() -> None:
    assert CID.parse(V1)._replace(codec=RAW) == CID.raw(CID.parse(V1).digest)
    with pytest.raises(BadCID, match="32 bytes"):
        EMPTY_RAW._replace(digest=b"")
    with pytest.raises(BadCID, match="version 2"):
        CID._make((2, RAW, SHA2_256, bytes(32)))


@pytest.mark.parametrize("base", "bzfk")
def test_bases(base: str) -> None:
    assert CID.parse(SAME[base]) == CID.parse(SAME["b"])


def test_read_gives_the_next_offset() -> None:
    stream = b"??" + EMPTY_RAW.to_bytes() + CID.parse(V0).to_bytes() + b"rest"
    first, at = CID.read(memoryview(stream), 2)
    second, end = CID.read(stream, at)
    assert (first, second, stream[end:]) == (EMPTY_RAW, CID.parse(V0), b"rest")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "starts with none"),
        ("b", "cut short"),
        ("k", "base36"),
        ("hello", "starts with none"),
        ("Qm", "starts with none"),
        (V0[:-1] + "0", "base58"),
        (V0 + "1", "starts with none"),
        (V1[:-1], "base32"),
        (V1 + "aa", "1 bytes follow"),
        (V1 + "1aa", "base32"),
        (V1[:-1] + "5", "bits to spare"),
        (V1.upper(), "starts with none"),
        (V1[:5] + V1[5:].upper(), "lower-case"),
        (V1[:5] + "ß" + V1[7:], "lower-case"),
        (V1 + "b" * 600, "too long"),
        ("f01701220" + "00" * 31, "cut short"),
        ("f01701220" + "00" * 33, "1 bytes follow"),
        ("f0170121f" + "00" * 31, "32 bytes"),
        ("f01550081 01", "base16"),
        ("F01551220" + "00" * 32, "starts with none"),
        ("f0155122" + "A" * 65, "lower case"),
        ("f0155008101" + "00" * 129, "longer than 128"),
        ("f02551220" + "00" * 32, "version 2"),
        ("f1220" + "00" * 32, "without a base letter"),
        ("f015580001220" + "00" * 32, "cut short|shortest"),
        ("k+1", "base36"),
        ("k1_0", "base36"),
        ("k١", "base36"),
    ],
)
def test_what_is_no_cid(text: str, reason: str) -> None:
    with pytest.raises(BadCID, match=reason) as caught:
        CID.parse(text)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


@pytest.mark.parametrize(
    "fields", [(2, RAW, SHA2_256, bytes(32)), (0, RAW, SHA2_256, bytes(32)), (0, DAG_PB, IDENTITY, b"")]
)
def test_no_instance_breaks_the_rules(fields: tuple[int, int, int, bytes]) -> None:
    with pytest.raises(BadCID):
        CID(*fields)


def test_verify() -> None:
    CID.raw(hashlib.sha256(b"x").digest()).verify(b"x")
    CID(1, RAW, IDENTITY, b"x").verify(memoryview(b"x"))
    for cid in (EMPTY_RAW, CID(1, RAW, IDENTITY, b"y")):
        with pytest.raises(BlockMismatch):
            cid.verify(b"x")


def test_verify_names_a_hash_it_does_not_know() -> None:
    with pytest.raises(BadCID, match="0x1e"):
        CID(1, RAW, 0x1E, bytes(32)).verify(b"")


def test_what_the_package_was_asked_for_it_keeps() -> None:
    vars(ipfs).pop("CID", None)
    assert ipfs.CID is CID
    assert vars(ipfs)["CID"] is CID
