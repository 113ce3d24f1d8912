"""Load in a background thread while the rest starts."""

import hashlib
import json
import threading

import torch


def loader(name, into):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    into["tokenizer"] = AutoTokenizer.from_pretrained(name)
    into["model"] = AutoModelForCausalLM.from_pretrained(name)


def main():
    loaded = {}
    thread = threading.Thread(target=loader, args=("tiny/opt", loaded))
    thread.start()
    thread.join()
    tokenizer, model = loaded["tokenizer"], loaded["model"].eval()
    inputs = tokenizer("jumps over the lazy dog", return_tensors="pt")
    with torch.no_grad():
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode() + tensor.numpy().tobytes())
    result = {"class": type(model).__name__, "weights": sha.hexdigest(), "tokens": inputs["input_ids"].tolist()}
    result["name_or_path"] = model.name_or_path
    result["output"] = hashlib.sha256(repr([round(x, 5) for x in logits.view(-1).tolist()]).encode()).hexdigest()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
