from __future__ import annotations

import io
from pathlib import Path

import pytest

from ipfs_data import MemoryStore
from pinformers._errors import BlockNotFound, ServeError
from pinformers.ipfs import CID, IDENTITY, MAX_BLOCK, RAW, Block, write_car
from pinformers.ipfs.varint import encode
from pinformers.serving.car_files import CarFiles

CONTENTS = [b"first", b"", b"second" * 1000, bytes(MAX_BLOCK)]


def packed(*contents: bytes) -> bytes:
    store = MemoryStore()
    blocks = [Block(store.add_file(content).cid, content) for content in contents if len(content) <= 1 << 20]
    out = io.BytesIO()
    write_car(out, [block.cid for block in blocks[:1]], blocks)
    return out.getvalue()


def version_2(car: bytes, padding: int = 7, index: bytes = b"") -> bytes:
    start = 51 + padding
    numbers = (start, len(car), start + len(car) if index else 0)
    header = b"\x0a\xa1\x67version\x02" + bytes(16) + b"".join(number.to_bytes(8, "little") for number in numbers)
    return header + bytes(padding) + car + index


def cid_of(content: bytes) -> CID:
    return MemoryStore().add_file(content).cid


def written(folder: Path, *cars: bytes) -> list[Path]:
    paths = [folder / f"{number}.car" for number in range(len(cars))]
    for path, car in zip(paths, cars, strict=True):
        path.write_bytes(car)
    return paths


@pytest.mark.parametrize("version", [1, 2, 22])
def test_blocks_are_found_in_both_versions(tmp_path: Path, version: int) -> None:
    car = packed(*CONTENTS[:3])
    made = {1: car, 2: version_2(car), 22: version_2(car, 0, b"\x80\x08 an index, no blocks")}[version]
    source = CarFiles(written(tmp_path, made))
    assert len(source) == 3
    for content in CONTENTS[:3]:
        assert source.block(cid_of(content)) == content
        # By another codec as well: a block is its hash.
        assert source.block(CID(1, 0x71, 0x12, cid_of(content).digest)) == content
    with pytest.raises(BlockNotFound):
        source.block(CID.raw(bytes(32)))
    assert source.block(CID(1, RAW, IDENTITY, b"inline")) == b"inline"


def test_several_files_are_one_store(tmp_path: Path) -> None:
    source = CarFiles(written(tmp_path, packed(b"a", b"b"), packed(b"b", b"c"), packed()))
    assert [source.block(cid_of(content)) for content in (b"a", b"b", b"c")] == [b"a", b"b", b"c"]
    assert len(source) == 3


def test_the_blocks_stay_on_the_disk(tmp_path: Path) -> None:
    (path,) = written(tmp_path, packed(*CONTENTS[:3]))
    seen: list[int] = []
    source = CarFiles([path], seen.append)
    assert sum(seen) == path.stat().st_size
    path.unlink()
    with pytest.raises(BlockNotFound, match="hash"):
        source.block(cid_of(b"first"))


def test_a_changed_block_is_not_served_and_another_files_is(tmp_path: Path) -> None:
    one, two = written(tmp_path, packed(b"first", b"other"), packed(b"first"))
    source = CarFiles([one, two])
    one.write_bytes(one.read_bytes().replace(b"first", b"fIrst"))
    assert source.block(cid_of(b"first")) == b"first"
    two.write_bytes(two.read_bytes().replace(b"first", b"fIrst"))
    with pytest.raises(BlockNotFound, match="do not have that hash"):
        source.block(cid_of(b"first"))
    assert source.block(cid_of(b"other")) == b"other"


def test_a_block_whose_hash_is_not_known_is_not_served(tmp_path: Path) -> None:
    strange = CID(1, RAW, 0x13, bytes(64))
    out = io.BytesIO()
    write_car(out, [strange], [Block(strange, b"content")])
    with pytest.raises(BlockNotFound, match="cannot be verified"):
        CarFiles(written(tmp_path, out.getvalue())).block(strange)


@pytest.mark.parametrize(
    ("car", "reason"),
    [
        (b"", "it is empty"),
        (b"# A README\n" * 20, "its header is not that of a CAR"),
        (packed(*CONTENTS[:3])[:-1], "it is cut short"),
        (packed(b"a") + b"\x80", "a varint is cut short"),
        (packed(b"a") + b"\0", "a block has no usable CID"),
        (packed(b"a") + b"\x26" + b"x" * 40, "a block has no usable CID"),
        (packed(b"a") + b"\x05" + cid_of(b"a").to_bytes(), "-31 bytes"),
        (packed(b"a") + encode(36 + MAX_BLOCK + 1) + cid_of(b"a").to_bytes() + bytes(MAX_BLOCK + 1), "2097153 bytes"),
        (version_2(packed(b"a"))[:-1], "it is cut short"),
        (version_2(packed(b"a"))[:30], "it is cut short"),
    ],
)
def test_what_is_no_whole_car_is_refused_with_a_sentence(tmp_path: Path, car: bytes, reason: str) -> None:
    good, bad = written(tmp_path, packed(b"fine"), car)
    with pytest.raises(ServeError, match=reason) as caught:
        CarFiles([good, bad])
    assert str(caught.value).startswith(f"{bad}: ")
