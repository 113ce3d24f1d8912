"""27 model families as tiny random checkpoints, built with the real transformers: `python -m families FOLDER`."""

from __future__ import annotations

import zlib
from pathlib import Path

import torch

from .audio import AUDIO
from .custom import CUSTOM
from .decoders import DECODERS
from .encoders import ENCODERS
from .family import Family
from .multimodal import MULTIMODAL
from .seq2seq import SEQ2SEQ
from .vision import VISION

__all__ = ["FAMILIES", "Family", "build_all"]

FAMILIES: tuple[Family, ...] = (*ENCODERS, *DECODERS, *SEQ2SEQ, *VISION, *AUDIO, *MULTIMODAL, *CUSTOM)


def build_all(folder: Path) -> None:
    """Build every family into a folder of its own; the same bytes every time."""
    for family in FAMILIES:
        torch.manual_seed(zlib.crc32(family.name.encode()))
        (folder / family.name).mkdir(parents=True)
        family.build(folder / family.name)
        (folder / family.name / "README.md").write_text(family.card)
