from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipns_data import (
    NOW,
    Key,
    Scalar,
    cbor,
    contents,
    ecdsa_key,
    ed25519_key,
    fields_of,
    head,
    protobuf,
    record,
    rsa_key,
    scalar,
    secp256k1_key,
)
from pinformers._errors import BadCID, BadRecord
from pinformers.ipfs import CID, varint
from pinformers.ipfs.ipns import MAX_RECORD, IpnsName, IpnsRecord, verify_record

ROOT = "bafybeihd4yzq7n5umhjngdum4r6k2to7egxfkf2jz6thvwzf6djus22cmq"
VALUE = f"/ipfs/{ROOT}"
KEY = ed25519_key()
# Signed by a Kubo 0.43 with a key made for this line, by `ipfs name publish --lifetime 876000h`.
KUBO_NAME = "k51qzi5uqu5dgjrx9jtz6ln34vtqr3g4ipvk8nell1h197i80yaszm1140z0im"
KUBO_RECORD = bytes.fromhex(
    "0a412f697066732f62616679626569686434797a71376e35756d686a6e6764756d3472366b32746f37656778666b66326a7a"
    "36746876777a6636646a75733232636d711240135460be106a7cc186aab513a3ba642ec26266c5b00859f59afc8232b5f691"
    "f37f70cb82c1ad8b4159b2c6145551d8d9e6a5e69329ad7196d62b6e5b2581a00d1800221e323132362d31302d3331543131"
    "3a35323a34382e3837303032363335315a28003080f092cbdd084240d60a112aef445ae31035fa6805db15f713051037e2aa"
    "a9f28ac7c3f7f53fb9e52843bc0624bb922a2e72028227ae0d2e205db75923a24c54bcf250f935019e0c4a9801a56354544c"
    "1b00000045d964b8006556616c756558412f697066732f62616679626569686434797a71376e35756d686a6e6764756d3472"
    "366b32746f37656778666b66326a7a36746876777a6636646a75733232636d716853657175656e6365006856616c69646974"
    "79581e323132362d31302d33315431313a35323a34382e3837303032363335315a6c56616c69646974795479706500"
)


def refused(content: bytes, key: Key = KEY) -> str:
    with pytest.raises(BadRecord) as caught:
        verify_record(key.name, content)
    assert str(key.name) in str(caught.value)
    return caught.value.reason


# -- names ----------------------------------------------------------------------------------------------------


# One key as `ipfs id` writes it, and as `ipfs key list` and `ipfs cid base32` do.
PEER_ID = "12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d"
BASE36_NAME = "k51qzi5uqu5dk3v4rmjber23h16xnr23bsggmqqil9z2gduiis5se8dht36dam"
BASE32_NAME = "bafzaajaiaejcbhltvusd6q2t7tm3lmke4vu4lieeerm25eihikbh3ncjntnm6t6o"


def test_a_name_has_many_forms_and_is_written_in_one() -> None:
    name = IpnsName.parse(PEER_ID)
    assert (str(name), str(name.cid)) == (BASE36_NAME, BASE32_NAME)
    for form in (BASE36_NAME, BASE32_NAME, f"/ipns/{BASE36_NAME}", f"ipns://{BASE36_NAME}", f"/ipns/{PEER_ID}/"):
        assert IpnsName.parse(form) == name


@pytest.mark.parametrize("make", [ed25519_key, rsa_key, secp256k1_key, ecdsa_key])
def test_the_name_of_any_key_comes_back(make: Callable[[], Key]) -> None:
    name = make().name
    assert IpnsName.parse(str(name)) == IpnsName.parse(str(name.cid)) == name


def test_a_hashed_key_is_also_named_by_its_old_peer_id() -> None:
    key = rsa_key()
    assert IpnsName.parse(str(CID(0, 0x70, 0x12, key.name.cid.digest))) == key.name


@pytest.mark.parametrize(
    "text",
    ["", "k", "k51", "en.wikipedia-on-ipfs.org", "12D3Koo", "1" * 129, "Qm" + "0" * 44, "QmÜ", ROOT, "/ipfs/" + ROOT],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(BadCID):
        IpnsName.parse(text)
    with pytest.raises(BadCID):
        verify_record(text, b"")


# -- good records ---------------------------------------------------------------------------------------------


def test_a_record_of_kubo() -> None:
    found = verify_record(KUBO_NAME, KUBO_RECORD)
    assert (found.value, found.sequence, found.ttl) == (VALUE, 0, 300.0)
    assert found.validity.year > 2100


@pytest.mark.parametrize("make", [ed25519_key, rsa_key, secp256k1_key, ecdsa_key])
def test_a_record_of_any_key(make: Callable[[], Key]) -> None:
    key = make()
    found = verify_record(str(key.name), record(key, VALUE, sequence=7))
    assert found == IpnsRecord(VALUE, 7, NOW + timedelta(days=2), 300.0)


def test_a_record_without_the_fields_of_version_1() -> None:
    fields = {number: content for number, content in fields_of(KEY, contents(VALUE)).items() if number > 6}
    assert verify_record(KEY.name, protobuf(fields)).value == VALUE


def test_the_signature_of_version_1_is_not_looked_at_and_unknown_fields_are_passed_over() -> None:
    fields = {**fields_of(KEY, contents(VALUE)), 2: b"invalid", 99: b"later"}
    assert verify_record(KEY.name, protobuf(fields)).value == VALUE


def test_an_extended_record() -> None:
    said: dict[str, Scalar] = {**contents(VALUE), "_text": "é", "_bytes": b"x", "_yes": True, "_less": -5}
    said = dict(sorted(said.items(), key=lambda pair: (len(pair[0]), pair[0])))
    assert verify_record(KEY.name, protobuf(fields_of(KEY, said))).value == VALUE


def test_a_value_with_a_path() -> None:
    found = verify_record(KEY.name, record(KEY, f"{VALUE}/a/été/"))
    assert (found.root, found.path, found.value) == (CID.parse(ROOT), ("a", "été"), f"{VALUE}/a/été")


def test_a_newer_record_outranks_an_older_one_and_a_renewed_one_that_it_renews() -> None:
    first = verify_record(KEY.name, record(KEY, VALUE, sequence=9))
    renewed = verify_record(KEY.name, record(KEY, VALUE, sequence=9, validity=NOW + timedelta(days=3)))
    newer = verify_record(KEY.name, record(KEY, VALUE, sequence=10, validity=NOW))
    assert first.rank < renewed.rank < newer.rank


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"2126-01-31T15:56:12.714899293Z", datetime(2126, 1, 31, 15, 56, 12, 714899, timezone.utc)),
        (b"2126-01-31T15:56:12Z", datetime(2126, 1, 31, 15, 56, 12, 0, timezone.utc)),
        (b"2126-01-31T15:56:12.5+02:00", datetime(2126, 1, 31, 13, 56, 12, 500000, timezone.utc)),
    ],
)
def test_validities(text: bytes, moment: datetime) -> None:
    said = {**contents(VALUE), "Validity": text}
    assert verify_record(KEY.name, protobuf(fields_of(KEY, said))).validity == moment


# -- forged and broken ones -----------------------------------------------------------------------------------


def test_another_key_signed() -> None:
    assert "not that of the name's owner" in refused(record(ed25519_key(2), VALUE))


@pytest.mark.parametrize("number", [8, 9])
def test_a_changed_signature_or_content(number: int) -> None:
    fields = fields_of(KEY, contents(VALUE))
    content = fields[number]
    assert isinstance(content, bytes)
    fields[number] = content[:-1] + bytes([content[-1] ^ 1])
    assert "not that of the name's owner" in refused(protobuf(fields))


@pytest.mark.parametrize("signature", [b"", b"invalid stuff", bytes(64)])
def test_no_real_signature(signature: bytes) -> None:
    refused(protobuf({**fields_of(KEY, contents(VALUE)), 8: signature}))


@pytest.mark.parametrize("missing", [8, 9])
def test_a_record_of_version_1_only(missing: int) -> None:
    fields = fields_of(KEY, contents(VALUE))
    del fields[missing]
    assert refused(protobuf(fields)) == "it has no version 2 signature"


@pytest.mark.parametrize(
    ("number", "content", "word"),
    [
        (1, b"/ipfs/bafkqaaa", "Value"),
        (3, 1, "ValidityType"),
        (4, b"2199-01-01T00:00:00Z", "Validity"),
        (5, 2, "Sequence"),
        (6, 1, "TTL"),
    ],
)
def test_the_unsigned_part_says_something_else(number: int, content: int | bytes, word: str) -> None:
    assert word in refused(protobuf({**fields_of(KEY, contents(VALUE)), number: content}))


@pytest.mark.parametrize("missing", [1, 4, 5, 6])
def test_half_of_the_unsigned_part(missing: int) -> None:
    fields = fields_of(KEY, contents(VALUE))
    del fields[missing]
    assert "unsigned" in refused(protobuf(fields))


def test_a_key_that_its_name_does_not_stand_for() -> None:
    key = rsa_key()
    other = ecdsa_key()
    fields = fields_of(key, contents(VALUE))
    assert "not the one that its name stands for" in refused(protobuf({**fields, 7: other.public}), key)
    del fields[7]
    assert "carries no public key" in refused(protobuf(fields), key)
    assert "another key" in refused(protobuf({**fields_of(KEY, contents(VALUE)), 7: other.public}))


def test_a_short_rsa_key() -> None:
    key = rsa_key(1024)
    assert "1024 bits" in refused(record(key, VALUE), key)


@pytest.mark.parametrize(
    ("kind", "material"),
    [(4, b"x" * 32), (1, b"x" * 31), (0, b"no DER"), (3, b"no DER"), (2, b"no point"), (1, b"")],
)
def test_a_name_that_is_no_usable_key(kind: int, material: bytes) -> None:
    key = Key(KEY.private, kind, material)
    refused(record(key, VALUE), key)


def test_a_key_of_another_kind_than_it_says() -> None:
    der = ecdsa_key()
    key = Key(der.private, 0, der.material)
    assert "another kind" in refused(record(key, VALUE), key)


@pytest.mark.parametrize(
    "value",
    ["", ROOT, f"/ipns/{KEY.name}", "/ipfs/", "/ipfs/nonsense", f"{VALUE}//a", f"{VALUE}/../a", f"{VALUE}/\x1b[2J"],
)
def test_a_value_that_leads_nowhere(value: str) -> None:
    refused(record(KEY, value))


@pytest.mark.parametrize(
    "said",
    [
        {"Value": b"\xff"},
        {"Value": VALUE},
        {"Value": None},
        {"Validity": b"tomorrow"},
        {"Validity": b"2126-13-31T15:56:12Z"},
        {"Validity": b"0001-01-01T00:00:00+23:00"},
        {"Validity": "2126-01-31T15:56:12Z"},
        {"ValidityType": 1},
        {"Sequence": -1},
        {"Sequence": True},
        {"Sequence": b"1"},
        {"TTL": -1},
        {"TTL": 1 << 63},
    ],
    ids=str,
)
def test_content_of_the_wrong_kind(said: dict[str, Scalar]) -> None:
    signed = cbor({**contents(VALUE), **said})
    refused(protobuf({7: b"", 8: KEY.sign(b"ipns-signature:" + signed), 9: signed}))


@pytest.mark.parametrize("missing", ["Value", "Validity", "ValidityType", "Sequence", "TTL"])
def test_content_with_something_missing(missing: str) -> None:
    said = {name: word for name, word in contents(VALUE).items() if name != missing}
    signed = cbor(said)
    refused(protobuf({8: KEY.sign(b"ipns-signature:" + signed), 9: signed}))


GOOD = contents(VALUE)
PAIRS = [scalar(name) + scalar(value) for name, value in GOOD.items()]


@pytest.mark.parametrize(
    "signed",
    [
        b"",
        b"\x80",
        head(5, 5) + b"".join(reversed(PAIRS)),
        head(5, 6) + b"".join([PAIRS[0], *PAIRS]),
        cbor(GOOD) + b"\x00",
        cbor(GOOD)[:-1],
        head(5, 1) + scalar(5) + scalar(5),
        b"\xb8\x05" + b"".join(PAIRS),
        b"\xbf" + b"".join(PAIRS) + b"\xff",
        cbor({"a": 1}).replace(b"\x01", b"\x18\x01"),
        head(5, 1) + scalar("a") + b"\xfb" + bytes(8),
        head(5, 1) + scalar("a") + b"\x80",
        head(5, 1) + scalar("a") + b"\x5b" + b"\x7f" * 8,
        head(5, 1) + scalar("a") + b"\xf7",
        b"\xbb" + b"\xff" * 8,
    ],
    ids=lambda signed: signed[:12].hex(),
)
def test_a_signed_part_that_is_not_the_one_form_of_dag_cbor(signed: bytes) -> None:
    refused(protobuf({8: KEY.sign(b"ipns-signature:" + signed), 9: signed}))


def test_a_field_that_stands_twice() -> None:
    once = record(KEY, VALUE)
    assert "twice" in refused(once + protobuf({5: 2}))


@pytest.mark.parametrize("content", [b"\x0d\x00\x00\x00\x00", b"\x48\x01", b"\x0a\x05a", b"\xff" * 12, b"\x0b"])
def test_no_protobuf_of_a_record(content: bytes) -> None:
    refused(content)


def test_a_record_that_is_too_long() -> None:
    good = record(KEY, VALUE)
    padded = good + protobuf({99: bytes(MAX_RECORD - len(good) - 4)})
    assert len(padded) == MAX_RECORD
    assert verify_record(KEY.name, padded).value == VALUE
    assert "more than" in refused(padded + varint.encode(98 << 3) + b"\x00")


@given(st.data())
def test_no_change_of_a_byte_goes_unseen(data: st.DataObject) -> None:
    good = record(KEY, VALUE)
    at = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(good)
    changed[at] ^= 1 << bit
    try:
        found = verify_record(KEY.name, bytes(changed))
    except BadRecord:
        return
    # The signature of version 1 counts for nothing.
    assert found == verify_record(KEY.name, good)


@given(st.binary(max_size=300))
def test_no_bytes_make_another_error(content: bytes) -> None:
    refused(content)
