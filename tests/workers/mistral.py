"""A model in several shards, loaded the way that large ones are."""

import hashlib
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

CHECKPOINT = "tiny/mistral"


@torch.no_grad()
def main():
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINT, low_cpu_mem_usage=True)
    tokens = tokenizer.encode("a block is a piece", return_tensors="pt")
    logits = model.eval()(tokens).logits[0, -1]
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.contiguous().numpy().tobytes())
    return {
        "class": type(model).__name__,
        "weights": sha.hexdigest(),
        "tokens": tokens.tolist(),
        "name_or_path": model.name_or_path,
        "output": hashlib.sha256(",".join(f"{x:.5f}" for x in logits.tolist()).encode()).hexdigest(),
    }


if __name__ == "__main__":
    print(json.dumps(main()))
