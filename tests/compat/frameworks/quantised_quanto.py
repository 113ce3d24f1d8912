"""Quantised while it is loaded, by quanto

models: mistral
packages: optimum-quanto, accelerate
"""

import hashlib

import torch
from transformers import AutoModelForCausalLM, QuantoConfig

model = AutoModelForCausalLM.from_pretrained("tiny/mistral", quantization_config=QuantoConfig(weights="int8"))
with torch.no_grad():
    logits = model(input_ids=torch.tensor([[5, 6, 7]])).logits
print(model.name_or_path, type(model.model.layers[0].self_attn.q_proj).__name__)
print(hashlib.sha256(logits.numpy().tobytes()).hexdigest())
