"""Stand in for the conftest.py that the sdist leaves out: the names and fixtures that its tests ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from huggingface_hub import HfApi

from .testing_constants import ENDPOINT_PRODUCTION, ENDPOINT_PRODUCTION_URL_SCHEME, ENDPOINT_STAGING, TOKEN


class RepoFactory:
    """Create repositories on the staging hub, which no test here can reach."""

    def __init__(self, api: HfApi) -> None:
        self._api = api

    def __call__(self, repo_type: str = "model", repo_id: str = "peers/repo", **kwargs: Any) -> Any:
        return self._api.create_repo(repo_id, repo_type=repo_type, **kwargs)


@pytest.fixture(scope="session")
def api() -> HfApi:
    return HfApi(endpoint=ENDPOINT_STAGING, token=TOKEN)


@pytest.fixture
def repo_factory(api: HfApi) -> RepoFactory:
    return RepoFactory(api)


@pytest.fixture(autouse=True)
def _endpoint(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("production") is None:
        yield
        return
    with (
        patch("huggingface_hub.constants.ENDPOINT", ENDPOINT_PRODUCTION),
        patch("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", ENDPOINT_PRODUCTION_URL_SCHEME),
    ):
        yield
