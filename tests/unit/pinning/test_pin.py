from __future__ import annotations

import json
from typing import Any

import pytest

from pin_rooms import PIN, pinned
from pinformers._errors import PinError
from pinformers.pinning.pin import Pin, check_path, check_repo, check_revision, merge, repo_folder


def test_json_and_back() -> None:
    value = json.loads(json.dumps(PIN.to_json()))
    assert Pin.from_json(value) == PIN
    assert value["root"] == PIN.root == str(PIN.directory().cid)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", ".", "a/.", "a\\b", "a\x00b", "a/", "a\nb", "\x1b[31m", "\x9b31m"],
)
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(PinError, match="not a relative path"):
        check_path(path)
    value = {**PIN.to_json(), "files": {path: PIN.files["a.json"].to_json()}}
    with pytest.raises(PinError):
        Pin.from_json(value)


@pytest.mark.parametrize("repo", ["", "a/b/c", "../x", ".hidden/x", "a b", "-x/y", "a/..b..", "ipfs://x"])
def test_a_repo_name_that_is_none_is_refused(repo: str) -> None:
    with pytest.raises(PinError, match="org/model"):
        check_repo(repo)


@pytest.mark.parametrize("revision", ["", "../../x", "a//b", "a b", "x\ny", "/x"])
def test_a_revision_that_is_none_is_refused(revision: str) -> None:
    with pytest.raises(PinError, match="revision"):
        check_revision(revision)


def test_folders_are_named_as_huggingface_hub_names_them() -> None:
    from huggingface_hub.file_download import repo_folder_name

    for repo in ("gpt2", "org/model", "a-b/c.d_e"):
        assert repo_folder(repo, "model") == repo_folder_name(repo_id=repo, repo_type="model")
        assert repo_folder(repo, "dataset") == repo_folder_name(repo_id=repo, repo_type="dataset")


@pytest.mark.parametrize(
    "change",
    [{"files": None}, {"files": {"a": {}}}, {"repo": "../x"}, {"files": {"a": {"cid": "nonsense"}}}, {"commit": 3}],
)
def test_a_record_that_is_no_pin_is_one_sentence(change: dict[str, Any]) -> None:
    with pytest.raises(PinError):
        Pin.from_json({**PIN.to_json(), **change})


def test_merge_keeps_what_was_pinned_and_learns_the_rest() -> None:
    other = PIN._replace(
        files={"a.json": pinned(b"DIFFERENT"), "b.json": pinned(b"b")}, others={}, info={"pipeline_tag": "x"}
    )
    merged = merge(PIN, other)
    assert merged.files["a.json"] == PIN.files["a.json"]
    assert set(merged.files) == {"a.json", "b.json"}
    assert merged.others == {"big.bin": {"size": 9}}
    assert merged.info == {"pipeline_tag": "x"}
    assert not merged.complete


def test_listing_is_known_only_when_it_is_complete() -> None:
    assert set(PIN.listing or ()) == {"a.json", "big.bin"}
    assert PIN._replace(listed=False).listing is None
    assert PIN._replace(others={}).complete


def test_the_etag_is_the_hub_s() -> None:
    assert pinned(b"x", blob_id="b" * 40).etag == "b" * 40
    assert pinned(b"x", blob_id="b" * 40, lfs_sha256="a" * 64).etag == "a" * 64
    assert pinned(b"x").etag is None
    assert pinned(b"x", blob_id="../../x").etag is None
