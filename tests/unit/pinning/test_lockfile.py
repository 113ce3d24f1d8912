from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pin_rooms import REPO, make_resolver, pinned, tree, write_folder
from pinformers._errors import BadLock, PinError
from pinformers.ipfs import hash_file
from pinformers.ipfs.layout import dag_size
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.lockfile import (
    HEAD,
    NAME,
    Lock,
    LockSource,
    nearest_lock,
    parse_lock,
    read_lock,
    render_lock,
    write_lock,
)
from pinformers.pinning.pin import Pin, PinnedFile
from pinformers.pinning.records import signature

CONFIG = pinned(b"{}", size=2, blob_id="9e26dfeeb6e641a33dae4961196235bdb965b21b")
OTHER = Pin("org/other", "b" * 40, {"config.json": CONFIG}, listed=True)


@pytest.fixture
def model(tmp_path: Path) -> Pin:
    """A pin with small files, an empty one, one of several chunks that is LFS, and a sub-folder."""
    return pin_folder(make_resolver(tmp_path), write_folder(tmp_path / "folder"), REPO).pin


def carried(pin: Pin) -> Pin:
    """What a lockfile does not carry, taken away: when it was pinned."""
    return pin._replace(pinned_at="")


def test_the_text_is_one_line_a_file(model: Pin) -> None:
    files = {path: model.files[path] for path in ("config.json", "model.safetensors")}
    pin = model._replace(files=files, info={"tags": ["été"], "pipeline_tag": "fill-mask"})
    config, weights = files.values()
    assert render_lock(Lock({(REPO, "main"): pin})) == (
        f"""pinformers-lock 1

model org/model main
  commit {pin.commit}
  root {pin.root}
  origin folder
  listed yes
  info {{"pipeline_tag": "fill-mask", "tags": ["été"]}}
  file config.json 22 {config.cid} {config.sha256} {config.hub["blob_id"]}
  file model.safetensors 2304000 {weights.cid} {weights.sha256} lfs
"""
    )


def test_all_that_a_pin_needs_comes_back(model: Pin, tmp_path: Path) -> None:
    path = tmp_path / NAME
    assert write_lock(path, Lock({(REPO, "main"): model}))
    (found,) = read_lock(path).pins.values()
    assert found == carried(model)
    assert found.root == model.root
    assert [file.etag for file in found.files.values()] == [file.etag for file in model.files.values()]


def test_a_machine_that_knows_nothing_else_gets_the_same_cache(model: Pin, tmp_path: Path) -> None:
    write_lock(tmp_path / NAME, Lock({(REPO, "main"): model}))
    locked = read_lock(tmp_path / NAME).find(REPO)
    assert locked is not None
    here, there = make_resolver(tmp_path), make_resolver(tmp_path / "elsewhere")
    there.catalog.add(locked)
    assert there.bind(locked, "main", here.sources).deliver(list(locked.files))
    names = [sorted(tree(folder / "hub")) for folder in (tmp_path, tmp_path / "elsewhere")]
    assert names[0] == names[1]
    assert any(name.endswith(f"trees/{model.commit}.json") for name in names[1])


@pytest.mark.parametrize(
    "file",
    [
        pinned(b"no word of the hub"),
        pinned(b"abc", size=3, blob_id="d" * 40, lfs_sha256=pinned(b"abc").sha256, lfs_size=3),
        # A file in the layout of Kubo's old default: its blocks have another size than ours would.
        PinnedFile(300_000, "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ", 300_120, "a" * 64, {}),
    ],
    ids=["no blob", "foreign pointer", "foreign layout"],
)
def test_what_cannot_be_derived_is_spelled_out(file: PinnedFile) -> None:
    pin = OTHER._replace(files={"file": file})
    assert parse_lock(render_lock(Lock({("org/other", "v1"): pin}))).pins == {("org/other", "v1"): pin}


@pytest.mark.parametrize("path", ["a b.json", "été/数据 🤗.bin", '"quoted"', "\u202egnp.exe", "#x"])
def test_any_path_survives_and_what_cannot_be_seen_is_escaped(path: str) -> None:
    pin = OTHER._replace(files={path: CONFIG})
    text = render_lock(Lock({("org/other", "main"): pin}))
    assert parse_lock(text).pins == {("org/other", "main"): pin}
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("\n") == 8


def test_another_model_changes_no_line_of_the_first(model: Pin) -> None:
    one, other = Lock({(REPO, "main"): model}), Lock({("org/other", "main"): OTHER})
    both = render_lock(Lock({**other.pins, **one.pins}))
    assert both == render_lock(one) + render_lock(other).removeprefix(HEAD + "\n")


def test_git_merges_two_models_that_were_added_apart(model: Pin, tmp_path: Path) -> None:
    middle, last = OTHER._replace(repo="org/p"), OTHER._replace(repo="org/z")
    base = {("org/p", "main"): middle}
    for name, pins in (("base", {}), ("ours", {(REPO, "main"): model}), ("theirs", {("org/z", "main"): last})):
        write_lock(tmp_path / name, Lock({**base, **pins}))
    merged = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True)
    assert merged.returncode == 0
    assert set(parse_lock(merged.stdout.decode()).pins) == {(REPO, "main"), ("org/p", "main"), ("org/z", "main")}


def test_a_merge_conflict_is_named_by_its_line(model: Pin, tmp_path: Path) -> None:
    ours, theirs = (OTHER._replace(commit=letter * 40) for letter in "de")
    for name, pin in (("base", OTHER), ("ours", ours), ("theirs", theirs)):
        write_lock(tmp_path / name, Lock({("org/other", "main"): pin}))
    merged = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True)
    assert merged.returncode == 1
    with pytest.raises(BadLock, match=r"^pinformers\.lock:4: a merge conflict is left here; keep .*`\.$"):
        parse_lock(merged.stdout.decode())


def test_finding(model: Pin) -> None:
    lock = Lock({(REPO, "main"): model, ("org/other", "v1"): OTHER})
    assert lock.find(REPO) is lock.find(REPO, "main") is lock.find(REPO, model.commit) is model
    assert lock.find("org/other", "v1") is lock.find("org/other", OTHER.commit) is OTHER
    for repo, revision in ((REPO, "v2"), (REPO, "f" * 40), ("org/other", None), ("org/unknown", None)):
        assert lock.find(repo, revision) is None


def test_equal_content_is_not_rewritten(model: Pin, tmp_path: Path) -> None:
    path, lock = tmp_path / "deep" / NAME, Lock({(REPO, "main"): model})
    assert write_lock(path, lock)
    before = signature(path)
    assert not write_lock(path, read_lock(path))
    assert signature(path) == before
    assert write_lock(path, Lock({**lock.pins, ("org/other", "main"): OTHER}))


def test_line_ends_that_git_turned_around_are_read_and_stay(model: Pin, tmp_path: Path) -> None:
    path, lock = tmp_path / NAME, Lock({(REPO, "main"): model})
    path.write_bytes(render_lock(lock).replace("\n", "\r\n").encode())
    assert read_lock(path).pins == {(REPO, "main"): carried(model)}
    assert not write_lock(path, lock)


@pytest.mark.parametrize(
    "change",
    [{"repo_type": "dataset"}, {"origin": "ipfs"}, {"others": {"more.bin": {"size": 1}}}, {"files": {}}],
    ids=lambda change: str(*change),
)
def test_what_a_lockfile_cannot_hold_is_not_written(change: dict[str, object], tmp_path: Path) -> None:
    pin = OTHER._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(PinError, match="org/other: only models "):
        write_lock(tmp_path / NAME, Lock({("org/other", "main"): pin}))
    assert not (tmp_path / NAME).exists()


def test_a_file_without_its_sha256_is_not_written() -> None:
    pin = OTHER._replace(files={"a": CONFIG._replace(sha256="")})
    with pytest.raises(PinError, match="org/other/a: it can be locked once it was loaded"):
        render_lock(Lock({("org/other", "main"): pin}))


# -- strictness -----------------------------------------------------------------------------------------------

TEXT = render_lock(Lock({("org/other", "main"): OTHER._replace(info={"tags": []})}))
FILE = 9
Change = Callable[[list[str]], object]


def put(number: int, line: str) -> Change:
    return lambda lines: lines.__setitem__(number - 1, line)


def change(number: int, old: str, new: str) -> Change:
    def edit(lines: list[str]) -> None:
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new, 1)

    return edit


def twice(number: int) -> Change:
    return lambda lines: lines.insert(number, lines[number - 1])


def without(number: int) -> Change:
    return lambda lines: lines.pop(number - 1)


FAULTS: dict[str, tuple[Change, int, str]] = {
    "another format": (put(1, "pinformers-lock 2"), 1, "the first line of a lockfile is 'pinformers-lock 1'"),
    "a byte order mark": (put(1, "\ufeff" + HEAD), 1, "a byte order mark (BOM) stands before"),
    "a comment": (put(2, "# note"), 2, "a line is 'model ...'"),
    "an unknown word": (change(5, "root", "rout"), 5, "'rout' is none of the words"),
    "a line outside a model": (put(2, "  listed yes"), 2, "a line is 'model ...'"),
    "no such repo": (change(3, "org/other", "../other"), 3, "'../other': a model is named like"),
    "no such revision": (change(3, "main", "a..b/../c"), 3, "a revision is a branch"),
    "no revision": (put(3, "model org/other"), 3, "a revision is a branch"),
    "too many words": (put(3, "model org/other main x"), 3, "a model has a name and a revision, and no more"),
    "a short commit": (put(4, "  commit abc"), 4, "'abc': a commit is 40 hex digits"),
    "no CID": (put(5, "  root hello"), 5, "'hello' is not a CID"),
    "another root": (put(5, f"  root {CONFIG.cid}"), 5, "the root of the files below is bafy"),
    "an unknown origin": (put(6, "  origin swarm"), 6, "origin is hub or folder, not 'swarm'"),
    "a folder with a commit of the hub": (put(6, "  origin folder"), 6, "it is said to be a folder, and bbb"),
    "neither yes nor no": (put(7, "  listed maybe"), 7, "listed is yes or no, not 'maybe'"),
    "info that is no JSON": (put(8, "  info {"), 8, "info is a JSON object"),
    "info that is no object": (put(8, "  info []"), 8, "info is a JSON object"),
    "info of another type": (put(8, '  info {"tags": 1}'), 8, "what it says of the model has the wrong types"),
    "deep info": (put(8, "  info " + "[" * 200_000), 8, "info is a JSON object"),
    "a word twice": (twice(4), 5, "'commit' stands here for the second time"),
    "a file twice": (twice(FILE), 10, "config.json stands here for the second time"),
    "a missing word": (without(5), 3, "org/other has no line 'root'"),
    "no file": (without(FILE), 3, "org/other has no line 'file'"),
    "a path out of the model": (change(FILE, "config.json", "../config.json"), FILE, "not a relative path"),
    "an open string": (change(FILE, "config.json", '"config.json'), FILE, "is not JSON"),
    "no space behind a string": (change(FILE, "config.json", '"config"json'), FILE, "a space belongs behind"),
    "two spaces": (change(FILE, "config.json ", "config.json  "), FILE, "a size is a number of bytes, not ''"),
    "a space at the end": (change(FILE, "b21b", "b21b "), FILE, "what follows a blob is 'dag='"),
    "a missing field": (change(FILE, f" {CONFIG.sha256}", ""), FILE, "a file has a path, a size, a CID"),
    "a negative size": (change(FILE, " 2 ", " -2 "), FILE, "a size is a number of bytes, not '-2'"),
    "another size": (change(FILE, " 2 ", " 3 "), 5, "the root of the files below is"),
    "a cut CID": (change(FILE, CONFIG.cid, CONFIG.cid[:-3]), FILE, "is not a CID"),
    "a short sha256": (change(FILE, CONFIG.sha256, "abc"), FILE, "a sha256 is 64 hex digits, not 'abc'"),
    "another sha256": (change(FILE, CONFIG.sha256, "0" * 64), FILE, "the CID and the sha256 are not of the same bytes"),
    "another CID": (change(FILE, CONFIG.cid, pinned(b"x").cid), FILE, "the CID and the sha256 are not of the same"),
    "a strange blob": (change(FILE, "9e26", "xe26"), FILE, "a blob is 'lfs', '-' or a git blob id"),
    "an empty pointer": (change(FILE, str(CONFIG.hub["blob_id"]), "lfs:"), FILE, "a blob is 'lfs', '-' or"),
    "a model twice": (lambda lines: lines.extend(lines[1:]), 12, "org/other main stands here for the second time"),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "line", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_sentence_with_its_line(edit: Change, line: int, said: str) -> None:
    lines = TEXT.split("\n")
    edit(lines)
    with pytest.raises(BadLock) as caught:
        parse_lock("\n".join(lines))
    assert str(caught.value).startswith(f"pinformers.lock:{line}: ")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_text_without_a_fault_is_read() -> None:
    assert parse_lock(TEXT).pins[("org/other", "main")].info == {"tags": []}
    assert parse_lock(f"{HEAD}\n").pins == {}


def test_a_lockfile_does_not_say_that_a_model_is_open_to_all() -> None:
    said = '{"createdAt": "never", "gated": false, "private": false, "tags": []}'
    assert parse_lock(TEXT.replace('{"tags": []}', said)).pins[("org/other", "main")].info == {"tags": []}


def test_one_commit_has_one_root() -> None:
    other = OTHER._replace(files={"config.json": pinned(b"[]")})
    text = render_lock(Lock({("org/other", "main"): OTHER, ("org/other", "v1"): other}))
    with pytest.raises(BadLock, match=r":12: org/other has another root at the same commit above\.$"):
        parse_lock(text)


def test_a_file_that_is_a_folder_as_well_is_refused() -> None:
    line = TEXT.split("\n")[FILE - 1]
    text = TEXT + line.replace("config.json", "config.json/x") + "\n"
    with pytest.raises(BadLock, match=r"^pinformers\.lock:5: .*is a file as well as a folder"):
        parse_lock(text)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(TEXT.encode().replace(b"config.json", b"config\xff.json"))
    with pytest.raises(BadLock, match=rf"pinformers\.lock:{FILE}: this line is not UTF-8\.$"):
        read_lock(path)


# -- where it is, and when it is read -------------------------------------------------------------------------


def test_a_lockfile_of_another_user_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "pinformers.lock").write_text(TEXT)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(BadLock, match=r"pinformers\.lock:1: it cannot be read \(Permission denied\)\.$"):
        LockSource(tmp_path / "pinformers.lock").read()


def test_the_nearest_one_is_found_from_below(tmp_path: Path) -> None:
    inner = tmp_path / "project" / "src" / "deep"
    inner.mkdir(parents=True)
    assert nearest_lock(inner) is None
    (tmp_path / NAME).touch()
    (tmp_path / "project" / NAME).touch()
    (inner / NAME).mkdir()
    assert nearest_lock(inner) == tmp_path / "project" / NAME


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a file away")
def test_a_stranger_decides_nothing_from_a_folder_for_all(tmp_path: Path) -> None:
    public = tmp_path / "public"
    (public / "mine").mkdir(parents=True)
    path = public / NAME
    path.touch()
    public.chmod(0o1777)
    assert nearest_lock(public / "mine") == path
    os.chown(path, 12345, 12345)
    assert nearest_lock(public / "mine") is None
    # In a folder that only its owner writes to, a file of another user is there by the owner's will.
    public.chmod(0o755)
    assert nearest_lock(public / "mine") == path


def test_a_source_reads_again_when_the_file_changed(tmp_path: Path) -> None:
    path = tmp_path / NAME
    source = LockSource(path)
    assert source.read() is None
    write_lock(path, Lock({("org/other", "main"): OTHER}))
    first = source.read()
    assert first is not None
    assert first.label == str(path)
    assert source.read() is first
    write_lock(path, Lock({("org/other", "v1"): OTHER}))
    assert source.read() == Lock({("org/other", "v1"): OTHER})
    path.write_text("<<<<<<< ours\n")
    with pytest.raises(BadLock, match=":1: a merge conflict"):
        source.read()
    path.unlink()
    assert source.read() is None


# -- the size of a DAG ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20, (5 << 20) + 3])
def test_the_blocks_of_a_file_are_as_many_bytes_as_hashing_it_says(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as out:
        out.truncate(size)
    assert dag_size(size) == hash_file(path).dag_size


@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_a_link_to_a_lockfile_stays_one(model: Pin, tmp_path: Path) -> None:
    shared, path = tmp_path / "shared" / "real.lock", tmp_path / NAME
    shared.parent.mkdir()
    path.symlink_to(os.path.join("shared", "real.lock"))
    for revision in ("main", "v1"):
        write_lock(path, Lock({(model.repo, revision): model}))
        assert path.is_symlink()
        assert set(read_lock(shared).pins) == {(model.repo, revision)}
