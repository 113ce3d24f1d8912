from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, REPO, MemorySource, make_resolver, write_folder
from pinformers._composition import build_sharing
from pinformers._errors import PinError, SourceUnavailable
from pinformers._settings import Settings
from pinformers.ipfs import CID
from pinformers.pinning import access
from pinformers.pinning.access import Gate, for_others, received, said
from pinformers.pinning.adoption import model_facts
from pinformers.pinning.catalog import Catalog, Place
from pinformers.pinning.folder import pin_folder
from pinformers.pinning.hub_pins import Wanted, pin_model
from pinformers.pinning.lockfile import Lock, parse_lock, render_lock
from pinformers.pinning.pin import Pin
from pinformers.pinning.resolver import Resolver
from pinformers.pinning.shared_tree import read_pin

TOKEN = "hf_passes"
CONFIG = {"config.json": FILES["config.json"]}
OPEN: Mapping[str, Any] = {"private": False, "gated": False}
GATED, PRIVATE = {"private": False, "gated": "auto"}, {"private": True, "gated": False}


@pytest.fixture(autouse=True)
def endpoint(hub: HubStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has no token yet, whose hub is the stub."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.fixture
def pin(tmp_path: Path, hub: HubStub) -> Pin:
    """A model on the hub and what another machine pins of it; nothing is said of who may have it."""
    folder = write_folder(tmp_path / "folder", CONFIG)
    made = pin_folder(make_resolver(tmp_path / "elsewhere"), folder, REPO).pin
    return made._replace(origin="hub", commit=hub.add(REPO, CONFIG))


def with_info(pin: Pin, info: Mapping[str, Any] | None) -> Pin:
    return pin._replace(info=info)


def gate(tmp_path: Path, *, kept: bool = True, hub_allowed: bool = True) -> Gate:
    return Gate(Catalog(tmp_path / "pinformers"), kept=kept, hub_allowed=hub_allowed)


# -- what is known --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "word"),
    [
        (None, "unknown"),
        ({"tags": []}, "unknown"),
        ({"gated": False}, "unknown"),
        (OPEN, "open"),
        (PRIVATE, "private"),
        (GATED, "gated"),
        ({"gated": "manual"}, "gated"),
    ],
)
def test_what_the_record_says(pin: Pin, info: Mapping[str, Any] | None, word: str) -> None:
    assert said(with_info(pin, info)) == word
    assert said(pin._replace(info=info, origin="folder")) == "open"


@pytest.mark.parametrize(
    ("lock", "word"), [({}, "open"), ({"gated_token": TOKEN}, "gated"), ({"private_token": TOKEN}, "private")]
)
def test_what_is_pinned_from_the_hub_says_it(
    hub: HubStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: dict[str, str], word: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add(REPO, CONFIG, **lock)  # type: ignore[arg-type]
    resolver = make_resolver(tmp_path)
    assert said(pin_model(resolver, Wanted(REPO), lambda _: lambda _: None).pin) == word


def test_who_waits_for_the_hub_holds_up_no_other_model(
    pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = threading.Event(), threading.Event()

    def access_of(one: Pin) -> str:
        if one.repo == "org/slow":
            asked.set()
            assert answers.wait(10)
        return "open"

    monkeypatch.setattr(access, "access_of_all", access_of)
    monkeypatch.setattr(access, "access_denied", lambda one: access_of(one) and "")
    between, slow = gate(tmp_path), pin._replace(repo="org/slow")
    for ask, info in ((between.access, None), (between.entering, GATED)):
        asked.clear()
        answers.clear()
        with ThreadPoolExecutor(2) as pool:
            waiting = pool.submit(ask, with_info(slow, info))
            assert asked.wait(10)
            try:
                assert pool.submit(ask, with_info(pin, info)).result(5) in ("open", "")
                assert between.access(slow, ask=False) in ("unknown", "open")
                assert not waiting.done()
            finally:
                answers.set()


# -- coming in ------------------------------------------------------------------------------------------------


def pinned_elsewhere(folder: Path, pin: Pin, *, local: bool, **settings: object) -> tuple[Resolver, MemorySource]:
    """A machine with an empty cache that knows the pin, and a source that has its blocks."""
    resolver = make_resolver(folder, **settings)
    source = MemorySource({CID.parse(pin.files["config.json"].cid): FILES["config.json"]})
    source.local = local
    resolver.sources = [source]
    resolver.catalog.add(pin)
    return resolver, source


def deliver(resolver: Resolver, pin: Pin) -> bool:
    found = resolver.find(REPO, pin.commit)
    assert found is not None
    return found.deliver(["config.json"])


@pytest.mark.parametrize("info", [None, OPEN])
def test_what_is_not_known_to_be_kept_comes_without_a_question(
    hub: HubStub, pin: Pin, tmp_path: Path, info: Mapping[str, Any] | None
) -> None:
    resolver, source = pinned_elsewhere(tmp_path, with_info(pin, info), local=False)
    assert deliver(resolver, pin)
    assert source.asked == 1 and hub.requests == []


@pytest.mark.parametrize("info", [GATED, PRIVATE])
def test_another_machine_is_not_asked_for_what_the_hub_does_not_let_pass(
    hub: HubStub, pin: Pin, tmp_path: Path, caplog: pytest.LogCaptureFixture, info: Mapping[str, Any]
) -> None:
    hub.add(REPO, CONFIG, **{"gated_token" if info is GATED else "private_token": TOKEN})  # type: ignore[arg-type]
    resolver, source = pinned_elsewhere(tmp_path, with_info(pin, info), local=False)
    assert not deliver(resolver, pin)
    assert not deliver(resolver, pin)
    assert source.asked == 0 and hub.count() == 1, "once in a process"
    assert f"the hub keeps it {'gated' if info is GATED else 'private'}" in caplog.text


def test_it_is_where_the_token_passes_and_a_hit_asks_nobody(
    hub: HubStub, pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add(REPO, CONFIG, gated_token=TOKEN)
    resolver, source = pinned_elsewhere(tmp_path, with_info(pin, GATED), local=False)
    assert deliver(resolver, pin)
    assert (source.asked, hub.count(kind="auth"), hub.count()) == (1, 1, 1)
    monkeypatch.delenv("HF_TOKEN")
    assert deliver(make_resolver(tmp_path), pin), "as from the hub cache of plain transformers"
    assert hub.count() == 1


@pytest.mark.parametrize("how", ["share", "local"])
def test_nobody_is_asked_where_it_is_shared_or_lies_on_this_machine(
    hub: HubStub, pin: Pin, tmp_path: Path, how: str
) -> None:
    resolver, source = pinned_elsewhere(
        tmp_path, with_info(pin, GATED), local=how == "local", gated="share" if how == "share" else "keep"
    )
    assert (deliver(resolver, pin), source.asked) == (True, 1)
    assert hub.count() == (1 if how == "local" else 0)


def test_a_hub_that_is_away_lets_nothing_pass(hub: HubStub, pin: Pin, tmp_path: Path) -> None:
    hub.stop()
    assert "the hub did not answer" in gate(tmp_path).entering(with_info(pin, GATED))
    assert "the settings do not" in gate(tmp_path, hub_allowed=False).entering(with_info(pin, GATED))


def test_a_strict_machine_says_why(hub: HubStub, pin: Pin, tmp_path: Path) -> None:
    resolver, source = pinned_elsewhere(tmp_path, with_info(pin, GATED), local=False, on_miss="error")
    with pytest.raises(PinError, match="the hub keeps it gated"):
        deliver(resolver, pin)
    assert source.asked == 0 and hub.requests == []


# -- going out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lock", "word"), [({}, "open"), ({"gated_token": TOKEN}, "gated"), ({"private_token": TOKEN}, "private")]
)
def test_the_hub_is_asked_once_as_anybody_would(
    hub: HubStub, pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: dict[str, str], word: str
) -> None:
    # The token of who publishes is no answer to who may have it.
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add(REPO, CONFIG, **lock)  # type: ignore[arg-type]
    asked = gate(tmp_path)
    assert asked.access(pin, ask=False) == "unknown"
    assert [asked.access(pin), asked.access(pin)] == [word, word]
    # The hub's client asks of itself, once in a process, for a list of agents.
    assert hub.count(kind="info") == 1


def test_what_is_not_known_is_not_offered_by_itself(hub: HubStub, pin: Pin, tmp_path: Path) -> None:
    hub.stop()
    asked = gate(tmp_path)
    assert [asked.access(pin), asked.access(pin)] == ["unknown", "unknown"]
    with pytest.raises(PinError, match=r"is not known .the hub did not answer.* set gated to 'share'"):
        asked.check(pin, by_itself=True)
    with pytest.raises(PinError, match="the settings do not let it be asked"):
        gate(tmp_path, hub_allowed=False).check(pin, by_itself=True)
    # Whoever gives a command has looked at it.
    asked.check(pin)
    assert not asked.kept(pin)
    gate(tmp_path, kept=False).check(with_info(pin, GATED))


def test_what_came_from_others_goes_on(hub: HubStub, pin: Pin, tmp_path: Path) -> None:
    resolver, _ = pinned_elsewhere(tmp_path, pin, local=False)
    assert not received(resolver.catalog, pin)
    assert deliver(resolver, pin)
    assert received(resolver.catalog, pin)
    assert Gate(resolver.catalog, kept=True, hub_allowed=True).access(pin) == "open"
    assert hub.requests == []
    with pytest.raises(PinError, match="keeps it gated"):
        Gate(resolver.catalog, kept=True, hub_allowed=True).check(with_info(pin, GATED))


def test_a_file_that_the_hub_sent_is_not_received(pin: Pin, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "pinformers")
    more = pin._replace(files={**pin.files, "b": pin.files["config.json"]})
    catalog.add(more, Place(str(tmp_path / "hub"), {}, frozenset({f"snapshots/{pin.commit}/config.json"})))
    assert not received(catalog, more)


# -- what others are told -------------------------------------------------------------------------------------


def test_the_words_that_go_along(pin: Pin) -> None:
    assert for_others(with_info(pin, {"tags": [], **OPEN})).info == {"tags": []}
    assert for_others(with_info(pin, None)).info is None
    for info, word in ((GATED, {"gated": "auto"}), (PRIVATE, {"private": True})):
        written = for_others(with_info(pin, info))
        assert written.info == word
        locked = parse_lock(render_lock(Lock({(REPO, "main"): with_info(pin, info)}))).find(REPO)
        assert locked is not None and said(locked) == said(written) == said(
            read_pin(written.to_json(), REPO, pin.commit)
        )


def test_words_that_the_hub_never_says_are_dropped(pin: Pin) -> None:
    value = with_info(pin, {"gated": 7, "private": "yes", "tags": []}).to_json()
    assert read_pin(value, REPO, pin.commit).info == {"tags": []}


def test_a_hub_that_says_nothing_of_it() -> None:
    assert model_facts(object()).info == {"pipeline_tag": None, "library_name": None, "tags": None}


# -- after a load ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("publish", ["auto", "required"])
def test_what_is_kept_is_left_out_for_good(
    pin: Pin, tmp_path: Path, caplog: pytest.LogCaptureFixture, publish: str
) -> None:
    caplog.set_level("INFO", "pinformers")
    assert offering(tmp_path, publish)(with_info(pin, GATED), lambda: False)
    assert "is not published: org/model: the hub keeps it gated" in caplog.text


def test_what_is_not_known_is_tried_again(
    hub: HubStub, pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.stop()
    monkeypatch.setattr("pinformers.sources.kubo.KuboNode.version", lambda _: "0.43.0")
    # A pin that is not published is offered anew when it is loaded: nothing is kept for that.
    assert offering(tmp_path, "auto")(pin, lambda: False)
    with pytest.raises(PinError, match="is not known"):
        offering(tmp_path, "required")(pin, lambda: False)


@pytest.mark.parametrize("publish", ["auto", "required"])
def test_where_no_daemon_answers_the_hub_is_not_asked(hub: HubStub, pin: Pin, tmp_path: Path, publish: str) -> None:
    hub.reset()
    with suppress(SourceUnavailable):
        offering(tmp_path, publish)(pin, lambda: False)
    assert hub.count() == 0


def offering(tmp_path: Path, publish: Any) -> Any:
    # Nobody listens at the discard port: what gets that far fails otherwise.
    settings = Settings(
        cache_dir=tmp_path / "hub", state_dir=tmp_path / "pinformers", publish=publish, kubo_api="/ip4/127.0.0.1/tcp/9"
    )
    return build_sharing(settings).publisher()
