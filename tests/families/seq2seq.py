"""Encoder-decoders; t5 carries generation settings of its own."""

from __future__ import annotations

from pathlib import Path

import transformers

from . import tokens
from .family import Family

SHAPE = {
    "vocab_size": tokens.VOCABULARY,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": tokens.LENGTH,
}


def t5(folder: Path) -> None:
    tokens.wordlevel(folder)
    config = transformers.T5Config(
        vocab_size=tokens.VOCABULARY,
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        max_new_tokens=6, num_beams=2, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0
    )
    model.save_pretrained(folder)


def bart(folder: Path) -> None:
    tokens.bytelevel(folder, "BartTokenizer", template=True)
    transformers.BartForConditionalGeneration(transformers.BartConfig(**SHAPE)).save_pretrained(folder)


def marian(folder: Path) -> None:
    # MarianTokenizer needs SentencePiece models: a fast tokenizer that names its class serves as well.
    tokens.wordlevel(folder)
    config = transformers.MarianConfig(**SHAPE, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    transformers.MarianMTModel(config).save_pretrained(folder)


SEQ2SEQ = (
    Family("t5", t5, "text2text-generation"),
    Family("bart", bart, "summarization"),
    Family("marian", marian, "translation"),
)
