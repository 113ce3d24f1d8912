"""The stand-in hub, seen through the real huggingface_hub client."""

from __future__ import annotations

import hashlib
import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hub_content import git_oid
from hub_stub import HubStub

REPO = "tiny/bert"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": bytes(range(256)) * 40,
    "onnx/model.onnx": b"onnx bytes",
    "sub/deep/notes.txt": b"notes",
}


@pytest.fixture
def commit(hub: HubStub) -> str:
    return hub.add(REPO, FILES, pipeline_tag="fill-mask", tags=["transformers", "bert"])


def download(hub: HubStub, cache: Path, file: str, revision: str | None = None, token: str | bool = False) -> Path:
    return Path(
        hf_hub_download(REPO, file, revision=revision, cache_dir=cache, endpoint=hub.url, token=token, etag_timeout=5)
    )


def raw(hub: HubStub, method: str, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_download_makes_the_cache_layout_of_the_hub(hub: HubStub, commit: str, tmp_path: Path) -> None:
    small, large = download(hub, tmp_path, "config.json"), download(hub, tmp_path, "model.safetensors")
    repo = tmp_path / "models--tiny--bert"
    assert small == repo / "snapshots" / commit / "config.json"
    assert small.resolve() == repo / "blobs" / git_oid("blob", FILES["config.json"])
    assert large.resolve() == repo / "blobs" / hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert large.read_bytes() == FILES["model.safetensors"]
    assert (repo / "refs" / "main").read_text() == commit


def test_requests_are_written_down(hub: HubStub, commit: str, tmp_path: Path) -> None:
    download(hub, tmp_path, "config.json")
    kinds = [(seen.method, seen.kind, seen.repo, seen.file, seen.status) for seen in hub.requests]
    assert kinds == [
        ("HEAD", "file_head", REPO, "config.json", 200),
        ("GET", "file", REPO, "config.json", 200),
    ]
    assert hub.count() == 2
    assert hub.count(kind="file") == hub.count(kind="file_head", file="config.json") == 1
    assert hub.count(file="model.safetensors") == 0
    hub.reset()
    assert hub.requests == []


def test_snapshot_download_brings_every_file(hub: HubStub, commit: str, tmp_path: Path) -> None:
    snapshot = Path(snapshot_download(REPO, cache_dir=tmp_path, endpoint=hub.url, token=False))
    assert snapshot.name == commit
    brought = {p.relative_to(snapshot).as_posix(): p.read_bytes() for p in snapshot.rglob("*") if p.is_file()}
    assert brought == FILES
    assert hub.count(kind="file") == len(FILES)


def test_an_unknown_entry_is_marked_as_missing(hub: HubStub, commit: str, tmp_path: Path) -> None:
    with pytest.raises(EntryNotFoundError):
        download(hub, tmp_path, "vocab.txt")
    assert (tmp_path / "models--tiny--bert" / ".no_exist" / commit / "vocab.txt").exists()


def test_an_unknown_revision(hub: HubStub, commit: str, tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError):
        download(hub, tmp_path, "config.json", revision="v9")
    with pytest.raises(RevisionNotFoundError):
        HfApi(endpoint=hub.url, token=False).model_info(REPO, revision="v9")


def test_an_unknown_repo(hub: HubStub, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.url, token=False).model_info("tiny/none")
    # `hf_hub_download` looks in the cache before it gives up, and chains what the hub said.
    with pytest.raises((RepositoryNotFoundError, LocalEntryNotFoundError)) as caught:
        download(hub, tmp_path, "config.json")
    assert isinstance(caught.value, RepositoryNotFoundError) or isinstance(
        caught.value.__cause__, RepositoryNotFoundError
    )


def test_model_info(hub: HubStub, commit: str) -> None:
    info = HfApi(endpoint=hub.url, token=False).model_info(REPO, files_metadata=True)
    assert (info.id, info.sha, info.private, info.gated) == (REPO, commit, False, False)
    assert (info.pipeline_tag, info.library_name, info.tags) == ("fill-mask", "transformers", ["transformers", "bert"])
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or ()}
    assert sizes == {path: len(content) for path, content in FILES.items()}


def test_tree_is_flat_or_deep_or_of_one_folder(hub: HubStub, commit: str) -> None:
    api = HfApi(endpoint=hub.url, token=False)
    flat = [entry.path for entry in api.list_repo_tree(REPO)]
    assert flat == ["onnx", "sub", "config.json", "model.safetensors"]
    deep = [entry.path for entry in api.list_repo_tree(REPO, recursive=True, expand=True)]
    assert deep == ["onnx", "sub", "sub/deep", *FILES]
    assert [entry.path for entry in api.list_repo_tree(REPO, "sub")] == ["sub/deep"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(REPO, "additional_chat_templates"))


def test_tree_names_the_bytes(hub: HubStub, commit: str) -> None:
    entries = {entry.path: entry for entry in HfApi(endpoint=hub.url, token=False).list_repo_tree(REPO)}
    small, large = entries["config.json"], entries["model.safetensors"]
    assert (small.blob_id, small.size, small.lfs) == (git_oid("blob", FILES["config.json"]), 22, None)
    assert (large.lfs.sha256, large.lfs.size) == (hashlib.sha256(FILES["model.safetensors"]).hexdigest(), 10240)
    assert large.lfs.pointer_size == 130
    assert getattr(large, "xet_hash", None) is None


def test_list_and_exists(hub: HubStub, commit: str) -> None:
    api = HfApi(endpoint=hub.url, token=False)
    assert api.list_repo_files(REPO) == list(FILES)
    assert api.file_exists(REPO, "config.json")
    assert not api.file_exists(REPO, "vocab.txt")
    assert not api.file_exists("tiny/none", "config.json")
    assert api.repo_exists(REPO)


def test_a_branch_moves_and_old_commits_stay(hub: HubStub, commit: str, tmp_path: Path) -> None:
    again = hub.add(REPO, FILES)
    moved = hub.add(REPO, {**FILES, "config.json": "{}"})
    pull = hub.add(REPO, {"config.json": "[]"}, branch="refs/pr/1")
    assert again == commit
    assert len({commit, moved, pull}) == 3
    assert download(hub, tmp_path, "config.json").read_bytes() == b"{}"
    assert download(hub, tmp_path, "config.json", commit).read_bytes() == FILES["config.json"]
    assert download(hub, tmp_path, "config.json", "refs/pr/1").parent.name == pull


def test_a_private_repo_needs_its_token(hub: HubStub, tmp_path: Path) -> None:
    hub.add(REPO, FILES, private_token="hf_right")
    for token in (False, "hf_wrong"):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(endpoint=hub.url, token=token).model_info(REPO)
    assert [seen.status for seen in hub.requests] == [401, 404]
    assert HfApi(endpoint=hub.url, token="hf_right").model_info(REPO).private
    assert download(hub, tmp_path, "config.json", token="hf_right").read_bytes() == FILES["config.json"]


def test_a_dataset_and_a_repo_without_owner(hub: HubStub, tmp_path: Path) -> None:
    hub.add("words", {"words.txt": "a b"}, repo_type="dataset")
    hub.add("gpt2", {"config.json": "{}"})
    words = hf_hub_download("words", "words.txt", repo_type="dataset", cache_dir=tmp_path, endpoint=hub.url)
    assert Path(words).read_text() == "a b"
    api = HfApi(endpoint=hub.url, token=False)
    assert api.list_repo_files("words", repo_type="dataset") == ["words.txt"]
    assert api.list_repo_files("gpt2") == ["config.json"]
    assert [entry.path for entry in api.list_repo_tree("gpt2")] == ["config.json"]


def test_a_folder_is_served_like_a_mapping(hub: HubStub, commit: str, tmp_path: Path) -> None:
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert hub.add(REPO, tmp_path) == commit


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [("bytes=2-5", 206, slice(2, 6)), ("bytes=10000-", 206, slice(10000, None)), ("bytes=-7", 206, slice(-7, None))],
)
def test_range(hub: HubStub, commit: str, wanted: str, status: int, part: slice) -> None:
    response, body = raw(hub, "GET", f"/{REPO}/resolve/main/model.safetensors", Range=wanted)
    assert response.status == status
    assert body == FILES["model.safetensors"][part]
    assert response.headers["Content-Range"].endswith("/10240")


def test_range_past_the_end(hub: HubStub, commit: str) -> None:
    response, _ = raw(hub, "GET", f"/{REPO}/resolve/main/model.safetensors", Range="bytes=10240-")
    assert (response.status, response.headers["Content-Range"]) == (416, "bytes */10240")


def test_head_of_a_large_file(hub: HubStub, commit: str) -> None:
    response, body = raw(hub, "HEAD", f"/{REPO}/resolve/main/model.safetensors")
    name = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert body == b""
    assert response.headers["X-Linked-Etag"] == response.headers["ETag"] == f'"{name}"'
    assert response.headers["X-Linked-Size"] == response.headers["Content-Length"] == "10240"
    assert response.headers["X-Repo-Commit"] == commit


def test_xet_hashes_only_when_asked_and_only_in_the_tree() -> None:
    with HubStub(xet=True) as hub:
        hub.add(REPO, FILES)
        # By hand: huggingface_hub 0.x drops the field.
        entries = {entry["path"]: entry for entry in json.loads(raw(hub, "GET", f"/api/models/{REPO}/tree/main")[1])}
        assert len(entries["model.safetensors"]["xetHash"]) == 64
        assert "xetHash" not in entries["config.json"]
        response, _ = raw(hub, "HEAD", f"/{REPO}/resolve/main/model.safetensors")
        assert "X-Xet-Hash" not in response.headers


@pytest.mark.parametrize("status", [403, 429, 500])
def test_fail_with(hub: HubStub, commit: str, status: int) -> None:
    hub.fail_with = status
    with pytest.raises(HfHubHTTPError) as caught:
        HfApi(endpoint=hub.url, token=False).model_info(REPO)
    assert caught.value.response.status_code == status
    hub.fail_with = None
    assert HfApi(endpoint=hub.url, token=False).model_info(REPO).sha == commit


def test_down_closes_connections_and_stop_refuses_them(hub: HubStub, commit: str) -> None:
    hub.down = True
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        raw(hub, "GET", f"/api/models/{REPO}")
    assert hub.requests == []
    hub.stop()
    with pytest.raises(ConnectionRefusedError):
        raw(hub, "GET", f"/api/models/{REPO}")
    hub.down = False
    hub.start()
    assert raw(hub, "GET", f"/api/models/{REPO}")[0].status == 200


def test_delay_and_unknown_pages(hub: HubStub) -> None:
    hub.delay = 0.01
    assert raw(hub, "GET", "/api/whoami-v2")[0].status == 404
    assert raw(hub, "POST", "/api/models/tiny/bert/likes")[0].status == 404
    assert [seen.kind for seen in hub.requests] == ["other", "other"]
