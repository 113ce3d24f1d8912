"""`HF_HUB_OFFLINE` and `local_files_only`, once the model is there

models: llama
steps: fill offline
"""

import os
import sys

if sys.argv[1] == "offline":
    os.environ["HF_HUB_OFFLINE"] = "1"

from transformers import AutoConfig, AutoModel, AutoTokenizer

local = {"local_files_only": True}
for options in ({}, local) if sys.argv[1] == "offline" else ({},):
    model = AutoModel.from_pretrained("tiny/llama", **options)
    tokenizer = AutoTokenizer.from_pretrained("tiny/llama", **options)
    print(sys.argv[1], model.name_or_path, sum(parameter.sum().item() for parameter in model.parameters()))
    print(tokenizer("the quick fox")["input_ids"], tokenizer.chat_template)
if sys.argv[1] == "offline":
    for absent, revision in (("tiny/absent", "main"), ("tiny/llama", "v9.9")):
        for options in ({}, local):
            try:
                AutoConfig.from_pretrained(absent, revision=revision, **options)
            except Exception as error:
                print(type(error).__name__, error)
