"""The cases that are not part of the default run wait for `-m compat`."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "compat" in config.option.markexpr:
        return
    waiting = [item for item in items if item.get_closest_marker("compat")]
    config.hook.pytest_deselected(items=waiting)
    items[:] = [item for item in items if item not in waiting]
