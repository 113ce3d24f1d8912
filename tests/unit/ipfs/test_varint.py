from __future__ import annotations

import pytest

from pinformers.ipfs import varint


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**63 - 1, "ffffffffffffffff7f")],
)
def test_known_encodings(number: int, encoded: str) -> None:
    assert varint.encode(number).hex() == encoded
    assert varint.decode(b"x" + bytes.fromhex(encoded) + b"y", 1) == (number, 1 + len(encoded) // 2)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("", "cut short"),
        ("80", "cut short"),
        ("8000", "shortest"),
        ("80" * 9 + "01", "longer"),
        ("ff" * 8, "cut short"),
    ],
)
def test_what_is_refused(encoded: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        varint.decode(bytes.fromhex(encoded), 0)
