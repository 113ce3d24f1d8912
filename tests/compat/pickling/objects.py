"""pickle, `torch.save`, copy and deepcopy of loaded models, tokenizers and pipelines, and back in another process

models: bert, custom
packages: cloudpickle
steps: write read
"""

import copy
import hashlib
import json
import pickle
import sys
from pathlib import Path

import cloudpickle
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, pipeline


def seen(thing):
    if isinstance(thing, torch.nn.Module):
        weights = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in thing.state_dict().values()))
        return [type(thing).__qualname__, type(thing).__module__, thing.name_or_path, weights.hexdigest()[:12]]
    if callable(thing) and hasattr(thing, "vocab_size"):
        return [type(thing).__name__, thing.name_or_path, thing("the quick fox")["input_ids"]]
    if hasattr(thing, "to_dict"):
        return [type(thing).__name__, thing._name_or_path, hashlib.sha256(str(thing).encode()).hexdigest()[:12]]
    return [type(thing).__name__]


def write():
    # The checkpoint lacks the pooler's weights, which are then random.
    torch.manual_seed(0)
    things = {
        "config": AutoConfig.from_pretrained("tiny/bert"),
        "tokenizer": AutoTokenizer.from_pretrained("tiny/bert"),
        "model": AutoModel.from_pretrained("tiny/bert"),
        "custom": AutoModel.from_pretrained("tiny/custom", trust_remote_code=True),
        "pipeline": pipeline("feature-extraction", model="tiny/bert", device="cpu"),
    }
    for name, thing in things.items():
        for way, function in (("copy", copy.copy), ("deepcopy", copy.deepcopy)):
            print(json.dumps([name, way, seen(function(thing))]))
        for way, module in (("pickle", pickle), ("cloudpickle", cloudpickle)):
            content = module.dumps(thing)
            print(json.dumps([name, way, len(content), seen(module.loads(content))]))
            Path(f"{way}-{name}").write_bytes(content)
    torch.save(things["model"], "saved.pt")
    things["model"].save_pretrained("folder")
    things["custom"].save_pretrained("custom-folder")
    things["tokenizer"].save_pretrained("folder")
    for folder in ("folder", "custom-folder"):
        for path in sorted(Path(folder).iterdir()):
            print(json.dumps([str(path), hashlib.sha256(path.read_bytes()).hexdigest()[:12]]))


def read():
    torch.manual_seed(0)
    for way in ("pickle", "cloudpickle"):
        for name in ("config", "tokenizer", "model", "pipeline", "custom"):
            try:
                print(json.dumps([way, name, seen(pickle.loads(Path(f"{way}-{name}").read_bytes()))]))
            except Exception as error:
                print(json.dumps([way, name, type(error).__name__, str(error)]))
    print(json.dumps(seen(torch.load("saved.pt", weights_only=False))))
    print(json.dumps([seen(AutoModel.from_pretrained("folder")), seen(AutoTokenizer.from_pretrained("folder"))]))
    print(json.dumps(seen(AutoModel.from_pretrained("custom-folder", trust_remote_code=True))))


{"write": write, "read": read}[sys.argv[1]]()
