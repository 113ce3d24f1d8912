"""IPNS: names that are public keys, and signed records that say what a name stands for.

The format is https://specs.ipfs.tech/ipns/ipns-record/, of which only records with a version 2 signature count.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TypeAlias

from pinformers._errors import BadCID, BadRecord
from pinformers.ipfs import varint
from pinformers.ipfs.cid import BASE36, CID, IDENTITY, SHA2_256, from_base58, to_digits

LIBP2P_KEY = 0x72
MAX_RECORD = 10 << 10

_SIGNED = b"ipns-signature:"
# Fields of the protobuf; the first five repeat, unsigned, what the last one holds under a signature.
_VALUE, _SIGNATURE_V1, _TYPE, _VALIDITY, _SEQUENCE, _TTL, _KEY, _SIGNATURE, _CBOR = range(1, 10)
_REPEATED = {_VALUE: "Value", _TYPE: "ValidityType", _VALIDITY: "Validity", _SEQUENCE: "Sequence", _TTL: "TTL"}
_BYTE_FIELDS = (_VALUE, _SIGNATURE_V1, _VALIDITY, _KEY, _SIGNATURE, _CBOR)
_RSA, _ED25519, _SECP256K1, _ECDSA = range(4)
# A peer id of libp2p is at most a sha2-256 multihash or an inlined key of 42 bytes; base36 of it has 62 letters.
_MAX_NAME = 128
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_Scalar: TypeAlias = "int | bytes | str | bool | None"


@dataclass(frozen=True, slots=True)
class IpnsName:
    """The hash of a public key, or, where it is short as Ed25519's is, the key itself."""

    cid: CID

    def __post_init__(self) -> None:
        if self.cid.version != 1 or self.cid.codec != LIBP2P_KEY:
            raise BadCID(str(self.cid), "it names content, not a key")
        if self.cid.hash_code not in (IDENTITY, SHA2_256):
            raise BadCID(str(self.cid), "a key is named by sha2-256 or by itself")

    @classmethod
    def parse(cls, text: str) -> IpnsName:
        """Read ``k51...`` or another CID of a key, or a peer id (``12D3Koo...``, ``Qm...``); ``/ipns/`` may precede.

        Raises BadCID.
        """
        name = text.removeprefix("ipns://").removeprefix("/ipns/").rstrip("/")
        if len(name) > _MAX_NAME:
            raise BadCID(text[:64] + "...", "it is too long for the name of a key")
        try:
            if name.startswith(("1", "Qm")):
                # A peer id is a bare multihash; as a CID it needs only its head.
                return cls(CID.from_bytes(b"\x01" + varint.encode(LIBP2P_KEY) + from_base58(name)))
            return cls(CID.parse(name))
        except BadCID as exc:
            raise BadCID(text, exc.reason) from None
        except ValueError as exc:
            raise BadCID(text, str(exc)) from None

    def __str__(self) -> str:
        # The first byte is the version, 1: there are no leading zeros to keep.
        return "k" + to_digits(self.cid.to_bytes(), BASE36)


@dataclass(frozen=True, slots=True)
class IpnsRecord:
    """What the owner of a name signed: the name stands for ``value`` (``/ipfs/<cid>[/path]``) until ``validity``.

    ``sequence`` grows with each new value; ``ttl`` is for how many seconds nobody need ask again.
    """

    value: str
    sequence: int
    validity: datetime
    ttl: float

    @property
    def root(self) -> CID:
        """The CID in ``value``."""
        return CID.parse(self.value.split("/")[2])

    @property
    def path(self) -> tuple[str, ...]:
        """The names that follow the CID in ``value``."""
        return tuple(self.value.split("/")[3:])

    @property
    def rank(self) -> tuple[int, datetime]:
        """The greater of two valid records' ranks is the newer one's."""
        return self.sequence, self.validity


def verify_record(name: str | IpnsName, record: bytes) -> IpnsRecord:
    """Return what ``record`` says if the owner of ``name`` signed it; raises BadRecord otherwise.

    Whether it has expired is the caller's to judge.
    """
    known = IpnsName.parse(name) if isinstance(name, str) else name
    try:
        if len(record) > MAX_RECORD:
            raise ValueError(f"it has {len(record)} bytes, more than {MAX_RECORD}")
        fields = _parse_fields(record)
        signature, signed = fields.get(_SIGNATURE), fields.get(_CBOR)
        if not isinstance(signature, bytes) or not isinstance(signed, bytes) or not signature or not signed:
            raise ValueError("it has no version 2 signature")
        key = fields.get(_KEY, b"")
        _verify_signature(_public_key(known, key if isinstance(key, bytes) else b""), signature, _SIGNED + signed)
        said = _parse_cbor(signed)
        _check_repeated(fields, said)
        return _read(said)
    except ValueError as exc:
        raise BadRecord(str(known), str(exc)) from exc


# -- the key and its signature --------------------------------------------------------------------------------


def _public_key(name: IpnsName, sent: bytes) -> bytes:
    if name.cid.hash_code == IDENTITY:
        if sent not in (b"", name.cid.digest):
            raise ValueError("it carries another key than its name")
        return name.cid.digest
    if not sent:
        raise ValueError("it carries no public key, and its name holds only the hash of one")
    if hashlib.sha256(sent).digest() != name.cid.digest:
        raise ValueError("its public key is not the one that its name stands for")
    return sent


def _verify_signature(encoded: bytes, signature: bytes, message: bytes) -> None:
    # deferred: half of the modules of `cryptography`, which only who follows a catalog needs.
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    kind, material = _parse_key(encoded)
    try:
        if kind == _ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(material).verify(signature, message)
            return
        if kind == _SECP256K1:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), material).verify(
                signature, message, ec.ECDSA(SHA256())
            )
            return
        key = load_der_public_key(material)
        if kind == _RSA and isinstance(key, rsa.RSAPublicKey):
            if not 2048 <= key.key_size <= 8192:
                raise ValueError(f"its RSA key has {key.key_size} bits; 2048 to 8192 are taken")
            key.verify(signature, message, padding.PKCS1v15(), SHA256())
        elif kind == _ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(SHA256()))
        else:
            raise ValueError("its key is of another kind than it says")
    except InvalidSignature as exc:
        raise ValueError("its signature is not that of the name's owner") from exc
    except UnsupportedAlgorithm as exc:
        raise ValueError(f"its key cannot be used here ({exc})") from exc


def _parse_key(encoded: bytes) -> tuple[int, bytes]:
    """Read libp2p's PublicKey message, of which every key has one form only."""
    if len(encoded) < 4 or encoded[0] != 0x08 or encoded[2] != 0x12 or encoded[1] > _ECDSA:
        raise ValueError("its public key is none of libp2p's kinds")
    length, at = varint.decode(encoded, 3)
    if at + length != len(encoded):
        raise ValueError("its public key is cut short or too long")
    return encoded[1], encoded[at:]


# -- what a record says ---------------------------------------------------------------------------------------


def _read(said: Mapping[str, _Scalar]) -> IpnsRecord:
    value, validity = said.get("Value"), said.get("Validity")
    kind, sequence, ttl = (_number(said, name) for name in ("ValidityType", "Sequence", "TTL"))
    if kind != 0:
        raise ValueError(f"its validity is of the unknown type {kind}")
    if not isinstance(value, bytes) or not isinstance(validity, bytes):
        raise ValueError("its value or its validity is missing")
    return IpnsRecord(_path(value), sequence, _time(validity), ttl / 1e9)


def _number(said: Mapping[str, _Scalar], name: str) -> int:
    number = said.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 63:
        raise ValueError(f"its {name} is no number of at most 63 bits")
    return number


def _path(value: bytes) -> str:
    text = value.decode("utf-8").removesuffix("/")
    head, _, rest = text.removeprefix("/ipfs/").partition("/")
    if not text.startswith("/ipfs/"):
        raise ValueError(f"it leads to {text[:64]!r}, not to /ipfs/ and a CID")
    names = rest.split("/") if rest else []
    if any(name in ("", ".", "..") or not name.isprintable() for name in names):
        raise ValueError("its path has empty, dotted or unprintable names")
    return "/".join(["/ipfs", str(CID.parse(head)), *names])


def _time(text: bytes) -> datetime:
    match = _TIME.fullmatch(text.decode("ascii"))
    if match is None:
        raise ValueError("its validity is no time")
    moment = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc)
    moment += timedelta(microseconds=int((match[2] or "").ljust(9, "0")) // 1000)
    offset = timedelta(hours=int(match[4] or 0), minutes=int(match[5] or 0))
    try:
        return moment + offset if match[3] == "-" else moment - offset
    except OverflowError as exc:
        raise ValueError("its validity is no time") from exc


def _check_repeated(fields: Mapping[int, int | bytes], said: Mapping[str, _Scalar]) -> None:
    # A reader that knows version 1 only would follow the unsigned fields.
    version_1 = _VALUE in fields or _SIGNATURE_V1 in fields
    for number, name in _REPEATED.items():
        absent = b"" if number in _BYTE_FIELDS else 0
        if (version_1 or number in fields) and fields.get(number, absent) != said.get(name):
            raise ValueError(f"its {name} is another in the signed and in the unsigned part")


# -- the encodings --------------------------------------------------------------------------------------------


def _parse_fields(record: bytes) -> dict[int, int | bytes]:
    found: dict[int, int | bytes] = {}
    for number, content in _protobuf(record):
        if number in found:
            raise ValueError(f"its field {number} stands twice")
        if number <= _CBOR and isinstance(content, bytes) != (number in _BYTE_FIELDS):
            raise ValueError(f"its field {number} has the wrong type")
        found[number] = content
    return found


def _protobuf(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = varint.decode(message, at)
        number, wire = tag >> 3, tag & 7
        if wire not in (0, 2):
            raise ValueError(f"protobuf has no wire type {wire} here")
        content, at = varint.decode(message, at)
        if wire == 0:
            yield number, content
            continue
        if content > len(message) - at:
            raise ValueError("it is cut short")
        yield number, message[at : at + content]
        at += content


def _parse_cbor(document: bytes) -> dict[str, _Scalar]:
    """Read a map of text to scalars in dag-cbor's one form: shortest heads, keys by length and then by bytes."""
    major, count, at = _cbor_head(document, 0)
    if major != 5:
        raise ValueError("its signed part is no map")
    found: dict[str, _Scalar] = {}
    last: tuple[int, bytes] | None = None
    for _ in range(count):
        key, at = _cbor_scalar(document, at)
        if not isinstance(key, str):
            raise ValueError("its signed part has a key that is no text")
        place = len(key.encode()), key.encode()
        if last is not None and place <= last:
            raise ValueError("the keys of its signed part are doubled or out of order")
        last = place
        found[key], at = _cbor_scalar(document, at)
    if at != len(document):
        raise ValueError("bytes follow its signed part")
    return found


def _cbor_scalar(document: bytes, at: int) -> tuple[_Scalar, int]:
    major, number, at = _cbor_head(document, at)
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major == 7 and number in (20, 21, 22):
        return {20: False, 21: True, 22: None}[number], at
    if major not in (2, 3):
        raise ValueError("its signed part holds more than numbers, bytes and text")
    if number > len(document) - at:
        raise ValueError("its signed part is cut short")
    content = document[at : at + number]
    return content if major == 2 else content.decode("utf-8"), at + number


def _cbor_head(document: bytes, at: int) -> tuple[int, int, int]:
    if at >= len(document):
        raise ValueError("its signed part is cut short")
    major, number, at = document[at] >> 5, document[at] & 31, at + 1
    if number < 24:
        return major, number, at
    size = 1 << (number - 24)
    if number > 27 or major == 7 or size > len(document) - at:
        raise ValueError("its signed part is not dag-cbor, or cut short")
    number = int.from_bytes(document[at : at + size], "big")
    if number < 24 or (size > 1 and number < 1 << 4 * size):
        raise ValueError("a number in its signed part is not in its shortest form")
    return major, number, at + size
