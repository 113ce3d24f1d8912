"""Subclasses of Auto and concrete classes, `issubclass`, `isinstance`, `super()`, metaclasses, identity

models: bert
when: always
"""

import inspect
import json

import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedModel
from transformers.models.auto.auto_factory import _BaseAutoModelClass


def attempt(function, *args, **kwargs):
    try:
        return str(function(*args, **kwargs))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


class Plain(AutoModel):
    pass


class Calls(AutoConfig):
    @classmethod
    def from_pretrained(cls, name, **kwargs):
        return [cls.__name__, super().from_pretrained(name, **kwargs).hidden_size]


class Mine(BertModel):
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        print(json.dumps(["subclass", cls.__name__]))


class Below(Mine):
    pass


class Mixed(Calls, dict):
    pass


print(
    json.dumps([issubclass(AutoModel, _BaseAutoModelClass), issubclass(Plain, AutoModel), issubclass(AutoModel, Plain)])
)
print(json.dumps([[base.__name__ for base in cls.__mro__] for cls in (AutoModel, Plain, AutoTokenizer, Mine, Mixed)]))
print(json.dumps([type(cls).__name__ for cls in (AutoModel, AutoConfig, Plain, BertModel)]))
print(json.dumps(sorted(cls.__name__ for cls in AutoModel.__subclasses__() + AutoConfig.__subclasses__())))
print(json.dumps([attempt(cls) for cls in (AutoModel, AutoConfig, AutoTokenizer, Plain)]))
print(json.dumps([type(Plain.from_pretrained("tiny/bert")).__name__, Calls.from_pretrained("tiny/bert")]))
print(json.dumps(Mixed.from_pretrained("tiny/bert")))
model = Below.from_pretrained("tiny/bert")
print(json.dumps([type(model).__name__, isinstance(model, (BertModel, PreTrainedModel)), model.name_or_path]))
print(
    json.dumps(
        [isinstance(AutoConfig.from_pretrained("tiny/bert"), BertConfig), Plain.from_pretrained.__self__ is Plain]
    )
)
print(json.dumps(type(AutoModel.from_pretrained.__func__(AutoModel, "tiny/bert")).__name__))
print(json.dumps(type(vars(AutoModel)["from_pretrained"].__func__(Plain, "tiny/bert")).__name__))
print(json.dumps(type(vars(AutoModel)["from_pretrained"].__get__(None, Plain)("tiny/bert")).__name__))
print(json.dumps([repr(AutoModel), repr(Plain.__base__), hash(AutoModel) == hash(transformers.AutoModel)]))
print(
    json.dumps(
        [callable(AutoModel.from_pretrained), inspect.ismethod(Plain.from_pretrained), str(AutoModel.from_pretrained)]
    )
)
print(
    json.dumps(
        [AutoModel.from_pretrained == AutoModel.from_pretrained, Plain.from_pretrained == AutoModel.from_pretrained]
    )
)
print(
    json.dumps(
        [{AutoModel: 1}[transformers.AutoModel], AutoModel.__qualname__, AutoModel.__module__, AutoModel.__name__]
    )
)
print(json.dumps(attempt(setattr, AutoModel, "mine", 1) + str(AutoModel.mine)))
print(
    json.dumps(
        [attempt(AutoModel.from_pretrained), attempt(AutoConfig.from_pretrained), attempt(BertConfig.from_pretrained)]
    )
)
match = {"class": AutoModel}
print(json.dumps([key for key, value in match.items() if value is transformers.AutoModel]))
