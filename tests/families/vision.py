"""Image classifiers."""

from __future__ import annotations

import json
from pathlib import Path

import transformers

from .family import Family

SIZE = 32
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": SIZE,
    "patch_size": 8,
    "num_labels": 3,
}


def image_processor(folder: Path, image_processor_type: str, **extra: object) -> None:
    """Write a preprocessor_config.json by hand: which classes exist depends on torchvision, the file does not."""
    config = {
        "image_processor_type": image_processor_type,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": {"height": SIZE, "width": SIZE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(config | extra, indent=2))


def vit(folder: Path) -> None:
    image_processor(folder, "ViTImageProcessor")
    transformers.ViTForImageClassification(transformers.ViTConfig(**SHAPE)).save_pretrained(folder)


def deit(folder: Path) -> None:
    image_processor(folder, "DeiTImageProcessor", do_center_crop=False)
    transformers.DeiTForImageClassification(transformers.DeiTConfig(**SHAPE)).save_pretrained(folder)


def resnet(folder: Path) -> None:
    image_processor(folder, "ConvNextImageProcessor", size={"shortest_edge": SIZE}, crop_pct=0.875)
    config = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=3
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder)


VISION = (
    Family("vit", vit, "image-classification"),
    Family("deit", deit, "image-classification"),
    Family("resnet", resnet, "image-classification"),
)
