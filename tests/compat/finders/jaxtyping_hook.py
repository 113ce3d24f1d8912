"""jaxtyping's `install_import_hook` on parts of transformers

models: bert
packages: jaxtyping, beartype
"""

import json
import sys

from beartype.roar import BeartypeCallHintViolation as Violation
from jaxtyping import install_import_hook

install_import_hook(
    ["transformers.models.bert", "transformers.models.auto.auto_factory", "transformers.utils.hub"], "beartype.beartype"
)


def attempt(function, *args, **kwargs):
    try:
        return str(function(*args, **kwargs))[:300]
    except Violation as error:
        return f"violation: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.models.bert.modeling_bert import BertModel
from transformers.utils import hub

for module in ("utils.hub", "models.auto.configuration_auto", "models.bert.modeling_bert", "models.auto.auto_factory"):
    found = sys.modules[f"transformers.{module}"]
    print(json.dumps([module, type(found.__loader__).__name__, type(found.__spec__.loader).__name__]))
print(json.dumps([attempt(hub.cached_files, "tiny/bert", 3), attempt(hub.has_file, "tiny/bert", b"x")]))
print(json.dumps([attempt(AutoConfig.from_pretrained, "tiny/bert"), attempt(BertModel.from_pretrained, "tiny/bert")]))
print(json.dumps(attempt(lambda: AutoModel.from_pretrained("tiny/bert").name_or_path)))
print(json.dumps(attempt(lambda: AutoTokenizer.from_pretrained("tiny/bert")("the quick fox")["input_ids"])))
print(json.dumps([transformers.AutoModel is AutoModel, attempt(hub.cached_file, "tiny/bert", "no-such-file")]))
