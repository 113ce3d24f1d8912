"""What the command line hands to other machines of models that the hub keeps private or gated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli_rooms import invoke, settle
from pin_rooms import make_resolver, write_folder
from pinformers.pinning.folder import pin_folder

Pin = Callable[..., None]
NOWHERE = "/ip4/127.0.0.1/tcp/9"


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """Pin a model whose files lie in the hub cache as if the hub had sent them, which says ``info`` of it."""
    settle(monkeypatch, tmp_path, sources="embedded,kubo", kubo_api=NOWHERE)
    resolver = make_resolver(tmp_path)

    def made(name: str, **info: Any) -> None:
        found = pin_folder(resolver, write_folder(tmp_path / "folder"), name).pin
        record = resolver.catalog.pin_path(name, found.commit)
        (place,) = resolver.catalog.places(found)
        resolver.catalog.place_path(found, place.cache_dir).unlink()
        record.unlink()
        hub = found._replace(origin="hub", info=info or None)
        resolver.catalog.add(hub, place._replace(made=frozenset()))

    return made


def test_a_gated_model_is_neither_pushed_nor_exported(pin: Pin, tmp_path: Path) -> None:
    pin("org/gated", private=False, gated="manual")
    for command in (["push", "org/gated"], ["export", "org/gated", "-o", str(tmp_path / "model.car")]):
        said = invoke(*command, code=1)
        assert said.stdout == ""
        assert said.stderr == (
            "pinformers: org/gated: the hub keeps it gated, so it stays on this machine; "
            "where all who can reach it may have it, set gated to 'share'\n"
        )
    assert not (tmp_path / "model.car").exists()


def test_it_is_where_the_setting_shares_it(pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINFORMERS_GATED", "share")
    pin("org/gated", private=False, gated="manual")
    assert "It is pinned here and not published. No Kubo daemon" in invoke("push", "org/gated", code=1).stderr
    invoke("export", "org/gated", "-o", str(tmp_path / "model.car"))
    assert b'"gated": "manual"' in (tmp_path / "model.car").read_bytes()


def test_what_is_not_known_goes_out_with_a_word_where_somebody_says_so(pin: Pin, tmp_path: Path) -> None:
    pin("org/model")
    said = invoke("export", "org/model", "-o", str(tmp_path / "model.car"))
    assert "Whether the hub gives org/model to everyone is not known" in said.stderr
    for command in (["push", "org/model"], ["catalog", "publish"]):
        assert "Whether the hub gives org/model to everyone is not known" in invoke(*command, code=1).stderr


def test_a_catalog_names_only_what_is_open(pin: Pin) -> None:
    pin("org/private", private=True, gated=False)
    for named in ([], ["org/private"]):
        assert "org/private: the hub keeps it private" in invoke("catalog", "publish", *named, code=1).stderr
    pin("org/open", private=False, gated=False)
    assert "org/private: the hub keeps it private" in invoke("catalog", "publish", "org/private", code=1).stderr
    said = invoke("catalog", "publish", code=1).stderr.splitlines()
    assert said[0] == "Left out, as the hub does not give it to everyone: org/private."
    assert said[1].startswith(f"pinformers: Nothing was published. No Kubo daemon can be used at {NOWHERE}: ")
    assert "`ipfs daemon`" in said[1] and "PINFORMERS_KUBO_API" in said[1]
    assert "Left out" not in invoke("catalog", "publish", "org/open", code=1).stderr


def test_what_lists_a_model_says_that_it_is_private_or_gated(pin: Pin) -> None:
    pin("org/gated", private=False, gated="manual")
    pin("org/open", private=False, gated=False)
    said = {line["model"]: line["access"] for line in json.loads(invoke("ls", "--json").stdout)}
    assert said == {"org/gated": "gated", "org/open": "open"}
    words = [line.split()[-3:-1] for line in invoke("ls").stdout.splitlines()[1:3]]
    assert words == [["hub,", "gated"], ["MB", "hub"]]
    for name, word in said.items():
        assert json.loads(invoke("explain", name, "--json").stdout)["access"] == word
    assert "access    gated: the hub gives it to" in invoke("explain", "org/gated").stdout
    assert "\naccess" not in invoke("explain", "org/open").stdout
