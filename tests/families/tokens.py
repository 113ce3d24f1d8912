"""Tiny real tokenizers, trained on a few sentences, written as repositories hold them."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = (
    "the quick brown fox jumps over the lazy dog",
    "a block is a piece of a file and a file is a tree of blocks",
    "pins keep the blocks of a model on this disk",
    "hello world , how are you today ?",
)
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split() if len(word) > 1})
LETTERS = ",?abcdefghijklmnopqrstuvwxyz"
VOCABULARY = 120
LENGTH = 64
# Most architectures have no token types, and transformers 4 refuses what a model does not take.
UNTYPED = {"model_input_names": ["input_ids", "attention_mask"]}


def wordpiece(folder: Path, tokenizer_class: str) -> None:
    """Write a BERT-like tokenizer: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4."""
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    special["mask_token"] = "[MASK]"
    # By hand: the trainers number letters with a prefix or suffix in another order in every process.
    pieces = [*special.values(), *LETTERS, *(f"##{letter}" for letter in LETTERS[2:]), *WORDS]
    tokenizer = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(special.values()))
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    _write(folder, tokenizer, tokenizer_class, special | {"do_lower_case": True})


def bytelevel(folder: Path, tokenizer_class: str, *, template: bool = False) -> None:
    """Write a GPT-2-like byte-level BPE: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4."""
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    names = [*special.values(), "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # No initial alphabet: 256 byte letters would be most of a tiny checkpoint's embedding.
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if template:
        special |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.model.save(str(folder))
    _write(folder, tokenizer, tokenizer_class, special | UNTYPED)


def clip_bpe(folder: Path, tokenizer_class: str) -> None:
    """Write a CLIP-like BPE, whose words end in </w>: <|startoftext|> 0, <|endoftext|> 1."""
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    pieces = [*special.values(), *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    merges = [("t", "h"), ("th", "e</w>"), ("d", "o"), ("do", "g</w>"), ("f", "o"), ("fo", "x</w>")]
    pieces += [left + right for left, right in merges]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>", fuse_unk=False)
    )
    tokenizer.add_special_tokens(list(special.values()))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", 1), ("<|startoftext|>", 0), add_prefix_space=False, trim_offsets=False
    )
    tokenizer.model.save(str(folder))
    special |= {"pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    _write(folder, tokenizer, tokenizer_class, special)


def wordlevel(folder: Path) -> None:
    """Write a tokenizer without a class of its own: <pad> 0, </s> 1, <unk> 2, <s> 3, then one id a word."""
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=VOCABULARY, special_tokens=list(special.values()), show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    _write(folder, tokenizer, "PreTrainedTokenizerFast", special | UNTYPED)


def _write(folder: Path, tokenizer: Tokenizer, tokenizer_class: str, extra: dict[str, object]) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": tokenizer_class, "model_max_length": LENGTH, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | extra, indent=2, sort_keys=True))
