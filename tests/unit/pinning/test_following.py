"""Following catalogs that others publish."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from catalog_rooms import GRACE, Follower, Publisher, pin_of
from ipfs_data import MemoryStore
from ipns_data import NOW, ed25519_key, record
from pin_rooms import MemorySource
from pinformers._errors import BadBlock, BadCID, BlockNotFound, PinError, SourceUnavailable
from pinformers.ipfs import CID
from pinformers.ipfs.dagpb import DIRECTORY_MESSAGE, encode_link, encode_node
from pinformers.ipfs.layout import UNIXFS_V1_2025
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.catalog_blocks import MAX_BLOCKS, AnySource, KeptBlocks
from pinformers.pinning.followed import FollowedList
from pinformers.pinning.shared_tree import SharedTree
from pinformers.pinning.times import span

SEEN = int((NOW - timedelta(hours=3)).timestamp()) * 10**9
REPO, COMMIT = "org/model", "c" * 40
KEY = ed25519_key(1)
NAME = str(KEY.name)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(Catalog(tmp_path / "publisher"))
    made.catalog.set_ref(REPO, "main", COMMIT, noted=SEEN)
    made.publish(pin_of())
    return made


@pytest.fixture
def follower(tmp_path: Path, publisher: Publisher) -> Follower:
    made = Follower(tmp_path / "follower", publisher.node)
    made.following.list.add(NAME, "team", first=False)
    return made


def refusal(follower: Follower, label: str = "team") -> str:
    sentence = follower.following.refusals[label]
    assert sentence.endswith(".") and "\n" not in sentence
    return sentence


# -- lookups --------------------------------------------------------------------------------------------------


def test_a_branch_a_commit_and_what_is_not_there(follower: Follower) -> None:
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert (found.pin, found.label, found.seen_ns) == (pin_of(), "team", SEEN)
    assert found.how == (
        "the catalog team (number 0) saw main at cccccccccccc on 2026-11-23T09:00:00+00:00, 3 hours ago"
    )
    by_commit = follower.following.find(REPO, COMMIT)
    assert by_commit is not None
    assert (by_commit.pin, by_commit.how) == (pin_of(), "the catalog team (number 0) pins that commit")
    assert follower.following.find(REPO, "v1") is None
    assert follower.following.find(REPO, "d" * 40) is follower.following.find("org/other", "main") is None
    assert follower.following.refusals == {}


def test_nobody_is_asked_where_nothing_is_followed(tmp_path: Path, publisher: Publisher) -> None:
    follower = Follower(tmp_path / "nobody", publisher.node)
    assert follower.following.find(REPO, "main") is None
    assert (follower.asked, follower.fetched, (tmp_path / "nobody").exists()) == ([], [], False)


def test_main_without_a_ref_is_the_newest_pin_and_says_so(follower: Follower, publisher: Publisher) -> None:
    publisher.catalog.forget_ref(REPO, "main")
    publisher.publish(pin_of(letter="d", pinned_at="2026-11-22T00:00:00Z"), pin_of(letter="e", pinned_at=""))
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert found.pin.commit == "d" * 40
    assert "does not say where main stands, and its newest pin" in found.how
    assert "2026-11-22T00:00:00Z" in found.how
    assert follower.following.find(REPO, "dev") is None


def test_a_time_to_come_counts_as_now(follower: Follower, publisher: Publisher) -> None:
    publisher.catalog.set_ref(REPO, "main", COMMIT, noted=SEEN + 10**9 * 86400 * 400)
    publisher.publish()
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert found.seen_ns == int(NOW.timestamp()) * 10**9


def test_only_the_way_to_a_model_is_fetched(follower: Follower, publisher: Publisher) -> None:
    publisher.publish(*(pin_of(f"org/{name}") for name in "abcdef"))
    follower.following.find("org/a", COMMIT)
    # The root, what it says of itself, models, org, the model, the pin.
    assert len(follower.fetched) == 6
    follower.following.find("org/b", COMMIT)
    assert len(follower.fetched) == 8


@pytest.mark.parametrize(("repo", "revision"), [("../x", "main"), (REPO, "../x"), ("a/b/c", "main"), (REPO, "")])
def test_a_name_that_no_model_has(follower: Follower, repo: str, revision: str) -> None:
    with pytest.raises(PinError):
        follower.following.find(repo, revision)
    assert follower.asked == []


# -- the order of trust ---------------------------------------------------------------------------------------


def second(publisher: Publisher, follower: Follower, *, first: bool) -> None:
    """Follow another catalog, with another word on the same model and one model more."""
    publisher.catalog.set_ref(REPO, "main", "d" * 40, noted=SEEN + 1)
    other = publisher.publish(pin_of(letter="d"), pin_of("org/rare"), key="other")
    follower.following.list.add(other.name, "other", first=first)


@pytest.mark.parametrize(("first", "label", "commit"), [(False, "team", COMMIT), (True, "other", "d" * 40)])
def test_the_first_catalog_that_knows_a_model_answers(
    follower: Follower, publisher: Publisher, first: bool, label: str, commit: str
) -> None:
    second(publisher, follower, first=first)
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert (found.label, found.pin.commit) == (label, commit)
    rare = follower.following.find("org/rare", COMMIT)
    assert rare is not None
    assert rare.label == "other"


def test_a_refused_catalog_does_not_deny_what_the_next_one_has(follower: Follower, publisher: Publisher) -> None:
    second(publisher, follower, first=False)
    publisher.node.records[NAME] = record(ed25519_key(9), f"/ipfs/{COMMIT}")
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert found.label == "other"
    assert "not its owner's" in refusal(follower)


# -- when somebody is asked -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("ttl", "lasts"), [(0, 60), (300, 300), (10**6, 3600)])
def test_a_record_is_asked_for_again_after_its_ttl(
    follower: Follower, publisher: Publisher, ttl: float, lasts: float
) -> None:
    publisher.publish(ttl=ttl)
    for passed, asked in ((0.0, 1), (lasts - 1, 1), (2, 2)):
        follower.clock.pass_by(seconds=passed)
        follower.following.find(REPO, "main")
        follower.again().find(REPO, "main")
        assert len(follower.asked) == asked


def test_a_clock_that_was_set_back_does_not_forbid_to_ask(follower: Follower) -> None:
    follower.following.find(REPO, "main")
    follower.clock.pass_by(days=-400)
    follower.following.find(REPO, "main")
    assert len(follower.asked) == 2


def test_an_update_is_seen(follower: Follower, publisher: Publisher) -> None:
    follower.following.find(REPO, "main")
    publisher.catalog.set_ref(REPO, "main", "d" * 40, noted=SEEN + 10**9)
    publisher.publish(pin_of(letter="d"))
    follower.clock.pass_by(hours=1)
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert (found.pin.commit, "number 1" in found.how) == ("d" * 40, True)


def test_offline_with_what_was_read_before(follower: Follower) -> None:
    follower.following.find(REPO, "main")
    follower.cut = True
    follower.clock.pass_by(days=1)
    for process in (follower.following, follower.again()):
        found = process.find(REPO, "main")
        assert found is not None
        assert found.pin == pin_of()
    # One process said so; the other did not ask again within the minute.
    assert len(follower.asked) == 2
    assert "cannot be renewed now: gateway 0: connection refused" in refusal(follower)
    follower.clock.pass_by(seconds=61)
    follower.following.find(REPO, "main")
    assert len(follower.asked) == 3


def test_offline_with_a_model_that_was_never_read(follower: Follower, publisher: Publisher) -> None:
    publisher.publish(pin_of("org/rare"))
    follower.following.find(REPO, "main")
    follower.cut = True
    before = len(follower.fetched)
    for _ in range(3):
        assert follower.following.find("org/rare", COMMIT) is None
    assert len(follower.fetched) == before + 1
    assert "cannot be read now: connection refused" in refusal(follower)
    follower.cut = False
    # Lookups within the pause do not prolong it.
    follower.clock.pass_by(seconds=40)
    assert follower.following.find("org/rare", COMMIT) is None
    follower.clock.pass_by(seconds=21)
    assert follower.following.find("org/rare", COMMIT) is not None


def test_offline_from_the_start(follower: Follower) -> None:
    follower.cut = True
    assert follower.following.find(REPO, "main") is follower.following.find(REPO, "main") is None
    assert len(follower.asked) == 1
    assert "cannot be renewed now" in refusal(follower)


def test_no_source_of_records(tmp_path: Path, publisher: Publisher) -> None:
    follower = Follower(tmp_path / "follower", publisher.node)
    follower.answers.clear()
    follower.again().list.add(NAME, "team", first=False)
    assert follower.following.find(REPO, "main") is None
    assert "no gateway and no daemon is configured" in refusal(follower)


@pytest.mark.parametrize("limit", ["PATIENCE", "AFTER_THE_FIRST"])
def test_a_gateway_that_never_ends_is_not_waited_for(
    tmp_path: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"pinformers.pinning.following.{limit}", 0.05)
    done = threading.Event()
    follower = Follower(tmp_path / "follower", publisher.node)

    def stalled(name: str) -> bytes:
        done.wait(60)
        raise BlockNotFound("gateway", "too late")

    # With no good record at hand only the whole limit ends the wait.
    follower.answers = [stalled, *([publisher.node.name_record] if limit == "AFTER_THE_FIRST" else [])]
    follower.again().list.add(NAME, "team", first=False)
    found = follower.following.find(REPO, "main")
    done.set()
    assert (found is None) == (limit == "PATIENCE")
    assert ("no answer in time" in follower.following.refusals.get("team", "")) == (limit == "PATIENCE")


def test_a_source_of_records_that_fails_oddly_is_no_more_than_silent(follower: Follower) -> None:
    def odd(name: str) -> bytes:
        raise RuntimeError("a bug")

    follower.answers = [odd]
    follower.again().find(REPO, "main")
    assert "RuntimeError: a bug" in refusal(follower)


def test_while_the_interpreter_exits_no_thread_is_needed(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert follower.following.find(REPO, "main") is not None


def test_threads_ask_once(follower: Follower) -> None:
    threads = [threading.Thread(target=follower.following.find, args=(REPO, "main")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(follower.asked) == 1


# -- records that are not believed ----------------------------------------------------------------------------


def test_the_newest_valid_record_of_all_that_answer_wins(tmp_path: Path, publisher: Publisher) -> None:
    old = publisher.node.records[NAME]
    publisher.publish(pin_of(letter="d"))
    new = publisher.node.records[NAME]
    forged = record(ed25519_key(9), f"/ipfs/{publisher.publish().tree.root}", sequence=99)

    def silent(name: str) -> bytes:
        raise BlockNotFound("gateway", "404")

    follower = Follower(tmp_path / "follower", publisher.node)
    follower.answers = [lambda name: old, silent, lambda name: new, lambda name: forged]
    follower.again().list.add(NAME, "team", first=False)
    assert follower.following.find(REPO, "d" * 40) is not None
    assert follower.following.list.all()[0].record == new
    assert follower.following.refusals == {}


def test_a_replayed_record_is_refused_and_the_last_good_one_stays(follower: Follower, publisher: Publisher) -> None:
    old = publisher.node.records[NAME]
    publisher.publish(pin_of(letter="d"))
    follower.following.find(REPO, "main")
    good = publisher.node.records[NAME]
    publisher.node.records[NAME] = old
    follower.clock.pass_by(hours=1)
    assert follower.following.find(REPO, "d" * 40) is not None
    assert "went back from number 1 to 0" in refusal(follower)
    assert follower.again().list.all()[0].record == good
    assert follower.following.list.all()[0].refusal == refusal_of_other_process(follower)


def refusal_of_other_process(follower: Follower) -> str:
    """What a process says that asks nobody, since another was refused within the minute."""
    before = len(follower.asked)
    follower.following.find(REPO, "main")
    assert len(follower.asked) == before
    return refusal(follower)


def test_two_records_of_one_number(follower: Follower, publisher: Publisher) -> None:
    follower.following.find(REPO, "main")
    other = CID.raw(bytes(32))
    publisher.node.records[NAME] = record(KEY, f"/ipfs/{other}", sequence=0, validity=NOW + timedelta(days=9))
    follower.clock.pass_by(hours=1)
    assert follower.following.find(REPO, "main") is not None
    assert "two different records have the number 0" in refusal(follower)


@pytest.mark.parametrize("content", [b"", b"<html>", record(ed25519_key(9), f"/ipfs/{CID.raw(bytes(32))}", sequence=5)])
def test_what_is_no_record_of_its_owner(follower: Follower, publisher: Publisher, content: bytes) -> None:
    follower.following.find(REPO, "main")
    publisher.node.records[NAME] = content
    follower.clock.pass_by(hours=1)
    assert follower.following.find(REPO, "main") is not None
    assert "not its owner's" in refusal(follower)


def test_a_record_signed_again_keeps_its_catalog_alive(follower: Follower, publisher: Publisher) -> None:
    follower.following.find(REPO, "main")
    publisher.publish(lifetime=30 * 86400)
    follower.clock.pass_by(days=20)
    before = len(follower.fetched)
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert "expired" not in found.how
    assert len(follower.fetched) == before


def test_an_expired_catalog_counts_for_the_grace_and_says_so(follower: Follower) -> None:
    follower.following.find(REPO, "main")
    follower.clock.pass_by(days=2, seconds=GRACE - 1)
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert found.how.endswith("; its record expired 6 days ago")
    follower.clock.pass_by(seconds=62)
    assert follower.following.find(REPO, "main") is None
    assert "its record expired on 2026-11-25 12:00+00:00, more than 7 days ago" in refusal(follower)


def test_a_record_that_was_expired_when_it_came(tmp_path: Path, publisher: Publisher) -> None:
    follower = Follower(tmp_path / "late", publisher.node)
    follower.following.list.add(NAME, "team", first=False)
    follower.clock.pass_by(days=10)
    assert follower.following.find(REPO, "main") is None
    assert "expired on 2026-11-25" in refusal(follower)


def test_a_value_below_a_folder(follower: Follower, publisher: Publisher) -> None:
    store = MemoryStore()
    files = {
        "pinformers.json": b'{"format": 1}',
        f"models/{REPO}/{COMMIT}.json": json.dumps(pin_of().to_json()).encode(),
    }
    folder = store.add_folder({f"a/b/{path}": content for path, content in files.items()})
    publisher.node.blocks.update({CID.raw(block.cid.digest): block.data for block in store.everything()})
    publisher.node.blocks.update({CID.dag_pb(cid.digest): block for cid, block in [*publisher.node.blocks.items()]})
    publisher.node.records[NAME] = record(KEY, f"/ipfs/{folder.cid}/a/b", sequence=5)
    assert follower.following.find(REPO, COMMIT) is not None
    publisher.node.records[NAME] = record(KEY, f"/ipfs/{folder.cid}/a/c", sequence=6)
    follower.clock.pass_by(hours=1)
    assert follower.following.find(REPO, COMMIT) is not None
    assert "there is no such folder" in refusal(follower)


# -- trees that are not believed ------------------------------------------------------------------------------


def publish_files(publisher: Publisher, files: dict[str, bytes], sequence: int = 5) -> None:
    store = MemoryStore()
    root = store.add_folder(files).cid
    for block in store.everything():
        publisher.node.blocks[block.cid] = publisher.node.blocks[CID.dag_pb(block.cid.digest)] = block.data
    publisher.node.records[NAME] = record(KEY, f"/ipfs/{root}", sequence=sequence)


def test_a_root_that_is_no_catalog_leaves_the_last_one_in_use(follower: Follower, publisher: Publisher) -> None:
    follower.following.find(REPO, "main")
    publish_files(publisher, {"index.html": b"<html>"})
    follower.clock.pass_by(hours=1)
    assert follower.following.find(REPO, "main") is not None
    assert "reads catalogs of the format 1, and this one says nothing" in refusal(follower)
    assert follower.following.list.all()[0].record != publisher.node.records[NAME]


def test_a_root_that_nobody_has_leaves_the_last_one_in_use(follower: Follower, publisher: Publisher) -> None:
    follower.following.find(REPO, "main")
    publisher.node.records[NAME] = record(KEY, f"/ipfs/{CID.raw(bytes(32))}", sequence=5)
    follower.clock.pass_by(hours=1)
    assert follower.following.find(REPO, "main") is not None
    assert "cannot be renewed now: 404" in refusal(follower)


def test_a_pin_of_another_repo_is_refused_and_the_others_stay(follower: Follower, publisher: Publisher) -> None:
    good, bad = json.dumps(pin_of().to_json()).encode(), json.dumps(pin_of("evil/model").to_json()).encode()
    files = {"pinformers.json": b'{"format": 1}', f"models/{REPO}/{COMMIT}.json": good}
    publish_files(publisher, {**files, f"models/org/other/{COMMIT}.json": bad})
    assert follower.following.find("org/other", COMMIT) is None
    assert "in its place stands a pin of model evil/model@cccccccccccc" in refusal(follower)
    assert follower.following.find(REPO, COMMIT) is not None


def test_what_a_stranger_wrote_does_not_steer_the_terminal(follower: Follower, publisher: Publisher) -> None:
    publish_files(publisher, {"pinformers.json": json.dumps({"format": "\x1b[2J\n"}).encode()})
    follower.following.find(REPO, "main")
    assert refusal(follower).isprintable()
    said = SourceUnavailable("gateway\x1b[2J", "\n\x07" * 9999)

    def loud(name: str) -> bytes:
        raise said

    follower.answers = [loud]
    follower.clock.pass_by(hours=1)
    follower.again().find(REPO, "main")
    assert follower.following.refusals["team"].isprintable()
    assert follower.following.list.all()[0].refusal == follower.following.refusals["team"]


def test_a_ref_to_a_commit_without_a_pin_is_refused(follower: Follower, publisher: Publisher) -> None:
    refs = {"main": {"commit": "d" * 40, "seen": "2026-11-20T12:00:00Z"}}
    publish_files(
        publisher,
        {
            "pinformers.json": b'{"format": 1}',
            f"models/{REPO}/{COMMIT}.json": json.dumps(pin_of().to_json()).encode(),
            f"models/{REPO}/refs.json": json.dumps(refs).encode(),
        },
    )
    assert follower.following.find(REPO, "main") is None
    assert "has no pin of it" in refusal(follower)


def test_a_false_block_is_refused_and_not_kept(follower: Follower, publisher: Publisher) -> None:
    follower.following.find("org/other", "main")
    honest = dict(publisher.node.blocks)
    publisher.node.blocks = {cid: block[:-1] + b"!" for cid, block in honest.items()}
    assert follower.following.find(REPO, "main") is None
    assert "do not have that hash" in refusal(follower)
    publisher.node.blocks = honest
    assert follower.following.find(REPO, "main") is not None


def test_a_kept_block_that_was_damaged_is_fetched_again(follower: Follower) -> None:
    follower.following.find(REPO, "main")
    kept = [path for path in (follower.folder / "blocks").rglob("*") if path.is_file()]
    assert len(kept) == len(follower.fetched)
    for path in kept:
        path.write_bytes(b"damaged")
    follower.fetched.clear()
    assert follower.following.find(REPO, "main") is not None
    assert follower.fetched
    follower.cut = True
    assert follower.again().find(REPO, "main") is not None


def test_a_lookup_has_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = b"x"
    fetch = KeptBlocks(tmp_path, lambda cid: block).lookup()
    cid = CID.raw(hashlib.sha256(block).digest())
    for _ in range(MAX_BLOCKS):
        assert fetch(cid) == block
    with pytest.raises(ValueError, match="one lookup"):
        fetch(cid)
    monkeypatch.setattr("pinformers.pinning.catalog_blocks.MAX_BYTES", 10)
    fetch = KeptBlocks(tmp_path, lambda cid: block).lookup()
    for _ in range(10):
        fetch(cid)
    with pytest.raises(ValueError, match="one lookup"):
        fetch(cid)
    monkeypatch.setattr("pinformers.pinning.catalog_blocks.MAX_SECONDS", -1.0)
    with pytest.raises(OSError, match="took more than"):
        KeptBlocks(tmp_path / "empty", lambda cid: block).lookup()(cid)


def test_what_is_no_node_is_swept(tmp_path: Path) -> None:
    bad = UNIXFS_V1_2025.node(b"\xff\xff no dag-pb")
    entries = [encode_link(bad.cid, b"models", 9), encode_link(pin_of().directory().cid, b"more", 9)]
    root = UNIXFS_V1_2025.node(encode_node(entries, DIRECTORY_MESSAGE))
    stored = {block.cid: block.data for block in (bad, root, *pin_of().directory().nodes)}
    kept = KeptBlocks(tmp_path, stored.__getitem__)
    for cid in stored:
        kept.lookup()(cid)
    with pytest.raises(BadBlock):
        SharedTree(root.cid, kept.lookup()).pin(REPO, COMMIT)
    kept.sweep([root.cid])
    assert {path.name for path in tmp_path.glob("??/*")} == {str(cid) for cid in stored if cid != bad.cid}


def test_the_source_that_served_last_is_asked_first() -> None:
    cid, other = CID.raw(hashlib.sha256(b"a").digest()), CID.raw(bytes(32))
    empty, full = MemorySource({}, "empty"), MemorySource({cid: b"a"}, "full")
    ask = AnySource([empty, full])
    assert [ask(cid) for _ in range(3)] == [b"a"] * 3
    assert (empty.asked, full.asked) == (1, 3)
    with pytest.raises(OSError):
        ask(other)


# -- the list -------------------------------------------------------------------------------------------------


NAMES = [str(ed25519_key(seed).name) for seed in range(1, 5)]


def order(known: FollowedList) -> list[str]:
    return [one.label for one in known.all()]


def test_the_order_of_trust(tmp_path: Path) -> None:
    known = FollowedList(tmp_path)
    known.add(NAMES[0], "a", first=False)
    known.add(f"ipns://{NAMES[1]}", "b", first=False)
    known.add(f"/ipns/{NAMES[2]}", "c", first=True)
    assert order(known) == ["c", "a", "b"]
    known.add(NAMES[1], None, first=True)
    assert order(known) == ["b", "c", "a"]
    known.add(NAMES[1], "renamed", first=False)
    assert order(known) == ["renamed", "c", "a"]
    assert known.remove("c").name == NAMES[2]
    known.remove(str(ed25519_key(1).name.cid))
    assert order(known) == ["renamed"]


def test_a_label_of_its_own(tmp_path: Path) -> None:
    known = FollowedList(tmp_path)
    assert known.add(NAMES[0], None, first=False).label == NAMES[0][-8:]
    with pytest.raises(PinError, match="another catalog is called so"):
        known.add(NAMES[1], NAMES[0][-8:], first=False)
    for label in ("a b", "x" * 65, "é", "a/b", "\x1b[2J"):
        with pytest.raises(PinError, match="letters, digits"):
            known.add(NAMES[1], label, first=False)


def test_what_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(BadCID):
        FollowedList(tmp_path).add("en.wikipedia-on-ipfs.org", None, first=False)
    with pytest.raises(PinError, match="not followed"):
        FollowedList(tmp_path).remove("team")


def test_following_again_starts_anew_only_after_unfollowing(follower: Follower, publisher: Publisher) -> None:
    old = publisher.node.records[NAME]
    publisher.publish(pin_of(letter="d"))
    follower.following.find(REPO, "main")
    publisher.node.records[NAME] = old
    assert follower.following.list.add(NAME, "again", first=False).record
    follower.following.list.remove("again")
    follower.following.list.add(NAME, "team", first=False)
    found = follower.following.find(REPO, "main")
    assert found is not None
    assert "number 0" in found.how


@pytest.mark.parametrize(
    "change", [{"record": "AAAA"}, {"format": 9}, {"label": "a b"}, {"position": "1"}, {"root": "x"}]
)
def test_a_record_of_ours_that_cannot_be_read(
    follower: Follower, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    follower.following.find(REPO, "main")
    path = follower.folder / f"{NAME}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with caplog.at_level(logging.WARNING, "pinformers"):
        for _ in range(2):
            assert follower.following.find(REPO, "main") is None
    assert [str(path) in message for message in caplog.messages] == [True]


def test_what_is_kept_of_a_catalog_is_plain_json(follower: Follower) -> None:
    follower.following.find(REPO, "main")
    kept = json.loads((follower.folder / f"{NAME}.json").read_text())
    assert (kept["name"], kept["label"], kept["position"], kept["sequence"], kept["refusal"]) == (
        NAME,
        "team",
        0,
        0,
        "",
    )
    assert CID.parse(kept["root"]) in follower.node.pinned


def test_blocks_that_no_catalog_needs_are_swept(follower: Follower, publisher: Publisher) -> None:
    def kept() -> set[str]:
        return {path.name for path in (follower.folder / "blocks").rglob("*") if path.is_file()}

    follower.following.find(REPO, "main")
    old = kept()
    publisher.publish(pin_of(letter="d"))
    follower.clock.pass_by(hours=1)
    follower.following.find(REPO, "main")
    follower.following.sweep()
    left = kept()
    assert {str(root) for root in follower.node.pinned} <= left
    # The pin itself is part of both.
    assert old - left and old & left
    follower.cut = True
    assert follower.again().find(REPO, "main") is not None
    follower.following.list.remove("team")
    follower.following.sweep()
    assert kept() == set()


def test_records_that_cannot_be_written_count_for_this_process(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pinformers.pinning.followed.write_json", full)
    for _ in range(2):
        assert follower.following.find(REPO, "main") is not None
    assert len(follower.asked) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "less than a minute"), (60, "1 minute"), (7200, "2 hours"), (86400, "1 day"), (10**6, "11 days")],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert span(seconds) == text
