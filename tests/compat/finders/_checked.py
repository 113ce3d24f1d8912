"""What a user sees of transformers while another tool checks the types of some of its modules."""

import json
import sys

MODULES = ("utils.hub", "models.auto.configuration_auto", "models.bert.modeling_bert", "models.auto.auto_factory")
CHECKED = ("transformers.models.bert", "transformers.models.auto.auto_factory", "transformers.utils.hub")


def observe(violation):
    """Print it; ``violation`` is what the tool raises."""

    def attempt(function, *args, **kwargs):
        try:
            return str(function(*args, **kwargs))[:300]
        except violation as error:
            return f"violation: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    import transformers
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.models.bert.modeling_bert import BertModel
    from transformers.utils import hub

    for module in MODULES:
        found = sys.modules[f"transformers.{module}"]
        print(json.dumps([module, type(found.__loader__).__name__, type(found.__spec__.loader).__name__]))
    print(json.dumps([attempt(hub.cached_files, "tiny/bert", 3), attempt(hub.has_file, "tiny/bert", b"x")]))
    print(json.dumps([attempt(cls.from_pretrained, "tiny/bert") for cls in (AutoConfig, BertModel)]))
    print(json.dumps(attempt(lambda: AutoModel.from_pretrained("tiny/bert").name_or_path)))
    print(json.dumps(attempt(lambda: AutoTokenizer.from_pretrained("tiny/bert")("the quick fox")["input_ids"])))
    print(json.dumps([transformers.AutoModel is AutoModel, attempt(hub.cached_file, "tiny/bert", "no-such-file")]))
