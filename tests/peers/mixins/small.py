"""What the common mixins of transformers ask of a family: a small configuration, and inputs for it."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

from tests.test_modeling_common import ids_tensor, random_attention_mask


class SmallModel:
    """One small model; a family says its configuration class and what is not the same for all."""

    batch_size, seq_length, num_choices, is_training = 3, 7, 4, True
    hidden_size, num_hidden_layers, num_attention_heads, intermediate_size = 32, 2, 4, 37
    vocab_size, max_position_embeddings = 99, 64
    config_class: Any = None

    def __init__(self, parent: TestCase) -> None:
        self.parent = parent

    def get_config(self) -> Any:
        return self.config_class(**self.arguments())

    def arguments(self) -> dict[str, Any]:
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        return {name: getattr(self, name) for name in names}


class SmallTextModel(SmallModel):
    """One that reads tokens."""

    def arguments(self) -> dict[str, Any]:
        tokens = {"vocab_size": self.vocab_size, "max_position_embeddings": self.max_position_embeddings}
        return super().arguments() | tokens

    def prepare_config_and_inputs_for_common(self) -> tuple[Any, dict[str, Any]]:
        shape = [self.batch_size, self.seq_length]
        inputs = {"input_ids": ids_tensor(shape, self.vocab_size), "attention_mask": random_attention_mask(shape)}
        return self.get_config(), inputs
