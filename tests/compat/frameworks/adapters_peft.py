"""LoRA adapters loaded by PEFT: `PeftConfig` and `PeftModel`

models: llama
repos: adapter, adapted
packages: peft
scope: hub
"""

import hashlib
import json

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

ids = AutoTokenizer.from_pretrained("tiny/llama")("the quick fox", return_tensors="pt")


def seen(model):
    with torch.no_grad():
        digest = hashlib.sha256(model(**ids).logits.numpy().tobytes()).hexdigest()
    named = {name: config.base_model_name_or_path for name, config in model.peft_config.items()}
    return [type(model).__name__, named, digest]


for name in ("tiny/adapter", "tiny/adapted"):
    print(PeftConfig.from_pretrained(name).base_model_name_or_path)
    print(json.dumps(seen(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("tiny/llama"), name))))
