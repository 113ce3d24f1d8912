"""`accelerate launch`: two processes load and prepare the same model

models: llama
packages: accelerate
command: -m accelerate.commands.launch --multi_gpu --num_processes=2 --num_machines=1 --main_process_port=0 {script}
"""

import json

import torch
from accelerate import Accelerator
from transformers import AutoModelForCausalLM, AutoTokenizer

accelerator = Accelerator(cpu=True)
tokenizer = AutoTokenizer.from_pretrained("tiny/llama")
model = AutoModelForCausalLM.from_pretrained("tiny/llama")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model, optimizer = accelerator.prepare(model, optimizer)
batch = tokenizer(["the quick fox", "the lazy dog"][accelerator.process_index], return_tensors="pt")
loss = model(**batch, labels=batch["input_ids"]).loss
accelerator.backward(loss)
optimizer.step()
total = sum(parameter.sum() for parameter in accelerator.unwrap_model(model).parameters())
seen = accelerator.gather(torch.stack([loss.detach(), total.detach()])).tolist()
if accelerator.is_main_process:
    print(accelerator.num_processes, accelerator.unwrap_model(model).name_or_path, json.dumps(seen))
accelerator.end_training()
