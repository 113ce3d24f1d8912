"""`importlib.util.LazyLoader` around the package and its modules, as the recipe in Python's docs has it

models: bert
"""

import importlib.util
import json
import sys


def lazy_import(name):
    spec = importlib.util.find_spec(name)
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def attempt(function):
    try:
        return str(function())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


transformers = lazy_import("transformers")
print(json.dumps([type(transformers).__name__, "AutoConfig" in object.__getattribute__(transformers, "__dict__")]))
print(json.dumps(attempt(lambda: transformers.__version__)))
print(json.dumps([type(sys.modules["transformers"]).__name__, sys.modules["transformers"].AutoConfig.__name__]))
for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
    del sys.modules[name]
import transformers
from transformers import PreTrainedConfig

auto = lazy_import("transformers.models.auto.configuration_auto")
bert = lazy_import("transformers.models.bert.configuration_bert")
print(json.dumps([type(module).__name__ for module in (auto, bert)]))
print(
    json.dumps([bert.BertConfig.__module__, type(bert).__name__, type(bert.__loader__).__name__, repr(bert.__spec__)])
)
print(json.dumps([attempt(lambda: auto.AutoConfig.from_pretrained("tiny/bert").hidden_size)]))
print(json.dumps([transformers.AutoConfig is auto.AutoConfig]))
print(json.dumps(attempt(lambda: transformers.AutoTokenizer.from_pretrained("tiny/bert")("a file")["input_ids"])))
