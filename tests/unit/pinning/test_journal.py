"""Records that grow line by line: whole for every reader, through every crash, at a cost that is linear."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from pin_rooms import PIN, REPO, MemorySource, make_resolver, pinned
from pinformers.ipfs.cid import CID
from pinformers.pinning import catalog as catalog_module
from pinformers.pinning import journal
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.early import Early
from pinformers.pinning.journal import append, journals_of
from pinformers.pinning.pin import Pin
from pinformers.pinning.removal import remove_pin

CACHE = "/cache"
ROWS = {f"row-{number}.json": b"%d" % number for number in range(600)}
MANY = Pin(REPO, "d" * 40, {path: pinned(row) for path, row in ROWS.items()}, listed=True)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog(tmp_path / "state")
    catalog.add(MANY)
    return catalog


def row(number: int, *, inode: int = 1) -> Place:
    return Place(CACHE, {f"row-{number}.json": (1, 2, inode)}, frozenset({f"blobs/{number}"}))


def rows(*numbers: int) -> Place:
    return Place(CACHE).joined([row(number) for number in numbers])


def journal_of(path: Path) -> Path:
    return Path(journals_of(path)[0])


def record(catalog: Catalog) -> Path:
    return catalog.place_path(MANY, CACHE)


def fresh(catalog: Catalog) -> Place:
    """What another process reads."""
    return Catalog(catalog.state_dir).place(MANY, CACHE)


def in_a_child(work: Callable[[], object]) -> int:
    """Start a process that does ``work`` and ends without another word, with 1 where it failed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# -- lines ----------------------------------------------------------------------------------------------------


def test_a_change_is_a_line_and_every_reader_sees_it(catalog: Catalog) -> None:
    other, long_here = Catalog(catalog.state_dir), Catalog(catalog.state_dir)
    catalog.add(MANY, row(0))
    whole = record(catalog).read_bytes()
    for number in range(1, 4):
        assert long_here.place(MANY, CACHE) == rows(*range(number))
        (catalog, other)[number % 2].add(MANY, row(number))
    assert record(catalog).read_bytes() == whole
    assert len(journal_of(record(catalog)).read_text().split()) > 3
    for reader in (catalog, other, long_here, Catalog(catalog.state_dir)):
        assert reader.place(MANY, CACHE) == rows(0, 1, 2, 3)
        assert reader.places(MANY) == [rows(0, 1, 2, 3)]


def test_what_is_known_writes_no_line(catalog: Catalog) -> None:
    for number in (0, 1, 0, 1):
        catalog.add(MANY, row(number))
        seen = journal_of(record(catalog)), catalog.version()
    catalog.add(MANY, rows(0, 1))
    catalog.add(MANY, Place(CACHE, {"of no pin": (1, 2, 3)}))
    assert (journal_of(record(catalog)), catalog.version()) == seen


def test_a_reader_reads_only_what_is_new(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.add(MANY, row(0))
    read: list[int] = []
    plain = journal._read
    monkeypatch.setattr(
        journal, "_read", lambda path, start: (found := plain(path, start), read.append(len(found[1])))[0]
    )
    monkeypatch.setattr(journal, "read_json", None)
    sizes = []
    for number in range(1, 30):
        catalog.add(MANY, row(number))
        catalog.place(MANY, CACHE)
        sizes.append(journal_of(record(catalog)).stat().st_size)
    catalog.place(MANY, CACHE)
    assert sum(read) == sizes[-1]


def test_an_own_write_is_not_read_again_and_another_s_is(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    other, read = Catalog(catalog.state_dir), journal.read_json
    monkeypatch.setattr(journal, "read_json", None)
    catalog.add(MANY, row(0))
    assert catalog.place(MANY, CACHE) == row(0)
    assert catalog.pin(REPO, MANY.commit) == MANY
    monkeypatch.setattr(journal, "read_json", read)
    plain = catalog_module.write_json

    def overtaken(path: Path, value: object) -> object:
        found = plain(path, value)  # type: ignore[arg-type]
        # Without the lock, between a rename and whatever its writer does next.
        return (found, plain(path, {**row(2).to_json(), "cache_dir": CACHE}))[0]

    monkeypatch.setattr(catalog_module, "write_json", overtaken)
    monkeypatch.setattr(catalog_module, "append", lambda *_: False)
    catalog.add(MANY, row(1))
    assert catalog.place(MANY, CACHE) == other.place(MANY, CACHE) == row(2)


@pytest.mark.parametrize(
    "half", [b'\n{"files": {"row-1.json": [1, 2', b"\n\0\0\0\0\0\0", b'\n{"files": 3, "made": []}', b"\n7"]
)
def test_half_a_line_is_passed_over_and_the_next_one_begins_anew(catalog: Catalog, half: bytes) -> None:
    catalog.add(MANY, row(0))
    catalog.add(MANY, row(1))
    with open(journal_of(record(catalog)), "ab") as out:
        out.write(half)
    assert catalog.place(MANY, CACHE) == fresh(catalog) == rows(0, 1)
    catalog.add(MANY, row(2))
    assert catalog.place(MANY, CACHE) == fresh(catalog) == rows(0, 1, 2)


def test_a_line_on_its_way_is_read_when_it_is_whole(catalog: Catalog) -> None:
    catalog.add(MANY, row(0))
    line = json.dumps({"files": {"row-1.json": [1, 2, 1]}, "made": ["blobs/1"]}).encode() + b"\n"
    for piece in (line[:9], line[9:]):
        assert catalog.place(MANY, CACHE) == row(0)
        with open(journal_of(record(catalog)), "ab") as out:
            out.write(piece)
    assert catalog.place(MANY, CACHE) == fresh(catalog) == rows(0, 1)


def test_two_processes_append_at_once(catalog: Catalog) -> None:
    catalog.add(MANY, row(0))

    def every_other(first: int) -> None:
        mine = Catalog(catalog.state_dir)
        for number in range(first, 600, 2):
            mine.add(MANY, row(number))

    assert [ended(child) for child in [in_a_child(lambda n=n: every_other(n)) for n in (0, 1)]] == [0, 0]
    assert catalog.place(MANY, CACHE) == fresh(catalog) == rows(*range(600))


def test_a_line_that_a_fold_overtakes_is_said_again(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fold has read the journal before the line was in it, and deletes it after."""
    for number in (0, 1):
        catalog.add(MANY, row(number))
    other, plain = Catalog(catalog.state_dir), journal._read
    journal.set_aside(record(catalog))
    with open(journals_of(record(catalog))[1], "ab") as late, monkeypatch.context() as context:
        opened = iter([nullcontext(late)])
        # Only then is it opened by its name.
        context.setattr(journal, "open", lambda *given: next(opened, None) or open(*given), raising=False)  # noqa: SIM115
        catalog.add(MANY, row(2))
    assert b"row-2.json" in plain(journals_of(record(catalog))[0], 0)[1]
    end = Path(journals_of(record(catalog))[1])
    end.write_bytes(end.read_bytes().partition(b'\n{"files": {"row-2')[0])
    assert other.place(MANY, CACHE) == fresh(catalog) == rows(0, 1, 2)


def test_two_processes_that_fold_at_each_line_lose_none(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SLACK", -2000)
    catalog.add(MANY, row(0))

    def every_other(first: int) -> None:
        mine = Catalog(catalog.state_dir)
        for number in range(first, 200, 2):
            mine.add(MANY, row(number))

    children = [in_a_child(lambda n=n: every_other(n)) for n in (0, 1)]
    known = 0
    for _ in range(200):
        now = len(catalog.place(MANY, CACHE).files)
        assert now >= known
        known = now
    assert [ended(child) for child in children] == [0, 0]
    assert catalog.place(MANY, CACHE) == fresh(catalog) == rows(*range(200))


def test_a_journal_of_another_user_is_folded_instead(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (0, 1):
        catalog.add(MANY, row(number))

    def denied(path: object, mode: str = "r") -> object:
        if mode == "ab":
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, mode)  # type: ignore[call-overload]

    monkeypatch.setattr(journal, "open", denied, raising=False)
    catalog.add(MANY, row(2))
    assert not journal_of(record(catalog)).exists()
    assert catalog.place(MANY, CACHE) == fresh(catalog) == rows(0, 1, 2)


# -- folds ----------------------------------------------------------------------------------------------------


def test_what_is_written_is_linear(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    plain = catalog_module.write_json
    monkeypatch.setattr(
        catalog_module,
        "write_json",
        lambda path, value: (found := plain(path, value), written.append(found[0]))[0],
    )
    for number in range(600):
        catalog.add(MANY, row(number))
        assert journal_of(record(catalog)).exists() is False or (
            journal_of(record(catalog)).stat().st_size <= record(catalog).stat().st_size + journal.SLACK
        )
    assert sum(written) < 3 * written[-1]
    assert fresh(catalog) == rows(*range(600))


@pytest.mark.parametrize("step", ["append", "set_aside", "write_json", "end_fold"])
@pytest.mark.parametrize("before", [True, False])
def test_a_fold_may_die_at_any_point(
    catalog: Catalog, step: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        catalog.add(MANY, row(number))
    catalog.add(MANY, row(3, inode=7))
    plain = getattr(catalog_module, step)

    def dying(*given: object) -> object:
        if not before:
            plain(*given)
        os._exit(9)

    monkeypatch.setattr(journal, "SLACK", -(1 << 20))
    with monkeypatch.context() as context:
        context.setattr(catalog_module, step, dying)
        assert ended(in_a_child(lambda: catalog.add(MANY, row(20)))) == 9
    known = rows(*range(20)).joined([row(3, inode=7)])
    done = known.joined([row(20)])
    replaced = step == "end_fold" or (step == "write_json" and not before)
    assert catalog.place(MANY, CACHE) == fresh(catalog) == (done if replaced else known)
    # Whoever comes next ends it.
    catalog.add(MANY, rows(20, 21))
    assert not journal_of(record(catalog)).exists()
    assert catalog.place(MANY, CACHE) == fresh(catalog) == done.joined([row(21)])


@pytest.mark.parametrize("later", [False, True])
def test_whoever_saw_no_journal_ends_a_fold_that_died_without_loss(
    catalog: Catalog, later: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.add(MANY, row(0))
    long_here, other = Catalog(catalog.state_dir), Catalog(catalog.state_dir)
    assert long_here.place(MANY, CACHE) == row(0)
    other.add(MANY, row(1))
    journal.set_aside(record(catalog))
    if later:
        other.add(MANY, row(2))
    known = rows(0, 1, 2) if later else rows(0, 1)
    assert long_here.place(MANY, CACHE) == fresh(catalog) == known
    monkeypatch.setattr(catalog_module, "append", lambda *_: False)
    long_here.add(MANY, row(3))
    assert fresh(catalog) == known.joined([row(3)])


def test_a_pipe_in_a_journal_s_place_holds_nobody_up(catalog: Catalog) -> None:
    catalog.add(MANY, row(0))
    os.mkfifo(journal_of(record(catalog)))
    assert fresh(catalog) == row(0)
    catalog.add(MANY, row(1))
    catalog.add(MANY, row(2))
    assert fresh(catalog) == rows(0, 1, 2)
    remove_pin(catalog, MANY)
    assert catalog.pin(REPO, MANY.commit) is None


def test_a_reader_that_a_fold_overtakes_misses_no_line(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.add(MANY, row(0))
    catalog.add(MANY, row(1))
    other, plain = Catalog(catalog.state_dir), journal._read
    folds = [lambda: (monkeypatch.setattr(journal, "SLACK", -(1 << 20)), other.add(MANY, row(2)))]

    def overtaken(path: str, start: int) -> tuple[int, bytes]:
        found = plain(path, start)
        if folds and path == journals_of(record(catalog))[0]:
            folds.pop()()
        return found

    monkeypatch.setattr(journal, "_read", overtaken)
    reader = Catalog(catalog.state_dir)
    assert {"row-0.json", "row-1.json"} <= reader.place(MANY, CACHE).files.keys()
    assert not folds
    assert reader.place(MANY, CACHE) == rows(0, 1, 2)


def test_a_bad_record_is_replaced_and_takes_no_lines(catalog: Catalog) -> None:
    for number in (0, 1):
        catalog.add(MANY, row(number))
    record(catalog).write_text("{}")
    assert catalog.place(MANY, CACHE) == fresh(catalog) == Place(CACHE)
    catalog.add(MANY, row(2))
    assert catalog.place(MANY, CACHE) == fresh(catalog) == row(2)


# -- pins by their CID ----------------------------------------------------------------------------------------


def test_what_is_learned_of_a_pin_of_others_is_a_line(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "state")
    files = {path: file._replace(sha256="", dag_size=0) for path, file in MANY.files.items()}
    pin = MANY._replace(files=files, origin="ipfs", root_cid=MANY.root)
    catalog.add(pin)
    path = catalog.pin_path(REPO, pin.commit)
    whole = path.read_bytes()
    for name in list(files)[:9]:
        catalog.add(pin._replace(files={name: MANY.files[name]}))
    assert path.read_bytes() == whole
    known = {**files, **{name: MANY.files[name] for name in list(files)[:9]}}
    for reader in (catalog, Catalog(catalog.state_dir)):
        found = reader.pin(REPO, pin.commit)
        assert found is not None
        assert found.files == known
        assert list(reader.pins()) == [found]
    # More than that is said by the record itself.
    catalog.add(pin._replace(files={}, info={"tags": []}))
    assert not journal_of(path).exists()
    assert next(Catalog(catalog.state_dir).pins()).files == known


def test_the_record_of_a_pin_names_its_root(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "state")
    for pin in (PIN, PIN._replace(files={"b.json": pinned(b"b")})):
        found = catalog.add(pin)
        assert json.loads(catalog.pin_path(PIN.repo, PIN.commit).read_bytes())["root"] == found.root


# -- removal --------------------------------------------------------------------------------------------------


def test_a_journal_goes_with_its_record(catalog: Catalog) -> None:
    for number in (0, 1):
        catalog.add(MANY, row(number))
    append(catalog.pin_path(REPO, MANY.commit), {"files": {}})
    journal.set_aside(record(catalog))
    catalog.add(MANY, row(2))
    assert len(list(catalog.state_dir.rglob("*.jsonl"))) == 3
    catalog.remove(MANY)
    assert list(catalog.state_dir.rglob("*.json*")) == []


def test_a_place_is_forgotten_with_its_journal(catalog: Catalog) -> None:
    for number in (0, 1):
        catalog.add(MANY, row(number))
    catalog.forget_place(MANY, CACHE)
    assert list(catalog.state_dir.glob("places/*/*")) == []
    assert catalog.place(MANY, CACHE) == Place(CACHE)


def test_the_journal_of_a_record_that_went_is_nobody_s(catalog: Catalog) -> None:
    """It says what was ours: of files that another hand may have written since."""
    for number in (0, 1):
        catalog.add(MANY, row(number))
    record(catalog).unlink()
    assert catalog.place(MANY, CACHE) == fresh(catalog) == Place(CACHE)
    catalog.add(MANY, row(2))
    assert catalog.place(MANY, CACHE) == fresh(catalog) == row(2)


# -- calls ----------------------------------------------------------------------------------------------------


class Deadly(MemorySource):
    """Its process dies when it is asked for the 50th block."""

    def block(self, cid: CID) -> bytes:
        return super().block(cid) if self.asked < 49 else os._exit(9)


def test_a_file_is_ours_also_where_its_call_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = make_resolver(tmp_path)
    pin = resolver.catalog.add(MANY)
    blocks = {CID.parse(file.cid): ROWS[path] for path, file in pin.files.items()}
    # One after the other: at which step one is that is brought beside it, nobody knows.
    monkeypatch.setattr(Early, "begin", lambda *_: None)
    repo = resolver.bind(pin, "main", [Deadly(blocks)])
    assert ended(in_a_child(lambda: repo.deliver(list(ROWS)))) == 9
    here = {path.name for path in repo.cache.folder.glob("snapshots/*/*")}
    assert len(here) == 49
    again = make_resolver(tmp_path)
    assert again.bind(pin, "main", [MemorySource(blocks)]).deliver(sorted(here))
    removal = remove_pin(again.catalog, pin)
    assert removal.kept == {}
    assert [path for path in repo.cache.folder.rglob("*") if not path.is_dir()] == []


def test_files_that_come_one_by_one_write_few_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver, names = make_resolver(tmp_path), list(ROWS)[:80]
    pin = resolver.catalog.add(MANY)
    replaced: list[str] = []
    plain = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (replaced.append(Path(new).name), plain(old, new))[1])
    repo = resolver.bind(pin, "main", [MemorySource({CID.parse(pin.files[name].cid): ROWS[name] for name in names})])
    assert all(repo.deliver([name]) for name in names)
    assert len([name for name in replaced if name.startswith(pin.commit)]) < 9
    assert resolver.catalog.place(pin, resolver.default_cache).files.keys() == set(names)


@pytest.mark.parametrize("path", ["row-1.json", "absent.json"])
def test_a_full_disk_of_the_records_is_called_by_its_name(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = make_resolver(tmp_path)
    pin = resolver.catalog.add(MANY)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(catalog_module, "write_json", full)
    assert resolver.bind(pin, "main", [MemorySource({CID.parse(pin.files["row-1.json"].cid): b"1"})]).deliver([path])
    assert f"{resolver.catalog.state_dir} cannot be written" in caplog.text
    assert f"{resolver.default_cache} cannot be written" not in caplog.text
