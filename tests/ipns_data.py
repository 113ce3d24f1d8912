"""IPNS keys and signed records for tests, made as a Kubo node makes them, or broken on purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from pinformers.ipfs import CID, IDENTITY, SHA2_256, varint
from pinformers.ipfs.ipns import LIBP2P_KEY, IpnsName

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
_DER = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
Scalar = int | bytes | str | bool | None
Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Key:
    """A private key: its libp2p ``kind`` and its public key as libp2p writes it."""

    private: Private
    kind: int
    material: bytes

    @property
    def public(self) -> bytes:
        return b"\x08" + bytes([self.kind]) + b"\x12" + varint.encode(len(self.material)) + self.material

    @property
    def multihash(self) -> bytes:
        short = len(self.public) <= 42
        digest = self.public if short else hashlib.sha256(self.public).digest()
        return varint.encode(IDENTITY if short else SHA2_256) + varint.encode(len(digest)) + digest

    @property
    def name(self) -> IpnsName:
        return IpnsName(CID.from_bytes(b"\x01" + varint.encode(LIBP2P_KEY) + self.multihash))

    def sign(self, message: bytes) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(message)
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(message, ec.ECDSA(hashes.SHA256()))


def ed25519_key(seed: int = 1) -> Key:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return Key(private, 1, private.public_key().public_bytes_raw())


@cache
def rsa_key(bits: int = 2048) -> Key:
    private = rsa.generate_private_key(65537, bits)
    return Key(private, 0, private.public_key().public_bytes(*_DER))


def secp256k1_key() -> Key:
    private = ec.derive_private_key(7, ec.SECP256K1())
    form = (serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    return Key(private, 2, private.public_key().public_bytes(*form))


def ecdsa_key() -> Key:
    private = ec.derive_private_key(7, ec.SECP256R1())
    return Key(private, 3, private.public_key().public_bytes(*_DER))


def contents(
    value: str, *, sequence: int = 1, validity: datetime = NOW + timedelta(days=2), ttl: float = 300
) -> dict[str, Scalar]:
    """What a record says, in the order of dag-cbor."""
    until = validity.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    said: dict[str, Scalar] = {"TTL": int(ttl * 10**9), "Value": value.encode(), "Sequence": sequence}
    return {**said, "Validity": until.encode(), "ValidityType": 0}


def fields_of(key: Key, said: Mapping[str, Scalar], signed: bytes | None = None) -> dict[int, int | bytes]:
    """The fields of the signed record, with those of version 1 beside them."""
    signed = cbor(said) if signed is None else signed
    head = {1: said["Value"], 2: b"version 1", 3: said["ValidityType"], 4: said["Validity"]}
    found = {**head, 5: said["Sequence"], 6: said["TTL"]}
    if len(key.public) > 42:
        found[7] = key.public
    return {**found, 8: key.sign(b"ipns-signature:" + signed), 9: signed}  # type: ignore[dict-item]


def record(key: Key, value: str, **more: object) -> bytes:
    """A good record."""
    return protobuf(fields_of(key, contents(value, **more)))  # type: ignore[arg-type]


def protobuf(fields: Mapping[int, int | bytes]) -> bytes:
    parts = []
    for number, content in fields.items():
        if isinstance(content, int):
            parts.append(varint.encode(number << 3) + varint.encode(content))
        else:
            parts.append(varint.encode(number << 3 | 2) + varint.encode(len(content)) + content)
    return b"".join(parts)


def cbor(said: Mapping[str, Scalar]) -> bytes:
    parts = [scalar(name) + scalar(value) for name, value in said.items()]
    return head(5, len(parts)) + b"".join(parts)


def scalar(value: Scalar) -> bytes:
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    text = value.encode() if isinstance(value, str) else value
    return head(3 if isinstance(value, str) else 2, len(text)) + text


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in range(4) if number < 1 << (8 << size))
    return bytes([major << 5 | 24 + size]) + number.to_bytes(1 << size, "big")
