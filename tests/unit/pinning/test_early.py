"""Files that are fetched before they are asked for: shards side by side, and weights while the config loads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from environment import clean_env
from pin_rooms import REPO, MemorySource, make_resolver, pinned, write_folder
from pinformers._composition import embedded
from pinformers._errors import PinError, SourceError
from pinformers.ipfs.cid import CID
from pinformers.pinning import early as early_fetches
from pinformers.pinning.adoption import Adoption
from pinformers.pinning.early import BLOCKS, Early, weights
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.pin import Pin
from pinformers.pinning.pinned import PinnedRepo
from pinformers.pinning.resolver import Resolver
from pinformers.sources.workers import Workers

SHARDS = [f"model-0000{number}-of-00005.safetensors" for number in range(1, 6)]
MODEL = {"config.json": b"{}", "tokenizer.json": b"[]", **{name: name.encode() * 1000 for name in SHARDS}}
PATIENCE = 10.0
# Of these small ones, at the same time.
FILES = 3


class Watched(MemorySource):
    """A source whose blocks wait until ``passes`` says so of the ``now`` that are asked for at the same time."""

    def __init__(self, pinned: PinnedRepo, passes: Callable[[set[str]], bool] = lambda now: True) -> None:
        files = {path: pinned.cache.file(pinned.commit, path).read_bytes() for path in pinned.pin.files}
        super().__init__({CID.parse(file.cid): files[path] for path, file in pinned.pin.files.items()})
        self.names = {CID.parse(file.cid): path for path, file in pinned.pin.files.items()}
        self.passes = passes
        self.changed = threading.Condition()
        self.now: set[str] = set()
        self.order: list[str] = []
        self.most = 0

    def block(self, cid: CID) -> bytes:
        path = self.names[cid]
        with self.changed:
            self.now.add(path)
            self.order.append(path)
            self.most = max(self.most, len(self.now))
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: self.passes(self.now), PATIENCE):
                raise SourceError("watched", f"{path} was asked for alone")
        try:
            return super().block(cid)
        finally:
            with self.changed:
                self.now.discard(path)
                self.changed.notify_all()

    def asked_for(self, path: str) -> bool:
        """Wait until a block of ``path`` was asked for."""
        with self.changed:
            return self.changed.wait_for(lambda: path in self.order, PATIENCE)


@pytest.fixture
def resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    # A small file counts as two blocks.
    monkeypatch.setattr(early_fetches, "BLOCKS", 2 * FILES)
    return make_resolver(tmp_path)


@pytest.fixture
def known(resolver: Resolver, tmp_path: Path) -> PinnedRepo:
    return pin_folder(resolver, write_folder(tmp_path / "folder", MODEL), REPO)


def elsewhere(resolver: Resolver, known: PinnedRepo, source: MemorySource, tmp_path: Path) -> PinnedRepo:
    return resolver.bind(known.pin, "main", [source], cache_dir=str(tmp_path / "other"))


@pytest.fixture
def cold(resolver: Resolver, known: PinnedRepo, tmp_path: Path) -> tuple[Watched, PinnedRepo]:
    """A source that delivers at once, and the same pin in an empty cache."""
    source = Watched(known)
    return source, elsewhere(resolver, known, source, tmp_path)


def bytes_of(pinned: PinnedRepo, path: str) -> bytes:
    return pinned.cache.file(pinned.commit, path).read_bytes()


def test_the_files_of_one_call_are_fetched_side_by_side(resolver: Resolver, known: PinnedRepo, tmp_path: Path) -> None:
    met = threading.Event()

    def two_at_once(now: set[str]) -> bool:
        if len(now) > 1:
            met.set()
        return met.is_set()

    source = Watched(known, two_at_once)
    pinned = elsewhere(resolver, known, source, tmp_path)
    assert pinned.deliver(SHARDS)
    assert {path: bytes_of(pinned, path) for path in SHARDS} == {path: MODEL[path] for path in SHARDS}
    assert sorted(source.order) == SHARDS
    # One more than run ahead: the caller fetches what has not begun.
    assert source.most <= FILES + 1
    assert [pinned.state(path) for path in SHARDS] == ["here"] * len(SHARDS)
    assert resolver.catalog.place(pinned.pin, pinned.cache.cache_dir).files.keys() == set(SHARDS)


@pytest.mark.parametrize("name", ["PreTrainedModel", "_BaseAutoModelClass", "AutoModelForCausalLM"])
def test_weights_come_while_a_model_s_config_loads(
    resolver: Resolver, cold: tuple[Watched, PinnedRepo], name: str
) -> None:
    source, pinned = cold
    with resolver.loading(name):
        assert pinned.deliver(["config.json"])
        assert source.asked_for(SHARDS[0])
    assert pinned.deliver(SHARDS)
    assert sorted(source.order) == ["config.json", *SHARDS]


@pytest.mark.parametrize("name", ["AutoTokenizer", "PreTrainedTokenizerBase", "AutoConfig", "GenerationConfig"])
def test_whoever_loads_no_weights_fetches_none(resolver: Resolver, cold: tuple[Watched, PinnedRepo], name: str) -> None:
    source, pinned = cold
    with resolver.loading(name):
        assert pinned.deliver(["config.json"])
        assert pinned.deliver(["tokenizer.json"])
    resolver.early.give_up()
    assert source.order == ["config.json", "tokenizer.json"]


def test_nothing_is_fetched_ahead_where_only_local_files_may_be(
    resolver: Resolver, cold: tuple[Watched, PinnedRepo]
) -> None:
    source, pinned = cold
    with resolver.loading("PreTrainedModel"):
        assert pinned.deliver(["config.json"], local=True)
    assert source.order == ["config.json"]


def test_the_weights_that_transformers_takes_are_those_that_come(resolver: Resolver) -> None:
    both = ["pytorch_model.bin", "model.safetensors", "onnx/model.onnx", "tf_model.h5"]
    assert weights(both) == []
    with resolver.loading("PreTrainedModel"):
        assert weights(both) == ["model.safetensors"]
        assert weights(["pytorch_model-00001-of-00002.bin", "config.json"]) == ["pytorch_model-00001-of-00002.bin"]
        assert weights(["sub/model.safetensors", "adapter_model.safetensors"]) == []
        with resolver.loading("AutoConfig"):
            assert weights(both) == ["model.safetensors"]


def test_a_file_that_nobody_delivers_fails_as_it_does_alone(
    resolver: Resolver, known: PinnedRepo, tmp_path: Path
) -> None:
    source = Watched(known)
    del source.blocks[CID.parse(known.pin.files[SHARDS[1]].cid)]
    pinned = elsewhere(resolver, known, source, tmp_path)
    resolver.ledger.counts.clear()
    assert not pinned.deliver(SHARDS)
    assert [pinned.state(path) for path in SHARDS] == ["here", "missing", "here", "here", "here"]
    assert resolver.ledger.counts["fallbacks"] == 1
    assert resolver.ledger.counts["hits"] == len(SHARDS) - 1


def test_an_interrupt_gives_up_the_others(resolver: Resolver, known: PinnedRepo, tmp_path: Path) -> None:
    over = threading.Event()

    class Interrupted(Watched):
        def block(self, cid: CID) -> bytes:
            if self.names[cid] == "config.json":
                assert self.asked_for(SHARDS[0])
                raise KeyboardInterrupt
            return super().block(cid)

    source = Interrupted(known, lambda now: over.is_set())
    pinned = elsewhere(resolver, known, source, tmp_path)
    before = set(threading.enumerate())
    with resolver.loading("PreTrainedModel"), pytest.raises(KeyboardInterrupt):
        pinned.deliver(["config.json"])
    with source.changed:
        over.set()
        source.changed.notify_all()
    threads = [one for one in threading.enumerate() if one.name == "pinformers-early" and one not in before]
    for one in threads:
        one.join(PATIENCE / 2)
    assert not any(one.is_alive() for one in threads)
    assert set(source.order) <= set(SHARDS[:FILES])


class Waiting:
    """The blocks of what is pinned here, none of them before ``passes`` is set."""

    name, local = "waiting", False

    def __init__(self, resolver: Resolver) -> None:
        self.store = embedded(resolver.catalog)
        self.asked, self.passes = threading.Event(), threading.Event()

    def block(self, cid: CID) -> bytes:
        self.asked.set()
        assert self.passes.wait(PATIENCE)
        return self.store.block(cid)


@pytest.mark.parametrize("same", [False, True], ids=["another model", "the same model"])
def test_a_load_that_fails_is_no_failure_of_another_thread_s(tmp_path: Path, same: bool) -> None:
    resolver, publisher = make_resolver(tmp_path, on_miss="error"), make_resolver(tmp_path / "publisher")
    # Of two leaves each: what stands below the root is what would be given up.
    model = {name: bytes([number]) * (1 << 20) + b"." for number, name in enumerate(SHARDS)}
    known = pin_folder(publisher, write_folder(tmp_path / "folder", model), REPO)
    source = Waiting(publisher)
    good = resolver.bind(known.pin, "main", [source])
    missing = {"x.bin": pinned(b"never")}
    pin = known.pin._replace(files=missing) if same else Pin("org/bad", "b" * 40, missing, listed=True)
    bad = resolver.bind(pin, "main", [MemorySource({})])
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(good.deliver, SHARDS)
        assert source.asked.wait(PATIENCE)
        with pytest.raises(PinError, match="cannot be served"):
            bad.deliver(["x.bin"])
        source.passes.set()
        assert loading.result(PATIENCE)
    assert {path: bytes_of(good, path) for path in SHARDS} == model


def test_who_waits_for_another_s_fetch_neither_fetches_nor_hashes(
    resolver: Resolver, known: PinnedRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen processes that start at once would each read the weights once more."""

    def never(*_: object) -> None:
        raise AssertionError("it was hashed again")

    over = threading.Event()
    first, second = Watched(known, lambda now: over.is_set()), Watched(known)
    others = make_resolver(tmp_path)
    monkeypatch.setattr(Adoption, "confirm", never)
    repos = [elsewhere(resolver, known, first, tmp_path), elsewhere(others, known, second, tmp_path)]
    with ThreadPoolExecutor(2) as pool:
        fetching = pool.submit(repos[0].deliver, [SHARDS[0]])
        assert first.asked_for(SHARDS[0])
        waiting = pool.submit(repos[1].deliver, [SHARDS[0]])
        with first.changed:
            over.set()
            first.changed.notify_all()
        assert fetching.result()
        assert waiting.result()
    assert second.order == []


@pytest.mark.parametrize(("size", "most"), [(1, BLOCKS // 2), (5 << 20, BLOCKS // 5), (5 << 30, 2)])
def test_as_many_run_at_once_as_have_so_many_blocks(size: int, most: int) -> None:
    early: Early[str] = Early()
    begun, over = threading.Semaphore(0), threading.Event()

    def job(_: object) -> str:
        begun.release()
        over.wait(PATIENCE)
        return ""

    names = [str(number) for number in range(most + 2)]
    for name in names:
        early.begin((name,), size, job)
    for _ in range(most):
        assert begun.acquire(timeout=PATIENCE)
    # What has not begun is left to whoever asks for it.
    assert [early.take((name,)) for name in names[most:]] == [None, None]
    over.set()
    assert [early.take((name,)) for name in names[:most]] == [""] * most
    assert not begun.acquire(blocking=False)


def test_what_was_given_up_begins_no_more_and_ends_at_its_next_block() -> None:
    early: Early[str] = Early()
    inside, over, ends = threading.Event(), threading.Event(), threading.Event()

    def job(guard: Callable[[Callable[[CID], bytes]], Callable[[CID], bytes]]) -> str:
        inside.set()
        over.wait(PATIENCE)
        try:
            guard(lambda cid: b"")(CID.raw(bytes(32)))
        except SourceError:
            ends.set()
        return ""

    early.begin(("a",), 1, job)
    assert inside.wait(PATIENCE)
    early.give_up()
    over.set()
    assert ends.wait(PATIENCE)
    assert early.take(("a",)) is None


def test_a_failure_of_long_ago_is_not_the_answer_of_today() -> None:
    early: Early[str] = Early()
    failed = threading.Event()

    def job(_: object) -> str:
        try:
            raise SourceError("x", "down")
        finally:
            failed.set()

    early.begin(("a",), 1, job)
    assert failed.wait(PATIENCE)
    while True:
        # Between the failure and its note it is still on its way, and raised to whoever waits.
        try:
            assert early.take(("a",)) is None
        except SourceError:
            early.begin(("a",), 1, job)
        else:
            break


FORKED = """
import os, sys, threading
from pinformers.pinning.adoption import Adoption
from pinformers.pinning.early import Early
before = sys.getswitchinterval()
early, release = Early(), threading.Event()
early.begin(("a",), 1, lambda guard: release.wait(30))
child = os.fork()
if child == 0:
    assert sys.getswitchinterval() == before
    assert early.take(("a",)) is None
    early.begin(("b",), 1, lambda guard: "there")
    os._exit(0 if early.take(("b",)) in ("there", None) else 1)
release.set()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_begins_anew(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED]
    done = subprocess.run(command, env=clean_env(tmp_path), timeout=60, check=False)
    assert done.returncode == 0


def test_threads_take_turns_faster_while_something_is_fetched_ahead(
    resolver: Resolver, known: PinnedRepo, tmp_path: Path
) -> None:
    before, seen = sys.getswitchinterval(), list[float]()

    def noted(now: set[str]) -> bool:
        seen.append(sys.getswitchinterval())
        return True

    pinned = elsewhere(resolver, known, Watched(known, noted), tmp_path)
    assert pinned.deliver(SHARDS)
    assert min(seen) == pytest.approx(0.001)
    give_back = time.monotonic() + PATIENCE
    while sys.getswitchinterval() != before and time.monotonic() < give_back:
        time.sleep(0.01)
    assert sys.getswitchinterval() == before


def test_who_gives_up_a_fetch_that_stalls_has_turns_and_places_back_at_once() -> None:
    early: Early[str] = Early()
    before, stalled, begun = sys.getswitchinterval(), threading.Event(), threading.Semaphore(0)

    def job(_: object) -> str:
        begun.release()
        stalled.wait(PATIENCE)
        return ""

    for number in range(2):
        early.begin((str(number),), 5 << 30, job)
    assert begun.acquire(timeout=PATIENCE)
    assert begun.acquire(timeout=PATIENCE)
    early.give_up()
    assert sys.getswitchinterval() == before
    early.begin(("another",), 5 << 30, job)
    assert begun.acquire(timeout=PATIENCE)
    early.give_up()
    stalled.set()
    assert sys.getswitchinterval() == before


def test_ctrl_c_where_a_thread_starts_leaves_turns_and_places(monkeypatch: pytest.MonkeyPatch) -> None:
    early: Early[str] = Early()
    before = sys.getswitchinterval()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Workers, "run", interrupted)
        for number in range(3):
            with pytest.raises(KeyboardInterrupt):
                early.begin((str(number),), 5 << 30, lambda _: "")
            assert early.take((str(number),)) is None
    assert sys.getswitchinterval() == before
    early.begin(("a",), 5 << 30, lambda _: "brought")
    # None where it has ended before it was asked for: it is then no longer among those that run.
    assert early.take(("a",)) in ("brought", None)
