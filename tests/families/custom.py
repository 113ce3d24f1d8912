"""A model whose code lies in its own repository."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from . import tokens
from .family import Family

CONFIGURATION = """
from transformers import PretrainedConfig


class PebbleConfig(PretrainedConfig):
    model_type = "pebble"

    def __init__(self, vocab_size=120, hidden_size=16, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        super().__init__(**kwargs)
"""

MODELING = """
import torch
from transformers import PreTrainedModel

from .configuration_pebble import PebbleConfig


class PebbleModel(PreTrainedModel):
    config_class = PebbleConfig

    def __init__(self, config):
        super().__init__(config)
        self.embedding = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.projection = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **kwargs):
        return torch.tanh(self.projection(self.embedding(input_ids)))
"""


def custom(folder: Path) -> None:
    tokens.wordlevel(folder)
    (folder / "configuration_pebble.py").write_text(CONFIGURATION.lstrip())
    (folder / "modeling_pebble.py").write_text(MODELING.lstrip())
    config = {
        "model_type": "pebble",
        "architectures": ["PebbleModel"],
        "auto_map": {
            "AutoConfig": "configuration_pebble.PebbleConfig",
            "AutoModel": "modeling_pebble.PebbleModel",
        },
        "vocab_size": tokens.VOCABULARY,
        "hidden_size": 16,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    embedding, projection = torch.nn.Embedding(tokens.VOCABULARY, 16), torch.nn.Linear(16, 16)
    weights = {"embedding.weight": embedding.weight.detach()}
    weights |= {f"projection.{name}": tensor.detach() for name, tensor in projection.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


CUSTOM = (Family("custom", custom, "feature-extraction"),)
