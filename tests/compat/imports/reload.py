"""`importlib.reload` of the package, of its children and of the download layer, and loads afterwards

models: bert
"""

import importlib
import json
import sys

import transformers
from transformers import AutoConfig, AutoTokenizer


def told(when):
    config = transformers.AutoConfig.from_pretrained("tiny/bert")
    same = [transformers.AutoConfig is AutoConfig, isinstance(config, transformers.BertConfig)]
    same += [sys.modules["transformers"] is transformers, type(transformers).__name__, type(config).__qualname__]
    print(json.dumps([when, same, config.hidden_size, config._name_or_path]))


told("first")
before = transformers
print(json.dumps([importlib.reload(transformers) is before, sys.modules["transformers"] is before]))
told("package")
for name in ("utils.hub", "configuration_utils", "models.auto.configuration_auto", "models.bert.configuration_bert"):
    module = sys.modules[f"transformers.{name}"]
    print(json.dumps([name, importlib.reload(module) is module, type(module.__loader__).__name__]))
    told(name)
    print(json.dumps([module.__spec__.name, module.__spec__.loader is module.__loader__, repr(module)]))
print(json.dumps([transformers.models.auto.configuration_auto.AutoConfig is AutoConfig]))
for name in ("AutoConfig", "AutoTokenizer"):
    transformers.__dict__.pop(name, None)
    print(json.dumps([name, getattr(transformers, name).__module__, name in vars(transformers)]))
print(json.dumps(AutoTokenizer.from_pretrained("tiny/bert")("the quick fox")["input_ids"]))
print(json.dumps(AutoConfig.from_pretrained("tiny/bert").num_attention_heads))
import huggingface_hub

print(json.dumps(importlib.reload(huggingface_hub) is sys.modules["huggingface_hub"]))
told("hub client")
