"""Text encoders; mpnet lies in a subfolder of its repository."""

from __future__ import annotations

from pathlib import Path

import transformers

from . import tokens
from .family import Family

SHAPE = {
    "vocab_size": tokens.VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": tokens.LENGTH + 4,
}


def bert(folder: Path) -> None:
    tokens.wordpiece(folder, "BertTokenizer")
    transformers.BertForMaskedLM(transformers.BertConfig(**SHAPE)).save_pretrained(folder)


def distilbert(folder: Path) -> None:
    tokens.wordpiece(folder, "DistilBertTokenizer")
    config = transformers.DistilBertConfig(
        vocab_size=tokens.VOCABULARY, dim=32, n_layers=2, n_heads=2, hidden_dim=48, num_labels=3
    )
    transformers.DistilBertForSequenceClassification(config).save_pretrained(folder)


def roberta(folder: Path) -> None:
    tokens.bytelevel(folder, "RobertaTokenizer", template=True)
    transformers.RobertaForMaskedLM(transformers.RobertaConfig(**SHAPE)).save_pretrained(folder)


def albert(folder: Path) -> None:
    tokens.wordpiece(folder, "PreTrainedTokenizerFast")
    config = transformers.AlbertConfig(**SHAPE, embedding_size=16, bos_token_id=2, eos_token_id=3)
    transformers.AlbertModel(config).save_pretrained(folder)


def electra(folder: Path) -> None:
    tokens.wordpiece(folder, "BertTokenizer")
    transformers.ElectraForPreTraining(transformers.ElectraConfig(**SHAPE, embedding_size=16)).save_pretrained(folder)


def deberta_v2(folder: Path) -> None:
    tokens.wordpiece(folder, "PreTrainedTokenizerFast")
    config = transformers.DebertaV2Config(**SHAPE, relative_attention=True, position_buckets=8, pos_att_type="p2c|c2p")
    transformers.DebertaV2ForTokenClassification(config).save_pretrained(folder)


def mpnet(folder: Path) -> None:
    encoder = folder / "encoder"
    encoder.mkdir()
    tokens.wordpiece(encoder, "PreTrainedTokenizerFast")
    transformers.MPNetModel(transformers.MPNetConfig(**SHAPE, pad_token_id=0)).save_pretrained(encoder)


ENCODERS = (
    Family("bert", bert, "fill-mask"),
    Family("distilbert", distilbert, "text-classification"),
    Family("roberta", roberta, "fill-mask"),
    Family("albert", albert, "feature-extraction"),
    Family("electra", electra, "feature-extraction"),
    Family("deberta_v2", deberta_v2, "token-classification"),
    Family("mpnet", mpnet, "feature-extraction"),
)
