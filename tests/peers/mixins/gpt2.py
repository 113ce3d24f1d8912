"""GPT-2, a decoder of text, under the common mixins."""

from __future__ import annotations

from unittest import TestCase

import transformers
from tests.generation.test_utils import GenerationTesterMixin
from tests.mixins.small import SmallTextModel
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin
from tests.test_tokenization_common import TokenizerTesterMixin
from tests.test_tokenizers_backend_mixin import TokenizersBackendTesterMixin


class SmallGPT2(SmallTextModel):
    config_class = transformers.GPT2Config

    def get_config(self) -> transformers.GPT2Config:
        return transformers.GPT2Config(
            vocab_size=self.vocab_size,
            n_embd=self.hidden_size,
            n_layer=self.num_hidden_layers,
            n_head=self.num_attention_heads,
            n_inner=self.intermediate_size,
            n_positions=self.max_position_embeddings,
            bos_token_id=self.vocab_size - 1,
            eos_token_id=self.vocab_size - 1,
            pad_token_id=self.vocab_size - 1,
        )


class TestGPT2Model(ModelTesterMixin, GenerationTesterMixin, TestCase):
    all_model_classes = (
        transformers.GPT2Model,
        transformers.GPT2LMHeadModel,
        transformers.GPT2ForQuestionAnswering,
        transformers.GPT2ForSequenceClassification,
        transformers.GPT2ForTokenClassification,
    )

    def setUp(self) -> None:
        self.model_tester = SmallGPT2(self)

    def test_config(self) -> None:
        ConfigTester(self, config_class=transformers.GPT2Config, n_embd=32).run_common_tests()


class TestGPT2Tokenizer(TokenizerTesterMixin, TestCase):
    tokenizer_class = transformers.GPT2Tokenizer
    from_pretrained_id = "tiny/gpt2"


class TestGPT2Backend(TokenizersBackendTesterMixin, TestCase):
    tokenizer_class = transformers.GPT2Tokenizer
    from_pretrained_id = "tiny/gpt2"
