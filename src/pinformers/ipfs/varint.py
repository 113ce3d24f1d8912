"""Unsigned varints as multiformats and protobuf write them: seven bits a byte, the lowest first."""

from __future__ import annotations

# The multiformats limit; protobuf allows ten bytes, which no size in a DAG can need.
MAX_BYTES = 9


def encode(number: int) -> bytes:
    """Return the shortest encoding of a number that is not negative."""
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def decode(encoded: bytes | memoryview, offset: int) -> tuple[int, int]:
    """Return the number at ``offset`` and the offset behind it.

    Raises ValueError for a varint that is cut short, above 63 bits, or not the shortest.
    """
    number = 0
    for index, byte in enumerate(encoded[offset : offset + MAX_BYTES]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index:
                raise ValueError("a varint is not in its shortest form")
            return number, offset + index + 1
    if len(encoded) - offset < MAX_BYTES:
        raise ValueError("a varint is cut short")
    raise ValueError(f"a varint is longer than {MAX_BYTES} bytes")
