"""accelerate's `init_empty_weights` and `load_checkpoint_and_dispatch`

models: mistral
packages: accelerate
"""

import hashlib
import os

import torch
from accelerate import init_empty_weights, load_checkpoint_and_dispatch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import cached_file

config = AutoConfig.from_pretrained("tiny/mistral")
with init_empty_weights():
    model = AutoModelForCausalLM.from_config(config)
print(sorted({str(parameter.device) for parameter in model.parameters()}))
whole = AutoModelForCausalLM.from_pretrained("tiny/mistral")
folder = os.path.dirname(cached_file("tiny/mistral", "model.safetensors.index.json"))
print(sorted(os.listdir(folder)))
model = load_checkpoint_and_dispatch(model, folder, device_map={"": "cpu"})
with torch.no_grad():
    logits = [each(input_ids=torch.tensor([[5, 6, 7]])).logits for each in (model, whole)]
print(torch.equal(*logits), hashlib.sha256(logits[0].numpy().tobytes()).hexdigest())
