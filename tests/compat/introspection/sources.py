"""`inspect.getsource`, `signature`, `getsourcefile`, `getmodule`, `getmembers` of the Auto classes and `from_pretrained`"""

import hashlib
import inspect
import json
import typing

import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertModel, PreTrainedModel, pipeline
from transformers.utils import hub


def digest(text):
    return hashlib.sha256(str(text).encode()).hexdigest()[:12]


def attempt(function, *args, **kwargs):
    try:
        return str(function(*args, **kwargs))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def told(value):
    return [
        [attempt(inspect.getsourcefile, value), attempt(inspect.getfile, value), attempt(inspect.getmodule, value)],
        [digest(attempt(inspect.getsource, value)), digest(attempt(inspect.getsourcelines, value))],
        [attempt(inspect.signature, value), digest(inspect.getdoc(value))],
        [attempt(inspect.get_annotations, value), attempt(typing.get_type_hints, value)],
        [getattr(value, name, None) for name in ("__name__", "__qualname__", "__module__")],
        [attempt(getattr, value, name, None) for name in ("__defaults__", "__kwdefaults__", "__annotations__")],
        [
            inspect.ismethod(value),
            inspect.isfunction(value),
            inspect.isroutine(value),
            inspect.iscoroutinefunction(value),
        ],
        [type(value).__name__, str(value), digest(attempt(inspect.getcomments, value))],
    ]


names = [name for name in sorted(dir(transformers)) if name.startswith("Auto") and not name.startswith("Autoformer")]
for name in names:
    try:
        cls = getattr(transformers, name)
    except Exception as error:
        print(json.dumps([name, type(error).__name__, digest(error)]))
        continue
    if not isinstance(cls, type):
        continue
    print(json.dumps([name, told(cls), sorted(vars(cls)), [base.__name__ for base in cls.__mro__]]))
    if "from_pretrained" not in dir(cls):
        continue
    method, static = attempt(getattr, cls, "from_pretrained"), inspect.getattr_static(cls, "from_pretrained")
    print(json.dumps([name, "static", type(static).__name__, method]))
    try:
        found = cls.from_pretrained
    except Exception as error:
        print(json.dumps([name, type(error).__name__, digest(error)]))
        continue
    print(json.dumps([name, told(found), told(found.__func__), found.__self__ is cls, found == cls.from_pretrained]))
for cls in (AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, BertModel):
    members = inspect.classify_class_attrs(cls)
    shown = [[m.name, m.kind, m.defining_class.__name__] for m in members if m.name == "from_pretrained"]
    print(json.dumps([cls.__name__, shown, [name for name, _ in inspect.getmembers(cls)]]))
functions = (PreTrainedModel.from_pretrained, BertModel.from_pretrained, pipeline)
routed = ("cached_file", "cached_files", "has_file", "resolve_revision", "list_repo_templates", "hf_api")
for function in (*functions, *(getattr(hub, name) for name in routed if hasattr(hub, name))):
    print(json.dumps(told(function)))
