"""copy and deepcopy of classes, methods, modules and specs

when: always
"""

import copy
import json

import transformers
from transformers import AutoConfig, AutoModel, BertConfig
from transformers.utils import hub

THINGS = {
    "class": AutoModel,
    "method": AutoModel.from_pretrained,
    "function": hub.cached_files,
    "api": hub.hf_api() if hasattr(hub, "hf_api") else None,
    "config": BertConfig(hidden_size=12),
    "spec": transformers.__spec__,
    "loader": transformers.__loader__,
    "module": transformers,
    "child": transformers.utils,
    "classes": [AutoConfig, {"model": AutoModel}],
}
for name, thing in THINGS.items():
    for function in (copy.copy, copy.deepcopy):
        try:
            back = function(thing)
        except Exception as error:
            print(json.dumps([name, function.__name__, type(error).__name__, str(error)]))
            continue
        print(json.dumps([name, function.__name__, type(back).__name__, back is thing]))
        if name != "function" and hasattr(back, "__dict__"):
            print(json.dumps([name, len(vars(back)), [key for key in vars(thing) if key not in vars(back)]]))
