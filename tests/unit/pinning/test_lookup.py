from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, PIN, REPO, MemorySource, pinned
from pinformers._errors import LockMismatch, NotLocked, PinError, SourceUnavailable
from pinformers.ipfs.cid import CID
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.lockfile import Lock as LockFile
from pinformers.pinning.lookup import Found, Lookup
from pinformers.pinning.pin import Pin
from pinformers.pinning.resolver import Policy, Resolver

NEWER = PIN._replace(commit="d" * 40, files={"a.json": pinned(b"newer")})
OTHER = PIN._replace(files={"a.json": pinned(b"other bytes")})


class Names:
    """A catalog that names pins by repo and revision, and counts what it is asked."""

    def __init__(self, label: str, pins: Mapping[tuple[str, str], Pin], problem: Exception | None = None) -> None:
        self.label, self.pins, self.problem, self.asked = label, pins, problem, 0

    def find(self, repo: str, revision: str) -> Found | None:
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        pin = self.pins.get((repo, revision))
        return None if pin is None else Found(pin, self.label, f"{self.label} names it", 5)


class Lock(Names):
    def find(self, repo: str, revision: str) -> Pin | None:  # type: ignore[override]
        return self.pins.get((repo, revision))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "pinformers")


def resolver(lookup: Lookup, tmp_path: Path, **policy: object) -> Resolver:
    return Resolver(lookup, lambda: str(tmp_path / "hub"), [], Policy(**policy), None)  # type: ignore[arg-type]


def test_the_lockfile_wins_over_the_local_catalog_and_that_over_shared_ones(catalog: Catalog, tmp_path: Path) -> None:
    shelf = Names("shared", {(REPO, "main"): PIN, (REPO, "v1"): PIN})
    lock = Lock("pinformers.lock", {(REPO, "main"): PIN})
    catalog.add(NEWER)
    catalog.set_ref(REPO, "main", NEWER.commit)
    catalog.set_ref(REPO, "v2", NEWER.commit)
    resolve = resolver(Lookup(catalog, lambda: lock, lambda: [shelf]), tmp_path).find
    found = {revision: resolve(REPO, revision) for revision in (None, "main", "v1", "v2", "v3", NEWER.commit)}
    commits = {revision: pinned.commit if pinned is not None else None for revision, pinned in found.items()}
    assert commits == {
        None: PIN.commit,
        "main": PIN.commit,
        "v1": PIN.commit,
        "v2": NEWER.commit,
        "v3": None,
        NEWER.commit: NEWER.commit,
    }
    assert shelf.asked == 2


def test_what_a_shared_catalog_named_is_ours_from_then_on(catalog: Catalog, tmp_path: Path) -> None:
    shelf = Names("shared", {(REPO, "main"): PIN})
    resolve = resolver(Lookup(catalog, shelves=lambda: [shelf]), tmp_path).find
    assert resolve(REPO, None) is not None
    assert resolve(REPO, None) is not None
    assert shelf.asked == 1
    kept = catalog.pin(REPO, PIN.commit)
    assert kept is not None and kept.learned == "shared"
    assert catalog.ref(REPO, "main") == (PIN.commit, 5)


def test_shared_catalogs_are_asked_in_their_order_and_one_that_fails_denies_nothing(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Names("bad", {}, SourceUnavailable("bad", "it is away"))
    first, second = Names("first", {(REPO, "main"): PIN}), Names("second", {(REPO, "main"): NEWER})
    resolve = resolver(Lookup(catalog, shelves=lambda: [bad, first, second]), tmp_path).find
    found = resolve(REPO, "main")
    assert found is not None and found.commit == PIN.commit
    assert second.asked == 0
    assert [record.getMessage() for record in caplog.records if "away" in record.getMessage()] == [str(bad.problem)]


def test_a_shared_catalog_that_names_other_bytes_for_a_known_file_is_refused(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalog.add(PIN)
    shelf = Names("shared", {(REPO, "main"): OTHER})
    assert resolver(Lookup(catalog, shelves=lambda: [shelf]), tmp_path).find(REPO, "main") is None
    assert "it is refused" in caplog.text
    assert catalog.pin(REPO, PIN.commit) == PIN


def test_a_catalog_that_names_other_bytes_for_a_locked_commit_is_refused_under_any_name(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = LockFile({(REPO, "main"): PIN})
    liar, honest = Names("liar", {(REPO, "v1"): OTHER}), Names("honest", {(REPO, "v1"): PIN})
    found = resolver(Lookup(catalog, lambda: lock, lambda: [liar, honest]), tmp_path).find(REPO, "v1")
    assert found is not None and found.pin.files == PIN.files
    said = f"it says {OTHER.root} for {REPO}@{PIN.commit[:12]} and pinformers.lock {PIN.root}"
    assert f"The catalog liar is refused: {said}." in caplog.text


def test_what_a_catalog_said_before_yields_to_the_lockfile_while_no_file_of_it_is_here(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    liar = Names("liar", {(REPO, "v1"): OTHER})
    assert resolver(Lookup(catalog, shelves=lambda: [liar]), tmp_path).find(REPO, "v1") is not None
    locked = resolver(Lookup(catalog, lambda: Lock("pinformers.lock", {(REPO, "main"): PIN})), tmp_path)
    found = locked.resolve(REPO, "main")
    assert found is not None and found.pin.files == PIN.files
    assert "What liar said of" in caplog.text
    # Bytes that are here are another matter.
    catalog.remove(found.pin)
    cache = str(tmp_path / "hub")
    catalog.add(OTHER._replace(learned="liar"), Place(cache, dict.fromkeys(OTHER.files, (1, 1, 1))))
    with pytest.raises(LockMismatch):
        locked.resolve(REPO, "main")


def test_the_lockfile_holds_where_what_a_catalog_said_cannot_be_forgotten(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    catalog.add(OTHER._replace(learned="liar"))
    for writes in ("remove", "add"):
        monkeypatch.setattr(Catalog, writes, refuse)
    found = resolver(Lookup(catalog, lambda: Lock("pinformers.lock", {(REPO, "main"): PIN})), tmp_path).resolve(
        REPO, "main"
    )
    assert found is not None and found.pin.files == PIN.files
    said = f"What others name cannot be recorded in {catalog.state_dir}: Permission denied."
    assert [record.getMessage() for record in caplog.records if "recorded" in record.getMessage()] == [said]
    assert "is forgotten" not in caplog.text


def test_a_file_that_no_load_wanted_before_is_asked_of_shared_catalogs(catalog: Catalog, tmp_path: Path) -> None:
    files = {path: pinned(content) for path, content in FILES.items()}
    blocks = MemorySource({CID.parse(file.cid): FILES[path] for path, file in files.items()})
    whole = PIN._replace(files=files, listed=True)
    part = whole._replace(files={"config.json": whole.files["config.json"]}, listed=False)
    catalog.add(part)
    catalog.set_ref(REPO, "main", part.commit)
    shelf = Names("shared", {(REPO, part.commit): whole})
    lookup = Lookup(catalog, shelves=lambda: [shelf])
    here = Resolver(lookup, lambda: str(tmp_path / "hub"), [blocks], Policy(), None)
    found = here.resolve(REPO, None)
    assert found is not None
    assert found.deliver(["config.json"]) and shelf.asked == 0
    assert not found.deliver(["sub/vocab.txt"], local=True) and shelf.asked == 0
    assert found.deliver(["sub/vocab.txt", "config.json"]) and shelf.asked == 1
    # What it knows is ours from now on, and what it does not know is not asked for again.
    assert not found.deliver(["other.bin"]) or found.has("other.bin") is False
    again = here.resolve(REPO, None)
    assert again is not None and again.pin.files == whole.files
    assert shelf.asked == 1


def test_a_local_pin_of_other_bytes_than_the_lockfile_names_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add(OTHER)
    lock = Lock("pinformers.lock", {(REPO, "main"): PIN})
    with pytest.raises(LockMismatch, match=r"pinformers\.lock names"):
        resolver(Lookup(catalog, lambda: lock), tmp_path).resolve(REPO, "main")


def test_records_that_cannot_be_written_deny_nothing(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A file stands where the folder of the records should be.
    (tmp_path / "pinformers").write_bytes(b"")
    lock = Lock("pinformers.lock", {(REPO, "main"): PIN})
    shelf = Names("shared", {(REPO, "v1"): NEWER})
    resolve = resolver(Lookup(catalog, lambda: lock, lambda: [shelf]), tmp_path).find
    for revision, pin in (("main", PIN), ("v1", NEWER)) * 2:
        found = resolve(REPO, revision)
        assert found is not None and found.commit == pin.commit
    # Whatever it is of that cannot be written.
    said = [record.getMessage() for record in caplog.records if "cannot be recorded" in record.getMessage()]
    assert said and len(said) == len(set(said)) and not [line for line in said if "Errno" in line or "models--" in line]


def test_two_catalogs_that_fail_in_turn_are_warned_of_once(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelves = [Names(name, {}, SourceUnavailable(name, "it is away")) for name in ("one", "two")]
    resolve = resolver(Lookup(catalog, shelves=lambda: shelves), tmp_path).find
    for _ in range(2):
        assert resolve(REPO, "main") is None
    assert [record.getMessage() for record in caplog.records] == [str(shelf.problem) for shelf in shelves]


def test_locked_refuses_whatever_is_not_in_the_lockfile(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add(NEWER)
    catalog.set_ref(REPO, "main", NEWER.commit)
    shelf = Names("shared", {(REPO, "v1"): PIN})
    lock = Lock("pinformers.lock", {("org/else", "main"): PIN})
    for held in (lambda: lock, lambda: None):
        locked = resolver(Lookup(catalog, held, lambda: [shelf], locked=True), tmp_path, locked=True)
        for revision in ("main", "v1", NEWER.commit):
            with pytest.raises(NotLocked, match="pinformers lock org/model"):
                locked.resolve(REPO, revision)
    assert shelf.asked == 0


def test_locked_has_missing_files_from_the_hub_and_verifies_them_before_the_load(
    hub: HubStub, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    # Where huggingface_hub builds URLs: 2.x in the first module, 0.x in the second.
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    # Its client tries again for many seconds.
    commit = hub.add(REPO, dict(FILES))
    good = Pin(REPO, commit, {"config.json": pinned(FILES["config.json"])})
    bad = Pin(REPO, commit, {"config.json": pinned(b"{}")})
    for number, (pin, served) in enumerate(((good, True), (bad, False))):
        room = tmp_path / str(number)
        lookup = Lookup(Catalog(room / "pinformers"), lambda pin=pin: Lock("l", {(REPO, "main"): pin}), locked=True)  # type: ignore[misc]
        found = resolver(lookup, room, locked=True).resolve(REPO, "main")
        assert found is not None
        if served:
            assert found.deliver(["config.json"])
        else:
            with pytest.raises(PinError, match="the hub sent other bytes than the pin names"):
                found.deliver(["config.json"])


def test_a_source_that_was_tried_in_vain_is_warned_of_and_named_by_explain(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(MemorySource):
        def block(self, cid: object) -> bytes:
            raise SourceUnavailable(self.name, "connection refused")

    content = b"content"
    catalog.add(Pin(REPO, PIN.commit, {"a.json": pinned(content)}))
    catalog.set_ref(REPO, "main", PIN.commit)
    good = MemorySource({CID.parse(pinned(content).cid): content}, "good")
    asked = Resolver(Lookup(catalog), lambda: str(tmp_path / "hub"), [Away({}, "away"), good], Policy(), None)
    found = asked.resolve(REPO, "main")
    assert found is not None and found.deliver(["a.json"])
    assert "away was tried for org/model and failed: connection refused. Others delivered it." in caplog.text
    served = asked.ledger.served(REPO, PIN.commit, "a.json")
    assert served is not None
    assert (served.source, served.why) == (
        "good",
        "every block was verified (tried before: away: connection refused)",
    )
