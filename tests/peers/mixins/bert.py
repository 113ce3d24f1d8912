"""BERT, an encoder of text, under the common mixins."""

from __future__ import annotations

from unittest import TestCase

import transformers
from tests.mixins.small import SmallTextModel
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin
from tests.test_tokenization_common import TokenizerTesterMixin
from tests.test_tokenizers_backend_mixin import TokenizersBackendTesterMixin


class SmallBert(SmallTextModel):
    config_class = transformers.BertConfig


class TestBertModel(ModelTesterMixin, TestCase):
    all_model_classes = (
        transformers.BertModel,
        transformers.BertForMaskedLM,
        transformers.BertForMultipleChoice,
        transformers.BertForNextSentencePrediction,
        transformers.BertForQuestionAnswering,
        transformers.BertForSequenceClassification,
        transformers.BertForTokenClassification,
    )

    def setUp(self) -> None:
        self.model_tester = SmallBert(self)

    def test_config(self) -> None:
        ConfigTester(self, config_class=transformers.BertConfig, hidden_size=32).run_common_tests()


class TestBertTokenizer(TokenizerTesterMixin, TestCase):
    tokenizer_class = transformers.BertTokenizer
    from_pretrained_id = "tiny/bert"


class TestBertBackend(TokenizersBackendTesterMixin, TestCase):
    tokenizer_class = transformers.BertTokenizer
    from_pretrained_id = "tiny/bert"
