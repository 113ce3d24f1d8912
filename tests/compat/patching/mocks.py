"""`mock.patch("transformers.AutoModel.from_pretrained")` and its relatives

models: bert
when: always
"""

import json
import sys
from unittest import mock

import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.models.auto.modeling_auto import AutoModel as deep

before = {cls: vars(cls)["from_pretrained"] for cls in (AutoConfig, AutoModel, AutoTokenizer)}


def unchanged():
    return [vars(cls)["from_pretrained"] is value for cls, value in before.items()]


with mock.patch("transformers.AutoModel.from_pretrained") as fake:
    fake.return_value = "faked"
    print(json.dumps([AutoModel.from_pretrained("x", a=1), deep.from_pretrained("y"), str(fake.call_args_list)]))
    print(json.dumps([type(fake).__name__, transformers.AutoModel.from_pretrained is fake]))
print(json.dumps(["after", unchanged()]))


@mock.patch("transformers.AutoTokenizer.from_pretrained", autospec=True, side_effect=lambda name, **_: name.upper())
@mock.patch.object(AutoConfig, "from_pretrained", return_value="config")
def decorated(config, tokenizer):
    print(json.dumps([AutoConfig.from_pretrained("a"), AutoTokenizer.from_pretrained("b"), config.call_count]))
    print(json.dumps([type(tokenizer).__name__, str(tokenizer.call_args)]))


decorated()
print(json.dumps(["after", unchanged()]))
with mock.patch.object(AutoConfig, "from_pretrained", wraps=AutoConfig.from_pretrained) as spy:
    print(json.dumps([AutoConfig.from_pretrained("tiny/bert").hidden_size, str(spy.call_args)]))
with mock.patch("transformers.AutoModel") as fake, mock.patch("transformers.utils.hub.cached_file", return_value=None):
    print(json.dumps([transformers.AutoModel is fake, transformers.utils.hub.cached_file("a", "b")]))
print(json.dumps(["after", unchanged(), transformers.AutoModel is AutoModel]))
specced = mock.create_autospec(AutoModel)
try:
    specced.from_pretrained()
    print(json.dumps([type(specced.from_pretrained).__name__, isinstance(specced, type)]))
except TypeError as error:
    print(json.dumps(str(error)))
patcher = mock.patch("transformers.AutoModel.from_pretrained", new=classmethod(lambda cls, name: [cls.__name__, name]))
patcher.start()
print(json.dumps(AutoModel.from_pretrained("tiny/bert")))
patcher.stop()
with mock.patch.dict(sys.modules, {"transformers": mock.MagicMock(name="transformers")}):
    import transformers as faked
    from transformers import AutoModel as faked_class

    print(json.dumps([type(faked).__name__, str(faked_class.from_pretrained("x"))[:11]]))
import transformers as again

print(json.dumps([again is transformers, again.AutoModel is AutoModel, unchanged()]))
with mock.patch.multiple("transformers.AutoModel", from_pretrained=mock.DEFAULT, from_config=mock.DEFAULT) as fakes:
    print(json.dumps([sorted(fakes), type(AutoModel.from_config("c")).__name__]))
with mock.patch("huggingface_hub.hf_hub_download", return_value="file"):
    import huggingface_hub

    print(json.dumps(huggingface_hub.hf_hub_download("tiny/bert", "config.json")))
with mock.patch("transformers.utils.hub.cached_files", side_effect=OSError("no network in tests")):
    try:
        AutoConfig.from_pretrained("tiny/bert")
    except OSError as error:
        print(json.dumps(str(error)))
print(json.dumps([unchanged(), AutoConfig.from_pretrained("tiny/bert").hidden_size]))
