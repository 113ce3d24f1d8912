"""Publishing a catalog, and what it looks like; test_following.py has the other side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog_rooms import MemoryNode, Publisher, pin_of
from ipfs_data import MemoryStore
from pinformers._errors import BadContent, PinError, SourceError
from pinformers.ipfs import CID, Entry, build_directory, parse_node, read_file, walk_directory
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.pin import Pin
from pinformers.pinning.shared_tree import SharedTree, Tree, build_tree, find_entry, moment, read_pin

SEEN = 1_795_000_000_000_000_000


def store_of(tree: Tree) -> MemoryStore:
    store = MemoryStore()
    for block in tree.blocks:
        block.cid.verify(block.data)
        store.put(block.data)
    return store


def files_of(tree: Tree) -> dict[str, Any]:
    store = store_of(tree)
    found = {path: b"".join(read_file(cid, store)) for path, cid, _ in walk_directory(tree.root, store)}
    return {path: json.loads(text) for path, text in found.items()}


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(Catalog(tmp_path / "publisher"))


# -- the tree -------------------------------------------------------------------------------------------------


def test_what_a_catalog_looks_like() -> None:
    first, second, plain = pin_of(letter="a"), pin_of(letter="b"), pin_of("gpt2", "d")
    refs = {"org/model": {"main": ("b" * 40, SEEN), "gone": ("e" * 40, SEEN)}}
    tree = build_tree([first, second, plain], refs)
    assert files_of(tree) == {
        "pinformers.json": {"format": 1, "updated": "2026-11-20T12:00:00+00:00", "models": 2, "pins": 3},
        f"models/org/model/{'a' * 40}.json": first.to_json(),
        f"models/org/model/{'b' * 40}.json": second.to_json(),
        "models/org/model/refs.json": {"main": {"commit": "b" * 40, "seen": "2026-11-18T11:06:40+00:00"}},
        f"models/_/gpt2/{'d' * 40}.json": plain.to_json(),
    }
    assert (tree.models, tree.pins, tree.blocks[0].cid) == (2, 3, tree.root)


def test_the_same_pins_make_the_same_root_in_any_order() -> None:
    pins = [pin_of(letter=letter) for letter in "abc"]
    assert build_tree(pins, {}).root == build_tree(reversed(pins), {}).root


def test_who_named_a_pin_stays_at_home() -> None:
    pin = pin_of(learned="/home/ada/secret-project/pinformers.lock")
    assert not any(b"ada" in block.data for block in build_tree([pin], {}).blocks)


def test_a_tree_gives_back_what_went_in() -> None:
    pins = [pin_of(letter=letter, pinned_at=f"2026-11-2{day}T00:00:00Z") for day, letter in enumerate("bac")]
    tree = build_tree([*pins, pin_of("gpt2", "d")], {"org/model": {"v1/x": ("b" * 40, SEEN)}})
    read = SharedTree(tree.root, store_of(tree))
    assert read.pin("org/model", "b" * 40) == pins[0]
    assert read.ref("org/model", "v1/x") == ("b" * 40, SEEN)
    assert read.newest("org/model") == pins[2]
    assert read.newest("gpt2") == pin_of("gpt2", "d")
    assert read.pin("org/model", "e" * 40) is read.ref("org/model", "main") is read.ref("gpt2", "main") is None
    assert read.pin("org/other", "b" * 40) is read.newest("other/model") is read.newest("gpt3") is None


def test_a_pin_bigger_than_a_block() -> None:
    file = next(iter(pin_of().files.values()))
    pin = pin_of(files={f"{number:05}-{'x' * 100}.bin": file for number in range(4000)})
    tree = build_tree([pin], {})
    assert len(json.dumps(pin.to_json())) > 1 << 20
    assert SharedTree(tree.root, store_of(tree)).pin("org/model", "c" * 40) == pin


def test_a_lookup_reads_as_much_among_many_models_as_among_few() -> None:
    asked = []
    for count in (1, 6000):
        tree = build_tree([pin_of(f"org-of-a-very-long-name/model-{n:050}", "c") for n in range(count)], {})
        store = store_of(tree)
        store.asked.clear()
        pin = SharedTree(tree.root, store).pin(f"org-of-a-very-long-name/model-{count - 1:050}", "c" * 40)
        assert pin is not None
        asked.append(len(store.asked))
    sharded = [block for block in tree.blocks if block.cid.codec == 0x70 and parse_node(block.cid, block.data).fanout]
    assert sharded
    # One block more for each level of shards.
    assert asked[0] == 5
    assert asked[1] <= asked[0] + 2


@pytest.mark.parametrize("count", [3, 7000])
def test_every_name_of_a_folder_is_found_and_no_other(count: int) -> None:
    names = [f"{number}-{'é' * 20}" for number in range(count)]
    entries = {name: Entry(CID.raw(bytes([number % 256]) * 32), 1, 1) for number, name in enumerate(names)}
    store = MemoryStore()
    folder = build_directory(entries)
    for node in folder.nodes:
        store.put(node.data)
    for name in names[:: 1 + count // 500]:
        found = find_entry(folder.cid, name, store)
        assert found is not None and (found.name, found.cid) == (name, entries[name].cid)
    assert all(find_entry(folder.cid, name, store) is None for name in ("", "0", "A", "00", "FF", names[0][:-1]))


# -- trees of others ------------------------------------------------------------------------------------------


def tree_with(files: dict[str, bytes]) -> SharedTree:
    store = MemoryStore()
    return SharedTree(store.add_folder(files).cid, store)


PATH = f"models/org/model/{'c' * 40}.json"


def changed(**changes: Any) -> dict[str, Any]:
    return {**pin_of().to_json(), **changes}


def with_file(**changes: Any) -> dict[str, Any]:
    value = pin_of().to_json()
    value["files"]["config.json"] |= changes
    return value


REFUSED: dict[str, object] = {
    "another repo": pin_of("org/other").to_json(),
    "another commit": pin_of(letter="d").to_json(),
    "a data set": changed(repo_type="dataset"),
    "another root": changed(root="bafkqaaa"),
    "no root": changed(root=""),
    "no files": {**pin_of()._replace(files={}).to_json()},
    "a later format": changed(format=2),
    "a negative size": with_file(size=-1),
    "a size in words": with_file(size="1"),
    "a broken size": with_file(size=1.0),
    "a true size": with_file(size=True),
    "a huge size": with_file(size=1 << 70),
    "a DAG smaller than nothing": with_file(dag_size=-1),
    "no sha256": with_file(sha256=""),
    "half a sha256": with_file(sha256="ab"),
    "no CID": with_file(cid="x"),
    "two sizes": with_file(hub={"size": 2}),
    "a blob with a path": with_file(hub={"blob_id": "../../x"}),
    "a word that the hub never says": with_file(hub={"url": "http://x"}),
    "another sha256 in LFS": with_file(hub={"lfs_sha256": "0" * 64}),
    "hub is a list": with_file(hub=[1]),
    "files are a list": changed(files=[]),
    "others are a list": changed(others=[1]),
    "others with a negative size": changed(others={"x": {"size": -1}}),
    "a path outside": changed(files={"../x": with_file()["files"]["config.json"]}),
    "an absolute path": changed(files={"/etc/x": with_file()["files"]["config.json"]}),
    "a path that a terminal obeys": changed(others={"\x1b[2J": {}}),
    "a path of others outside": changed(others={"../x": {}}),
    "info is a list": changed(info=[1]),
    "info with numbers": changed(info={"pipeline_tag": 5}),
    "tags of numbers": changed(info={"tags": [1]}),
    "no time": changed(pinned_at="yesterday\x1b[2J"),
    "no time zone": changed(pinned_at="2026-11-20T12:00:00"),
    "half a surrogate": changed(files={"\ud800": with_file()["files"]["config.json"]}),
    "a folder of ipfs": changed(origin="ipfs"),
    "a folder with a commit of the hub": changed(origin="folder"),
    "a list": [1],
    "nothing": None,
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_a_pin_that_does_not_fit(value: object) -> None:
    tree = tree_with({PATH: json.dumps(value).encode()})
    with pytest.raises((PinError, BadContent)) as caught:
        tree.pin("org/model", "c" * 40)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["c" * 40, "/", ".."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.data())
def test_no_change_of_a_pin_makes_another_error(data: st.DataObject) -> None:
    value = changed(info={"tags": ["a"]}, others={"x": {"size": 1}})
    inner: Any = value
    while True:
        key = data.draw(st.sampled_from(sorted(inner)))
        if not isinstance(inner[key], dict) or not inner[key] or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = data.draw(JSON)
    try:
        pin = tree_with({PATH: json.dumps(value).encode()}).pin("org/model", "c" * 40)
    except (PinError, BadContent) as exc:
        assert "\n" not in str(exc)
        return
    assert pin is not None
    assert (pin.repo, pin.commit, pin.root) == ("org/model", "c" * 40, value["root"])
    json.dumps(pin.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b'{"size": NaN}', b"1" * 5000])
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(PinError):
        tree_with({PATH: text}).pin("org/model", "c" * 40)


def test_words_about_a_model_that_we_do_not_know_are_left_out() -> None:
    info = {"pipeline_tag": "fill-mask", "tags": ["a"], "library_name": None, "id": "other/model", "gated": True}
    pin = read_pin(changed(info=info), "org/model", "c" * 40)
    assert pin.info == {"pipeline_tag": "fill-mask", "tags": ["a"], "library_name": None}


@pytest.mark.parametrize(
    "refs",
    [
        {"main": "c" * 40},
        {"main": {"commit": "../../../x", "seen": "2026-11-20T12:00:00Z"}},
        {"main": {"commit": "C" * 40, "seen": "2026-11-20T12:00:00Z"}},
        {"main": {"commit": 5, "seen": "2026-11-20T12:00:00Z"}},
        {"main": {"commit": "c" * 40}},
        {"main": {"commit": "c" * 40, "seen": "99999-01-01T00:00:00Z"}},
    ],
)
def test_a_ref_that_names_no_commit(refs: dict[str, object]) -> None:
    with pytest.raises(PinError):
        tree_with({"models/org/model/refs.json": json.dumps(refs).encode()}).ref("org/model", "main")


@pytest.mark.parametrize("head", [b"{}", b'{"format": 2}', b'{"format": "1"}', b"[]"])
def test_a_catalog_of_another_format(head: bytes) -> None:
    with pytest.raises(PinError):
        tree_with({"pinformers.json": head}).head()


def test_a_folder_that_is_no_catalog() -> None:
    with pytest.raises(PinError):
        tree_with({"config.json": b"{}"}).head()


def test_files_where_folders_should_be() -> None:
    for path in ("models", "models/org", "models/org/model"):
        with pytest.raises(BadContent):
            tree_with({path: b"{}"}).pin("org/model", "c" * 40)
    with pytest.raises(BadContent):
        tree_with({f"{PATH}/inner": b"{}"}).pin("org/model", "c" * 40)


def test_a_file_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinformers.pinning.shared_tree.MAX_JSON", 3 << 20)
    with pytest.raises(PinError, match="more than"):
        tree_with({PATH: b" " * (4 << 20)}).pin("org/model", "c" * 40)


def test_a_folder_with_a_name_twice() -> None:
    store = MemoryStore()
    entry = store.add_folder({"a": b"{}", "b": b"{}"})
    twice = store.blocks[entry.cid.multihash].replace(b"\x12\x01b", b"\x12\x01a")
    store.put(twice)
    root = next(block.cid for block in store.everything() if block.data == twice)
    with pytest.raises(BadContent, match="twice"):
        find_entry(CID.dag_pb(root.digest), "a", store)


@pytest.mark.parametrize("text", ["2026-11-20T12:00:00+00:00", "2026-11-20T12:00:00Z", "2026-11-20T14:00:00+02:00"])
def test_times(text: str) -> None:
    assert moment(text) == 1_795_176_000 * 10**9


@pytest.mark.parametrize(
    "text", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-11-20T12:00:00", "yesterday", None]
)
def test_what_is_no_time_or_leads_to_none_that_can_be_written(text: object) -> None:
    with pytest.raises(PinError, match="this is no time"):
        moment(text)


# -- publishing -----------------------------------------------------------------------------------------------


def test_a_published_catalog_holds_every_pin_and_ref(publisher: Publisher) -> None:
    publisher.catalog.set_ref("org/model", "main", "c" * 40, noted=SEEN)
    published = publisher.publish(pin_of(), pin_of(letter="a"), pin_of("gpt2", "d"))
    assert published.name == publisher.node.keys()["pinformers"]
    assert published.sequence == 0
    assert publisher.node.pinned == {published.tree.root: "pinformers-catalog pinformers"}
    assert set(publisher.node.blocks) == {block.cid for block in published.tree.blocks}
    read = SharedTree(published.tree.root, lambda cid: publisher.node.blocks[cid])
    assert read.ref("org/model", "main") == ("c" * 40, SEEN)
    assert read.head()["pins"] == 3


def test_publishing_again_replaces_the_pin_after_the_name(publisher: Publisher) -> None:
    first = publisher.publish(pin_of())
    publisher.node.log.clear()
    second = publisher.publish(pin_of(letter="d"))
    assert (second.name, second.sequence) == (first.name, 1)
    assert publisher.node.log == ["import", "pin", "publish", "unpin"]
    assert list(publisher.node.pinned) == [second.tree.root]


def test_publishing_the_same_changes_nothing(publisher: Publisher) -> None:
    first, again = publisher.publish(pin_of()), publisher.publish()
    assert (again.tree.root, again.sequence) == (first.tree.root, first.sequence)
    assert list(publisher.node.pinned) == [first.tree.root]


def test_catalogs_of_two_keys_stand_beside_each_other(publisher: Publisher) -> None:
    one = publisher.publish(pin_of(), key="team")
    two = publisher.publish(pin_of(letter="d"), key="team-2")
    publisher.publish(pin_of(letter="e"), key="team")
    assert one.name != two.name
    assert sorted(publisher.node.pinned.values()) == ["pinformers-catalog team", "pinformers-catalog team-2"]


def test_publishing_the_models_that_are_named(publisher: Publisher) -> None:
    published = publisher.publish(pin_of(), pin_of("gpt2", "d"), models=["gpt2"])
    assert [path for path in files_of(published.tree) if path.startswith("models/")] == [
        f"models/_/gpt2/{'d' * 40}.json"
    ]


def test_what_is_no_model_of_the_hub_is_left_out(publisher: Publisher) -> None:
    data = pin_of("org/data", repo_type="dataset")
    folder = pin_of("ipfs/bafkqaaa", "e", origin="ipfs", root_cid=pin_of().root)
    empty = Pin("org/empty", "f" * 40)
    assert publisher.publish(data, folder, empty, pin_of()).tree.pins == 1


def test_nothing_to_publish(publisher: Publisher) -> None:
    with pytest.raises(PinError, match="empty"):
        publisher.publish()
    with pytest.raises(PinError, match="not pinned"):
        publisher.publish(pin_of(), models=["org/other"])
    assert publisher.node.log == []


def test_an_unsigned_answer_of_the_node_is_not_believed(publisher: Publisher) -> None:
    class Liar(MemoryNode):
        def name_record(self, name: str) -> bytes:
            return super().name_record(name).replace(b"/ipfs/", b"/ipns/")

    publisher.node = Liar()
    with pytest.raises(BadContent):
        publisher.publish(pin_of())


def test_a_node_that_gives_its_record_to_nobody(publisher: Publisher) -> None:
    class Hermit(MemoryNode):
        def name_record(self, name: str) -> bytes:
            raise SourceError("kubo", "routing: not found")

    publisher.node = Hermit()
    with pytest.raises(SourceError, match=r"routing: not found.*Routing.Type must not be none"):
        publisher.publish(pin_of())
