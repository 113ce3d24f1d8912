"""What a model family is to the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Family:
    """A tiny random checkpoint of one architecture: `build` writes what its repository holds into a folder."""

    name: str
    build: Callable[[Path], None]
    pipeline_tag: str

    @property
    def repo(self) -> str:
        return f"tiny/{self.name}"

    @property
    def card(self) -> str:
        """The README.md, whose front matter is where the hub learns what a model is for."""
        return f"---\npipeline_tag: {self.pipeline_tag}\nlibrary_name: transformers\n---\n# {self.repo}\n"
