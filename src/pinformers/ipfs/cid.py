"""Content identifiers: what a block is called, and whether bytes deserve the name."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from pinformers._errors import BadCID, BlockMismatch
from pinformers.ipfs import varint

RAW = 0x55
DAG_PB = 0x70
SHA2_256 = 0x12
IDENTITY = 0x00

# The longest inlined block that Kubo takes; other digests are shorter (sha2-512 has 64 bytes).
MAX_DIGEST = 128
# Base16 of the longest CID has 310 characters; base58 of unbounded text would cost quadratic time.
MAX_TEXT = 512

BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUES = {letter: value for value, letter in enumerate(BASE58)}


class _Parts(NamedTuple):
    version: int
    codec: int
    hash_code: int
    digest: bytes


class CID(_Parts):
    """Name a block by version, codec and multihash; no instance breaks the rules of its version or hash.

    Every constructor raises BadCID, and nothing else, for input that is no CID.
    """

    __slots__ = ()

    def __new__(cls, version: int, codec: int, hash_code: int, digest: bytes) -> CID:
        if version not in (0, 1):
            raise BadCID(f"version {version}", "only the versions 0 and 1 exist")
        if version == 0 and (codec, hash_code) != (DAG_PB, SHA2_256):
            raise BadCID(f"codec {codec:#x}", "version 0 stands for dag-pb with sha2-256 only")
        if hash_code == SHA2_256 and len(digest) != 32:
            raise BadCID(digest.hex(), "a sha2-256 digest has 32 bytes")
        if len(digest) > MAX_DIGEST:
            raise BadCID(digest[:16].hex() + "...", f"the digest is longer than {MAX_DIGEST} bytes")
        return super().__new__(cls, version, codec, hash_code, digest)

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> CID:  # type: ignore[override]
        # What namedtuple's own, and with it _replace, does without a check.
        return cls(*iterable)

    @classmethod
    def parse(cls, text: str) -> CID:
        """Read ``Qm...``, or version 1 in base32 (b), base58 (z), base16 (f) or base36 (k)."""
        if len(text) > MAX_TEXT:
            raise BadCID(text[:64] + "...", "it is too long")
        try:
            if text.startswith("Qm") and len(text) == 46:
                return cls.from_bytes(from_base58(text))
            cid = cls.from_bytes(_from_multibase(text))
        except BadCID as exc:
            raise BadCID(text, exc.reason) from None
        except ValueError as exc:
            raise BadCID(text, str(exc)) from None
        if cid.version == 0:
            raise BadCID(text, "a version 0 CID is written without a base letter")
        return cid

    @classmethod
    def from_bytes(cls, encoded: bytes | memoryview) -> CID:
        """Read a CID that fills ``encoded`` to its last byte."""
        cid, end = cls.read(encoded, 0)
        if end != len(encoded):
            raise BadCID(bytes(encoded[:64]).hex(), f"{len(encoded) - end} bytes follow it")
        return cid

    @classmethod
    def read(cls, encoded: bytes | memoryview, offset: int) -> tuple[CID, int]:
        """Read the CID that starts at ``offset``, and return it with the offset behind it."""
        try:
            if bytes(encoded[offset : offset + 2]) == b"\x12\x20":
                version, codec, at = 0, DAG_PB, offset
            else:
                version, at = varint.decode(encoded, offset)
                if version != 1:
                    raise ValueError(f"it has the version {version}")
                codec, at = varint.decode(encoded, at)
            hash_code, at = varint.decode(encoded, at)
            length, at = varint.decode(encoded, at)
            if length > len(encoded) - at:
                raise ValueError("its digest is cut short")
        except ValueError as exc:
            raise BadCID(bytes(encoded[offset : offset + 64]).hex(), str(exc)) from None
        return cls(version, codec, hash_code, bytes(encoded[at : at + length])), at + length

    @classmethod
    def raw(cls, sha256_digest: bytes) -> CID:
        """Name a raw leaf."""
        return cls(1, RAW, SHA2_256, sha256_digest)

    @classmethod
    def dag_pb(cls, sha256_digest: bytes) -> CID:
        """Name a dag-pb node."""
        return cls(1, DAG_PB, SHA2_256, sha256_digest)

    @property
    def multihash(self) -> bytes:
        """The hash code, length and digest: what two CIDs of the same bytes have in common."""
        return varint.encode(self.hash_code) + varint.encode(len(self.digest)) + self.digest

    def to_bytes(self) -> bytes:
        """Return the binary form that links and CAR files hold."""
        if self.version == 0:
            return self.multihash
        return b"\x01" + varint.encode(self.codec) + self.multihash

    def __str__(self) -> str:
        if self.version == 0:
            # Version 0 starts with 0x12: no leading zeros need care.
            return to_digits(self.multihash, BASE58)
        return "b" + base64.b32encode(self.to_bytes()).decode("ascii").rstrip("=").lower()

    def verify(self, block: bytes | memoryview) -> None:
        """Raise BlockMismatch unless ``block`` is what this CID names, and BadCID for a hash we do not know."""
        if self.hash_code == SHA2_256:
            digest = hashlib.sha256(block).digest()
        elif self.hash_code == IDENTITY:
            digest = bytes(block)
        else:
            raise BadCID(str(self), f"blocks with the hash code {self.hash_code:#x} cannot be verified")
        if digest != self.digest:
            raise BlockMismatch(str(self))


class Block(NamedTuple):
    """Pair bytes with their CID; who makes one has verified it."""

    cid: CID
    data: bytes


def _from_multibase(text: str) -> bytes:
    base, digits = text[:1], text[1:]
    if base == "b":
        return _from_base32(digits)
    if base == "z":
        return from_base58(digits)
    if base == "k":
        return _from_base36(digits)
    if base == "f":
        if digits != digits.lower():
            raise ValueError("base16 behind the letter f is lower case")
        return _from_base16(digits)
    raise ValueError("it starts with none of Qm, b, z, f and k")


def _from_base16(digits: str) -> bytes:
    try:
        return binascii.unhexlify(digits)
    except ValueError:
        raise ValueError("it is not base16") from None


def _from_base32(digits: str) -> bytes:
    # Tested before .upper(), which makes ASCII letters of some others ("ß" gives "SS").
    if not digits.isascii() or digits != digits.lower():
        raise ValueError("it is not lower-case base32")
    try:
        decoded = base64.b32decode(digits.upper() + "=" * (-len(digits) % 8))
    except ValueError:
        raise ValueError("it is not base32") from None
    # b32decode ignores the bits that do not fill a byte; without this one CID would have several texts.
    spare = len(digits) * 5 % 8
    if spare and BASE32.index(digits[-1]) & ((1 << spare) - 1):
        raise ValueError("its last base32 letter has bits to spare that are not zero")
    return decoded


def _from_base36(digits: str) -> bytes:
    # int() also takes signs, underscores and digits of other scripts.
    if not digits or digits.strip(BASE36):
        raise ValueError("it is not lower-case base36")
    zeros = len(digits) - len(digits.lstrip("0"))
    return bytes(zeros) + _big_endian(int(digits, 36))


def from_base58(digits: str) -> bytes:
    """Read base58 as Bitcoin writes it; raises ValueError."""
    number = 0
    try:
        for digit in digits:
            number = number * 58 + _BASE58_VALUES[digit]
    except KeyError:
        raise ValueError("it is not base58") from None
    zeros = len(digits) - len(digits.lstrip("1"))
    return bytes(zeros) + _big_endian(number)


def to_digits(encoded: bytes, letters: str) -> str:
    """Write bytes as a number in the base that has these letters; leading zero bytes are lost."""
    number, digits = int.from_bytes(encoded, "big"), ""
    while number:
        number, digit = divmod(number, len(letters))
        digits = letters[digit] + digits
    return digits


def _big_endian(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
