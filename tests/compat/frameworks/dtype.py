"""`dtype`, `torch_dtype` and `low_cpu_mem_usage`

models: llama, mistral, t5
"""

import hashlib
import json

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, LlamaForCausalLM, pipeline


def seen(model):
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype}".encode() + tensor.float().numpy().tobytes())
    return [type(model).__name__, str(model.dtype), str(model.config.dtype), digest.hexdigest()]


for name in ("tiny/llama", "tiny/mistral"):
    for dtype in ("auto", torch.bfloat16, "float16", None):
        for word in ("dtype", "torch_dtype"):
            print(json.dumps([str(dtype), word, seen(AutoModelForCausalLM.from_pretrained(name, **{word: dtype}))]))
    for low in (True, False):
        model = LlamaForCausalLM if name == "tiny/llama" else AutoModelForCausalLM
        print(json.dumps([low, seen(model.from_pretrained(name, low_cpu_mem_usage=low, dtype="bfloat16"))]))
print(json.dumps(seen(AutoModel.from_pretrained("tiny/t5", torch_dtype="auto", low_cpu_mem_usage=True))))
print(json.dumps(seen(pipeline("text-generation", "tiny/llama", dtype=torch.bfloat16).model)))
print(json.dumps(seen(pipeline("text-generation", "tiny/llama", torch_dtype="float16").model)))
print(AutoConfig.from_pretrained("tiny/llama", dtype="float16").dtype)
