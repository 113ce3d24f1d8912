"""`torchrun`: two ranks load the same model at once

models: llama
command: -m torch.distributed.run --standalone --nproc-per-node=2 {script}
"""

import hashlib
import json
import os

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM, AutoTokenizer

dist.init_process_group("gloo")
rank = dist.get_rank()
dist.barrier()
model = AutoModelForCausalLM.from_pretrained("tiny/llama")
tokenizer = AutoTokenizer.from_pretrained("tiny/llama")
digest = hashlib.sha256()
for name, tensor in sorted(model.state_dict().items()):
    digest.update(name.encode() + tensor.numpy().tobytes())
with torch.no_grad():
    logits = model(**tokenizer("the quick fox", return_tensors="pt")).logits
total = logits.clone()
dist.all_reduce(total)
seen = [None, None]
dist.all_gather_object(seen, [rank, os.environ["LOCAL_RANK"], model.name_or_path, digest.hexdigest()])
if rank == 0:
    print(json.dumps(seen))
    print(torch.equal(total, logits * 2), torch.__version__)
dist.destroy_process_group()
