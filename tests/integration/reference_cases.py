"""Run as a script. ``build``: write what the families lack. ``load``: load each model in every way, print JSON."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def build(checkpoints: Path, folder: Path) -> None:
    """Write an adapter for gpt2, gpt2 in shards and as a .bin file, and llama as GGUF where that can be read."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoints / "gpt2")
    model.save_pretrained(folder / "shards", max_shard_size="20KB")
    (folder / "bin").mkdir()
    model.config.save_pretrained(folder / "bin")
    torch.save(model.state_dict(), folder / "bin" / "pytorch_model.bin")
    lora = LoraConfig(r=2, init_lora_weights=False, target_modules=["c_attn"], fan_in_fan_out=True)
    get_peft_model(model, lora).save_pretrained(folder / "adapter")
    if importlib.util.find_spec("gguf") is not None:
        (folder / "gguf" / "sub").mkdir(parents=True)
        write_gguf(checkpoints / "llama", folder / "gguf" / "sub" / "tiny.gguf")


def write_gguf(checkpoint: Path, target: Path) -> None:
    from gguf import GGUFWriter
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    config, writer = model.config, GGUFWriter(target, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    names = {"embed_tokens": "token_embd", "lm_head": "output"}
    names |= {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}
    names |= {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    names |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "norm": "output_norm"}
    for name, tensor in model.state_dict().items():
        *path, last, _ = name.split(".")
        block = f"blk.{path[2]}." if "layers" in path else ""
        writer.add_tensor(f"{block}{names[last]}.weight", tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def weights(model: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.float().numpy().tobytes())
    return digest.hexdigest()


def load(names: dict[str, str]) -> dict[str, Any]:
    """Load every model by the name it has here; an answer holds True where the name was kept."""
    import torch
    import transformers as hf
    from peft import PeftModel

    def same(found: Any, name: str, kept: str) -> list[Any]:
        return [type(found).__name__, weights(found), kept == names[name]]

    def auto(kind: Any, name: str, **options: Any) -> list[Any]:
        model = kind.from_pretrained(names[name], **options)
        return same(model, name, model.config._name_or_path)

    def adapted(kind: Callable[[Any, str], Any]) -> str:
        return weights(kind(hf.AutoModelForCausalLM.from_pretrained(names["gpt2"]), names["adapter"]))

    def loaded(model: Any, name: str) -> Any:
        model.load_adapter(name)
        return model

    def named(found: Any, name: str) -> list[Any]:
        return [type(found).__name__, found.name_or_path == names[name], found("the quick fox")["input_ids"]]

    def absent() -> str:
        from transformers.utils import cached_file

        return str(cached_file(names["bert"], "no.json", _raise_exceptions_for_missing_entries=False))

    cases: dict[str, Callable[[], Any]] = {
        "config": lambda: hf.AutoConfig.from_pretrained(names["bert"]).to_dict()["model_type"],
        "Auto class": lambda: auto(hf.AutoModel, "bert"),
        "concrete class": lambda: auto(hf.BertForMaskedLM, "bert"),
        "tokenizer": lambda: named(hf.AutoTokenizer.from_pretrained(names["bert"]), "bert"),
        "sentencepiece": lambda: named(hf.AutoTokenizer.from_pretrained(names["llama"]), "llama"),
        "pipeline": lambda: hf.pipeline("fill-mask", model=names["bert"])("the quick [MASK] fox")[0]["token_str"],
        "generation": lambda: hf.GenerationConfig.from_pretrained(names["gpt2"]).to_dict(),
        "feature extractor": lambda: hf.AutoFeatureExtractor.from_pretrained(names["whisper"]).to_dict(),
        "processor": lambda: type(hf.AutoProcessor.from_pretrained(names["whisper"])).__name__,
        "image processor": lambda: hf.AutoImageProcessor.from_pretrained(names["vit"]).to_dict(),
        "custom code": lambda: auto(hf.AutoModel, "custom", trust_remote_code=True),
        "subfolder": lambda: auto(hf.AutoModel, "mpnet", subfolder="encoder"),
        "sub-path": lambda: weights(hf.AutoModel.from_pretrained(names["mpnet"] + "/encoder")),
        "shards": lambda: auto(hf.AutoModelForCausalLM, "shards"),
        ".bin": lambda: auto(hf.AutoModelForCausalLM, "bin"),
        "adapter": lambda: adapted(loaded),
        "PEFT": lambda: adapted(PeftModel.from_pretrained),
        "model of an adapter": lambda: weights(hf.AutoModelForCausalLM.from_pretrained(names["adapter"])),
        "absent": absent,
    }
    if "gguf" in names:
        kind = hf.AutoModelForCausalLM.from_pretrained
        cases["GGUF in a folder"] = lambda: weights(kind(names["gguf"], gguf_file="sub/tiny.gguf"))
        cases["GGUF file"] = lambda: weights(kind(names["gguf file"], gguf_file="tiny.gguf"))
    answers = {}
    for name, case in cases.items():
        # What a checkpoint lacks (a pooler) is drawn.
        torch.manual_seed(0)
        answers[name] = case()
    return answers


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(json.dumps(load(json.loads(sys.argv[2]))))
