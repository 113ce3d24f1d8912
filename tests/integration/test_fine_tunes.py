"""A fine-tune is fetched over HTTP where its base is here: what is asked of the network is what it changed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway_rooms import thread_server
from pin_rooms import make_resolver, write_folder
from pinformers._composition import embedded
from pinformers.ipfs import CID, Block
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.removal import remove_pin
from pinformers.pinning.resolver import Resolver
from tensor_files import fine_tuned, layers, safetensors_file

WEIGHTS = "model.safetensors"
BASE = layers(30)
TUNED = fine_tuned(BASE)
Tensors = Mapping[str, bytes]


def moved(tensors: Tensors, order: Callable[[list[str]], list[str]]) -> dict[str, bytes]:
    return {name: tensors[name] for name in order(list(tensors))}


def shuffled(names: list[str]) -> list[str]:
    return random.Random(7).sample(names, len(names))


FINE_TUNES: Mapping[str, bytes] = {
    "same header": safetensors_file(TUNED, format="pt"),
    "longer header": safetensors_file(TUNED, format="pt", note="trained again " * 200),
    "other names": safetensors_file({f"model.{name}": content for name, content in TUNED.items()}),
    "sorted": safetensors_file(moved(TUNED, sorted)),
    "backwards": safetensors_file(moved(TUNED, lambda names: names[::-1])),
    "shuffled": safetensors_file(moved(TUNED, shuffled)),
    "a tensor more in front": safetensors_file({"first": bytes(5000), **TUNED}),
}


@dataclass
class Room:
    """Who publishes, cut by ``chunking``, and a machine that asks it; ``served`` has the size of each block sent."""

    publisher: Resolver
    reader: Resolver
    folder: Path
    served: list[int] = field(default_factory=list)

    def publish(self, name: str, weights: bytes) -> str:
        folder = write_folder(self.folder / name, {"config.json": name.encode(), WEIGHTS: weights})
        return pin_folder(self.publisher, folder, f"org/{name}").pin.root

    def fetch(self, root: str) -> tuple[bytes, int]:
        """Fetch the weights; returns them, and how many bytes of blocks were served for that."""
        self.served.clear()
        repo = self.repo(root)
        assert repo.deliver([WEIGHTS])
        return repo.cache.file(repo.commit, WEIGHTS).read_bytes(), sum(self.served)

    def repo(self, root: str) -> PinnedRepo:
        repo = self.reader.refer(f"ipfs://{root}", None)
        assert repo is not None
        return repo


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Room]]:
    with contextlib.ExitStack() as stack:

        def started(chunking: str) -> Room:
            publisher = make_resolver(tmp_path / "publisher", chunking=chunking)
            source, served = embedded(publisher.catalog, remember=True), list[int]()

            def blocks(cid: CID) -> Block:
                block = source.block(cid)
                served.append(len(block))
                return Block(cid, block)

            host, port = stack.enter_context(thread_server(blocks))
            sources = ("embedded", "gateway")
            reader = make_resolver(tmp_path / "reader", sources=sources, gateways=(f"http://{host}:{port}",))
            return Room(publisher, reader, tmp_path / "folders", served)

        yield started


def test_a_tenth_of_it_is_fetched_wherever_its_tensors_lie(start: Callable[[str], Room]) -> None:
    same = sum(len(content) for name, content in TUNED.items() if content == BASE[name])
    assert 0.9 < same / sum(map(len, TUNED.values())) < 0.95
    room = start("tensors")
    base = safetensors_file(BASE)
    content, fetched = room.fetch(room.publish("base", base))
    assert content == base and len(base) < fetched < 1.01 * len(base)
    shares: dict[str, float] = {}
    for number, (name, weights) in enumerate(FINE_TUNES.items()):
        root = room.publish(f"tuned-{number}", weights)
        content, fetched = room.fetch(root)
        assert content == weights
        shares[name] = fetched / len(weights)
        # What it brought is not to be here for the next one.
        remove_pin(room.reader.catalog, room.repo(root).pin)
    assert max(shares.values()) < 0.15 and min(shares.values()) > 0.05, shares


def test_cut_as_kubo_cuts_all_of_it_is_fetched_once_the_header_is_longer(start: Callable[[str], Room]) -> None:
    room = start("fixed")
    room.fetch(room.publish("base", safetensors_file(BASE)))
    content, fetched = room.fetch(room.publish("tuned", FINE_TUNES["longer header"]))
    assert content == FINE_TUNES["longer header"] and fetched > len(content)
