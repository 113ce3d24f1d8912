"""What a user sees of a quantised checkpoint."""

import hashlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def observe(name):
    """Load it, run it, and print digests of what it holds and of what it says."""
    model = AutoModelForCausalLM.from_pretrained(name)
    tokenizer = AutoTokenizer.from_pretrained(name)
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{key} {tensor.dtype}".encode() + tensor.float().numpy().tobytes())
    with torch.no_grad():
        logits = model(**tokenizer("the quick fox", return_tensors="pt")).logits
    layer = model.model.layers[0].self_attn.q_proj
    print(model.name_or_path, type(layer).__name__, layer.weight.dtype)
    print(digest.hexdigest(), hashlib.sha256(logits.float().numpy().tobytes()).hexdigest())
