from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub_stub import HubStub
from pin_rooms import FILES, PIN, REPO
from pinformers._errors import PinError
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.refreshing import refresh

pytestmark = pytest.mark.usefixtures("stub")


@pytest.fixture
def stub(hub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", hub.url, raising=False)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.fixture
def catalog(hub: HubStub, tmp_path: Path) -> Catalog:
    catalog = Catalog(tmp_path)
    commit = hub.add(REPO, dict(FILES))
    catalog.add(PIN._replace(commit=commit))
    catalog.set_ref(REPO, "main", commit, noted=5)
    return catalog


def test_a_branch_that_stands_still_counts_as_seen_now(catalog: Catalog) -> None:
    (branch,) = refresh(catalog)
    assert (branch.repo, branch.revision, branch.moved, branch.problem) == (REPO, "main", False, "")
    seen = catalog.ref(REPO, "main")
    assert seen is not None and seen[1] > 5


def test_a_branch_that_moved_is_named_and_stays_pinned(hub: HubStub, catalog: Catalog) -> None:
    newer = hub.add(REPO, {"config.json": b"{}"})
    (branch,) = refresh(catalog, [REPO])
    assert branch.moved and branch.now == newer
    assert catalog.ref(REPO, "main") == (branch.pinned, 5)


def test_a_hub_that_does_not_answer_is_said_and_a_model_that_is_not_pinned_refused(
    hub: HubStub, catalog: Catalog
) -> None:
    hub.stop()
    (branch,) = refresh(catalog)
    assert not branch.moved and "the hub did not answer" in branch.problem
    with pytest.raises(PinError, match="pinformers ls"):
        list(refresh(catalog, ["org/else"]))
    assert os.listdir(catalog.state_dir)
