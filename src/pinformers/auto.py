"""``import pinformers.auto`` turns pinformers on for the rest of the process."""

from __future__ import annotations

from pinformers._activation import enable

handle = enable()
