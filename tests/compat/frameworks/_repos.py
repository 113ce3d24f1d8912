"""Write the repositories that the families lack: `python _repos.py CHECKPOINTS FOLDER NAME...`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).parents[2]))

from integration.reference_cases import write_gguf

Write = Callable[[Path, Path], None]


def gguf(llama: Path, folder: Path) -> None:
    (folder / "sub").mkdir()
    write_gguf(llama, folder / "tiny.gguf")
    shutil.copy(folder / "tiny.gguf", folder / "sub" / "tiny.gguf")


def adapter(llama: Path, folder: Path) -> None:
    """An adapter alone, whose config names its base model."""
    _save_adapter(llama, folder, "tiny/llama")


def adapted(llama: Path, folder: Path) -> None:
    """A model with its adapter in one repository."""
    shutil.copytree(llama, folder, dirs_exist_ok=True)
    _save_adapter(llama, folder, "tiny/adapted")


def _save_adapter(llama: Path, folder: Path, base: str) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    lora = LoraConfig(r=2, init_lora_weights=False, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(llama), lora).save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    (folder / "README.md").unlink(missing_ok=True)


def branches(llama: Path, folder: Path) -> None:
    """A repository with other weights on each branch, on a tag and in a pull request."""
    for number, branch in enumerate(("", "@v1.0", "@feature--two", "@refs--pr--1"), 1):
        shutil.copytree(llama, folder.with_name(folder.name + branch), dirs_exist_ok=True)
        weights = folder.with_name(folder.name + branch) / "model.safetensors"
        changed = {name: tensor * number for name, tensor in load_file(weights).items()}
        save_file(changed, weights, metadata={"format": "pt"})


def fp8(llama: Path, folder: Path) -> None:
    """Weights in float8 with a scale for each block of 16 by 16."""

    def small(weight: torch.Tensor) -> dict[str, torch.Tensor]:
        rows, columns = weight.shape
        blocks = weight.float().reshape(rows // 16, 16, columns // 16, 16)
        scale = blocks.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
        shrunk = (blocks / scale[:, None, :, None]).reshape(rows, columns)
        return {"": shrunk.to(torch.float8_e4m3fn), "_scale_inv": scale}

    said = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [16, 16]}
    _quantise(llama, folder, small, said | {"modules_to_not_convert": ["lm_head"]})


def compressed(llama: Path, folder: Path) -> None:
    """Weights in int8 with a scale for each row, as compressed-tensors writes them."""

    def small(weight: torch.Tensor) -> dict[str, torch.Tensor]:
        scale = weight.float().abs().amax(1, keepdim=True) / 127
        return {"": (weight.float() / scale).round().to(torch.int8), "_scale": scale}

    numbers: dict[str, Any] = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {"targets": ["Linear"], "weights": numbers | {"strategy": "channel"}}
    group["input_activations"] = numbers | {"strategy": "token", "dynamic": True}
    said = {"quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed"}
    _quantise(llama, folder, small, said | {"ignore": ["lm_head"], "config_groups": {"group_0": group}})


def _quantise(
    llama: Path, folder: Path, small: Callable[[torch.Tensor], dict[str, torch.Tensor]], said: dict[str, Any]
) -> None:
    shutil.copytree(llama, folder, dirs_exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        parts = small(tensor) if "_proj" in name else {"": tensor}
        tensors |= {name + suffix: part for suffix, part in parts.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": said}))


def int8(llama: Path, folder: Path) -> None:
    """Weights in int8 as bitsandbytes writes them."""
    from transformers import BitsAndBytesConfig

    shutil.copytree(llama, folder, dirs_exist_ok=True)
    quantised = BitsAndBytesConfig(load_in_8bit=True)
    model = AutoModelForCausalLM.from_pretrained(llama, quantization_config=quantised, device_map="cpu")
    model.save_pretrained(folder)


REPOS: dict[str, Write] = {write.__name__: write for write in (gguf, adapter, adapted, branches, fp8, compressed, int8)}

if __name__ == "__main__":
    checkpoints, target, *names = sys.argv[1:]
    for name in names:
        made = Path(target) / name
        made.mkdir(parents=True)
        REPOS[name](Path(checkpoints) / "llama", made)
