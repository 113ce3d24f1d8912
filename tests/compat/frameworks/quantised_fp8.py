"""Quantised: float8 weights, dequantised on a CPU

repos: fp8
"""

import hashlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("tiny/fp8")
tokenizer = AutoTokenizer.from_pretrained("tiny/fp8")
digest = hashlib.sha256()
for name, tensor in sorted(model.state_dict().items()):
    if isinstance(tensor, torch.Tensor):
        digest.update(f"{name} {tensor.dtype}".encode() + tensor.float().numpy().tobytes())
with torch.no_grad():
    logits = model(**tokenizer("the quick fox", return_tensors="pt")).logits
layer = model.model.layers[0].self_attn.q_proj
print(model.name_or_path, type(layer).__name__, layer.weight.dtype)
print(digest.hexdigest(), hashlib.sha256(logits.float().numpy().tobytes()).hexdigest())
