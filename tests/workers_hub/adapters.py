"""Put a LoRA adapter onto its base model with peft."""

import hashlib
import json

import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM

BASE, ADAPTER = "tiny/base", "tiny/adapter"


def digest(model):
    with torch.no_grad():
        logits = model(torch.arange(8)[None]).logits
    return hashlib.sha256(json.dumps(logits.double().round(decimals=5).tolist()).encode()).hexdigest()


def main():
    base = AutoModelForCausalLM.from_pretrained(BASE).eval()
    alone = digest(base)
    adapted = PeftModel.from_pretrained(base, ADAPTER).eval()
    whole = AutoPeftModelForCausalLM.from_pretrained(ADAPTER).eval()
    result = {
        "base": adapted.peft_config["default"].base_model_name_or_path,
        "changed": digest(adapted) != alone,
        "output": digest(adapted),
        "whole": digest(whole),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
