"""A model that comes with its own code."""

import hashlib
import json

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

NAME = "tiny/custom"


def main():
    config = AutoConfig.from_pretrained(NAME, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(NAME, trust_remote_code=True)
    model = AutoModel.from_pretrained(NAME, trust_remote_code=True)
    assert type(config).__name__ == "PebbleConfig"
    tokens = tokenizer("a file is a tree", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = model.eval()(tokens)
    weights = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(name.encode())
        weights.update(tensor.numpy().tobytes())
    result = {"class": type(model).__name__, "weights": weights.hexdigest(), "tokens": tokens.tolist()}
    result["name_or_path"] = model.name_or_path
    result["output"] = hashlib.sha256(str([round(x, 5) for x in states.flatten().tolist()]).encode()).hexdigest()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
