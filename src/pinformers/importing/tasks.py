"""The task of a model by its config, as the hub derives it: from the tables of transformers, where they are loaded."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from pinformers.importing.swaps import namespace

_TABLE = r"MODEL_(?:FOR_(\w+)_)?MAPPING_NAMES"
# What transformers tells the hub (its utils/update_metadata.py): most tables are called after their task.
_TASKS = {
    None: "feature-extraction",
    "CAUSAL_LM": "text-generation",
    "CTC": "automatic-speech-recognition",
    "IMAGE": "image-feature-extraction",
    "MASKED_LM": "fill-mask",
    "SEQUENCE_CLASSIFICATION": "text-classification",
    "SEQ_TO_SEQ_CAUSAL_LM": "text2text-generation",
    "SPEECH_SEQ_2_SEQ": "automatic-speech-recognition",
    "TEXT_TO_SPECTROGRAM": "text-to-audio",
    "TEXT_TO_WAVEFORM": "text-to-audio",
}


def task_of(config: object) -> str | None:
    """Return the task of a config's architectures, where the tables give exactly one that has a pipeline."""
    said = config.get("architectures") if isinstance(config, Mapping) else None
    architectures = {name for name in said if isinstance(name, str)} if isinstance(said, list) else set()
    tables = namespace(sys.modules.get("transformers.models.auto.modeling_auto"))
    supported = namespace(sys.modules.get("transformers.pipelines")).get("SUPPORTED_TASKS", ())
    found: set[str] = set()
    for name, table in list(tables.items()) if architectures else ():
        match = re.fullmatch(_TABLE, name)
        if match is not None and not architectures.isdisjoint(_classes(table)):
            found.add(_TASKS.get(match[1]) or match[1].lower().replace("_", "-"))
    found.intersection_update(supported)
    # A model that is more than its hidden states has a table of its own besides.
    specific = found - {"feature-extraction"} or found
    return specific.pop() if len(specific) == 1 else None


def _classes(table: Mapping[str, str | tuple[str, ...]]) -> set[str]:
    return {name for names in table.values() for name in ((names,) if isinstance(names, str) else names)}
