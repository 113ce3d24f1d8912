"""What a model says of itself, in its card and its config, where no hub says it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinformers.pinning.access import CARD_WORDS, foreign_info
from pinformers.pinning.records import read_json

_logger = logging.getLogger("pinformers")


def read_card(path: Path) -> Mapping[str, Any] | None:
    """Read from a model card what the hub would say of the model."""
    if not path.is_file():
        return None
    # deferred: an import of half a second that few calls need.
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        said = metadata_load(path) or {}
        # Words of other types would make a pin that no other machine reads.
        return foreign_info({name: said[name] for name in CARD_WORDS if name in said}) or None
    except (ValueError, YAMLError) as exc:
        _logger.warning("The model card %s cannot be read (%s) and counts as none.", path, exc)
        return None


def own_account(card: Mapping[str, Any] | None, config: Path) -> Mapping[str, Any]:
    """Return what the hub would say of a model with this card and the config at ``config``."""
    said = read_json(config) or {}
    kind = {name: said[name] for name in ("architectures", "model_type") if name in said}
    words = {name: word for name, word in (card or {}).items() if word is not None}
    return {**({"library_name": "transformers", "config": kind} if kind else {}), **words}
