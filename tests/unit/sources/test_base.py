from __future__ import annotations

import pytest

from pin_rooms import MemorySource
from pinformers._errors import SourceError, SourceUnavailable
from pinformers.ipfs.cid import CID
from pinformers.sources.base import Chain, Lazy, Source

CID_OF_NOTHING = CID.raw(bytes(32))


def away(name: str, *, expected: bool = True) -> Source:
    """A source that cannot be reached."""

    def build() -> Source:
        raise SourceUnavailable(name, "it is away")

    return Lazy(name, build, expected=expected)


@pytest.mark.parametrize(
    ("source", "tried"),
    [
        (away("gateway"), "gateway: it is away"),
        (MemorySource({}), "memory: it was never put here; kubo: it is away"),
    ],
    ids=["another is named", "none but this machine's"],
)
def test_who_is_absent_and_was_never_named_is_left_out_where_another_was(source: Source, tried: str) -> None:
    chain = Chain([source, away("kubo", expected=False)])
    with pytest.raises(SourceError) as caught:
        chain.fetch(CID_OF_NOTHING)
    assert caught.value.reason == tried


def test_who_is_there_and_does_not_have_it_is_named() -> None:
    there = Lazy("kubo", lambda: MemorySource({}), expected=False)
    with pytest.raises(SourceError) as caught:
        Chain([there, away("gateway")]).fetch(CID_OF_NOTHING)
    assert caught.value.reason == "kubo: it was never put here; gateway: it is away"
