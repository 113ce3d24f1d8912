"""Models of images and text."""

from __future__ import annotations

import json
from pathlib import Path

import transformers

from . import tokens, vision
from .family import Family

TOWER = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
TEXT = TOWER | {"vocab_size": tokens.VOCABULARY, "max_position_embeddings": tokens.LENGTH}
VISION = TOWER | {"image_size": vision.SIZE, "patch_size": 8}


def clip(folder: Path) -> None:
    tokens.clip_bpe(folder, "CLIPTokenizer")
    crop = {"height": vision.SIZE, "width": vision.SIZE}
    vision.image_processor(
        folder, "CLIPImageProcessor", size={"shortest_edge": vision.SIZE}, do_center_crop=True, crop_size=crop
    )
    _processor_class(folder, "CLIPProcessor")
    config = transformers.CLIPConfig(
        text_config=TEXT | {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1},
        vision_config=VISION,
        projection_dim=16,
    )
    transformers.CLIPModel(config).save_pretrained(folder)


def blip(folder: Path) -> None:
    tokens.wordpiece(folder, "BertTokenizer")
    vision.image_processor(folder, "BlipImageProcessor")
    _processor_class(folder, "BlipProcessor")
    special = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = transformers.BlipConfig(
        text_config=TEXT | special | {"encoder_hidden_size": 32}, vision_config=VISION, projection_dim=16
    )
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)


def _processor_class(folder: Path, name: str) -> None:
    for file in ("preprocessor_config.json", "tokenizer_config.json"):
        config = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(config | {"processor_class": name}, indent=2))


MULTIMODAL = (
    Family("clip", clip, "zero-shot-image-classification"),
    Family("blip", blip, "image-to-text"),
)
