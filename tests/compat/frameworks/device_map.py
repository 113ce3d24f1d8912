"""`device_map`: auto, one device, layers on disk, out of shards

models: mistral, llama
packages: accelerate
"""

import hashlib
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline


def seen(model):
    digest = hashlib.sha256()
    ids = AutoTokenizer.from_pretrained(model.name_or_path)("the quick fox", return_tensors="pt")
    with torch.no_grad():
        digest.update(model(**ids).logits.numpy().tobytes())
    return [
        model.name_or_path,
        {name: str(device) for name, device in getattr(model, "hf_device_map", {}).items()},
        digest.hexdigest(),
    ]


for name in ("tiny/mistral", "tiny/llama"):
    for device_map in ("auto", "cpu", {"": "cpu"}, "sequential"):
        print(json.dumps(seen(AutoModelForCausalLM.from_pretrained(name, device_map=device_map))))
    parts = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu"}
    parts |= {"model.rotary_emb": "cpu", "lm_head": "cpu"}
    print(json.dumps(seen(AutoModelForCausalLM.from_pretrained(name, device_map=parts, offload_folder="offload"))))
    small = {"cpu": 20_000, "disk": 10_000_000}
    model = AutoModelForCausalLM.from_pretrained(name, device_map="auto", max_memory=small, offload_folder="more")
    print(json.dumps(seen(model)))
print(pipeline("text-generation", "tiny/llama", device_map="cpu")("the quick", max_new_tokens=3, do_sample=False))
