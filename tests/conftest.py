"""Fixtures for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hub_stub import HubStub


@pytest.fixture
def hub() -> Iterator[HubStub]:
    """A local hub that is up and empty."""
    with HubStub() as stub:
        yield stub
