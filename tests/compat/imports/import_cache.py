"""`clear_import_cache`, modules deleted from `sys.modules` and imported anew, with loads between

models: bert
"""

import gc
import importlib
import json
import sys

import transformers
from transformers import AutoConfig, AutoModel
from transformers.utils import import_utils


def told(when):
    from transformers import AutoConfig as config_class
    from transformers import AutoTokenizer as tokenizer_class

    config = config_class.from_pretrained("tiny/bert")
    tokens = tokenizer_class.from_pretrained("tiny/bert")("a file is a tree")["input_ids"]
    now = sys.modules["transformers"]
    print(json.dumps([when, config_class is AutoConfig, now is transformers, type(now).__name__, type(now).__module__]))
    print(json.dumps([when, config.hidden_size, config._name_or_path, tokens, type(config) is now.BertConfig]))


told("first")
print(json.dumps([AutoModel.from_pretrained("tiny/bert").config.hidden_size]))
import_utils.clear_import_cache()
print(json.dumps(sorted(name for name in sys.modules if name.startswith("transformers"))))
told("cleared")
import_utils.clear_import_cache()
importlib.invalidate_caches()
told("cleared twice")
for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
    del sys.modules[name]
gc.collect()
told("deleted")
print(
    json.dumps(
        [
            "old",
            AutoConfig.from_pretrained("tiny/bert").hidden_size,
            AutoModel.from_pretrained("tiny/bert").config._name_or_path,
        ]
    )
)
del sys.modules["transformers"]
try:
    told("deleted, children kept")
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
