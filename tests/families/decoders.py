"""Decoders; mistral is sharded, bloom is a pickle, qwen2 has chat templates."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from . import tokens
from .family import Family

SHAPE = {
    "vocab_size": tokens.VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": tokens.LENGTH,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
GROUPED = SHAPE | {"num_key_value_heads": 1}

CHAT = "{% for message in messages %}{{ message.role }} : {{ message.content }}\n{% endfor %}"
TOOL_USE = "{% for message in messages %}tool {{ message.role }} : {{ message.content }}\n{% endfor %}"


def gpt2(folder: Path) -> None:
    tokens.bytelevel(folder, "GPT2Tokenizer")
    config = transformers.GPT2Config(
        vocab_size=tokens.VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=tokens.LENGTH,
        bos_token_id=0,
        eos_token_id=2,
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)


def llama(folder: Path) -> None:
    tokens.bytelevel(folder, "PreTrainedTokenizerFast")
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**GROUPED)).save_pretrained(folder)


def mistral(folder: Path) -> None:
    tokens.bytelevel(folder, "PreTrainedTokenizerFast")
    model = transformers.MistralForCausalLM(transformers.MistralConfig(**GROUPED))
    model.save_pretrained(folder, max_shard_size="30KB")


def qwen2(folder: Path) -> None:
    tokens.bytelevel(folder, "PreTrainedTokenizerFast")
    (folder / "chat_template.jinja").write_text(CHAT)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text(TOOL_USE)
    transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**GROUPED)).save_pretrained(folder)


def opt(folder: Path) -> None:
    tokens.bytelevel(folder, "PreTrainedTokenizerFast")
    config = transformers.OPTConfig(
        vocab_size=tokens.VOCABULARY,
        hidden_size=32,
        word_embed_proj_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=48,
        max_position_embeddings=tokens.LENGTH,
        bos_token_id=0,
        eos_token_id=2,
    )
    transformers.OPTForCausalLM(config).save_pretrained(folder)


def bloom(folder: Path) -> None:
    tokens.bytelevel(folder, "PreTrainedTokenizerFast")
    config = transformers.BloomConfig(
        vocab_size=tokens.VOCABULARY, hidden_size=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=2
    )
    model = transformers.BloomForCausalLM(config)
    config.architectures = ["BloomForCausalLM"]
    config.save_pretrained(folder)
    # transformers 5 no longer writes .bin files, and reads those of others.
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def gpt_neox(folder: Path) -> None:
    tokens.bytelevel(folder, "PreTrainedTokenizerFast")
    transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**SHAPE)).save_pretrained(folder)


def phi(folder: Path) -> None:
    tokens.bytelevel(folder, "PreTrainedTokenizerFast")
    transformers.PhiForCausalLM(transformers.PhiConfig(**SHAPE)).save_pretrained(folder)


def gemma(folder: Path) -> None:
    tokens.bytelevel(folder, "PreTrainedTokenizerFast")
    config = transformers.GemmaConfig(**GROUPED, head_dim=16, pad_token_id=1)
    transformers.GemmaForCausalLM(config).save_pretrained(folder)


DECODERS = (
    Family("gpt2", gpt2, "text-generation"),
    Family("llama", llama, "text-generation"),
    Family("mistral", mistral, "text-generation"),
    Family("qwen2", qwen2, "text-generation"),
    Family("opt", opt, "text-generation"),
    Family("bloom", bloom, "text-generation"),
    Family("gpt_neox", gpt_neox, "text-generation"),
    Family("phi", phi, "text-generation"),
    Family("gemma", gemma, "text-generation"),
)
