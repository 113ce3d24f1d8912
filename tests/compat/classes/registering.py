"""`register` on AutoConfig, AutoModel and AutoTokenizer, and what is found afterwards

models: bert
"""

import json

import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertModel
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast


class PebbleConfig(PreTrainedConfig):
    model_type = "pebble"

    def __init__(self, size=4, **kwargs):
        self.size = size
        super().__init__(**kwargs)


class PebbleModel(PreTrainedModel):
    config_class = PebbleConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = torch.nn.Linear(config.size, config.size)
        self.post_init()


def attempt(function, *args, **kwargs):
    try:
        return str(function(*args, **kwargs))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


AutoConfig.register("pebble", PebbleConfig)
AutoModel.register(PebbleConfig, PebbleModel)
print(
    json.dumps(
        [attempt(AutoConfig.register, "pebble", PebbleConfig), attempt(AutoModel.register, PebbleConfig, PebbleModel)]
    )
)
AutoConfig.register("pebble", PebbleConfig, exist_ok=True)
print(
    json.dumps(
        [attempt(AutoConfig.register, "other", PebbleConfig), attempt(AutoModel.register, BertConfig, PebbleModel)]
    )
)
AutoTokenizer.register(PebbleConfig, fast_tokenizer_class=PreTrainedTokenizerFast)
model = AutoModel.from_config(PebbleConfig(size=3))
model.save_pretrained("pebble")
back = AutoModel.from_pretrained("pebble")
print(
    json.dumps(
        [
            type(back).__name__,
            back.config.size,
            type(AutoConfig.from_pretrained("pebble")).__name__,
            type(back) is PebbleModel,
        ]
    )
)
print(json.dumps([AutoConfig.for_model("pebble").size, type(AutoModel.from_pretrained("tiny/bert")) is BertModel]))
print(json.dumps(attempt(AutoModelForMaskedLM.from_pretrained, "pebble")))
AutoModelForMaskedLM.register(PebbleConfig, PebbleModel)
print(json.dumps(type(AutoModelForMaskedLM.from_pretrained("pebble")).__name__))
PebbleModel.register_for_auto_class("AutoModel")
PebbleConfig.register_for_auto_class()
model.save_pretrained("with-code")
print(json.dumps(AutoConfig.from_pretrained("with-code", trust_remote_code=False).to_dict().get("auto_map")))
