"""LoRA adapters loaded by transformers: alone, beside their model, by their own name, later, in a pipeline

models: llama
repos: adapter, adapted
packages: peft
"""

import hashlib
import json

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, pipeline

ids = AutoTokenizer.from_pretrained("tiny/llama")("the quick fox", return_tensors="pt")


def seen(model):
    with torch.no_grad():
        digest = hashlib.sha256(model(**ids).logits.numpy().tobytes()).hexdigest()
    named = {name: config.base_model_name_or_path for name, config in getattr(model, "peft_config", {}).items()}
    return [type(model).__name__, model.name_or_path, named, digest]


for name in ("tiny/adapter", "tiny/adapted"):
    print(json.dumps(seen(AutoModelForCausalLM.from_pretrained(name))))
    model = AutoModelForCausalLM.from_pretrained("tiny/llama")
    plain = seen(model)
    model.load_adapter(name, adapter_name="late")
    print(json.dumps([plain, seen(model)]))
print(AutoConfig.from_pretrained("tiny/adapted").architectures)
print(pipeline("text-generation", "tiny/adapter", tokenizer="tiny/llama")("the", max_new_tokens=3, do_sample=False))
