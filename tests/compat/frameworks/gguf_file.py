"""`gguf_file=` by name, in a folder and in a subfolder

repos: gguf
packages: gguf
"""

import hashlib
import json

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM


def seen(model):
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.float().numpy().tobytes())
    return [type(model).__name__, model.name_or_path, str(model.dtype), digest.hexdigest()]


print(AutoConfig.from_pretrained("tiny/gguf", gguf_file="tiny.gguf").to_json_string())
for kind in (AutoModelForCausalLM, LlamaForCausalLM):
    print(json.dumps(seen(kind.from_pretrained("tiny/gguf", gguf_file="tiny.gguf"))))
    print(json.dumps(seen(kind.from_pretrained("tiny/gguf", gguf_file="sub/tiny.gguf"))))
print(json.dumps(seen(AutoModelForCausalLM.from_pretrained("tiny/gguf", gguf_file="tiny.gguf", dtype=torch.bfloat16))))
for options in ({"gguf_file": "missing.gguf"}, {}):
    try:
        AutoModelForCausalLM.from_pretrained("tiny/gguf", **options)
    except Exception as error:
        print(type(error).__name__, error)
