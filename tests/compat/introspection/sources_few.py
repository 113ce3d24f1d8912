"""`inspect.getsource`, `signature`, `getsourcefile` of `AutoModel.from_pretrained` and of the functions below it

when: always
"""

import hashlib
import inspect
import json

from transformers import AutoConfig, AutoModel, AutoProcessor, AutoTokenizer
from transformers.utils import hub


def told(value):
    source = hashlib.sha256(inspect.getsource(value).encode()).hexdigest()[:12]
    return [
        [inspect.getsourcefile(value), inspect.getfile(value), inspect.getmodule(value).__name__, source],
        [str(inspect.signature(value)), inspect.getsourcelines(value)[1]],
        [value.__name__, value.__qualname__, value.__module__, len(value.__doc__ or "")],
        [str(value.__defaults__), str(value.__kwdefaults__), str(value.__annotations__)],
        [type(value).__name__, inspect.ismethod(value), inspect.isfunction(value), str(value)],
        [value.__code__.co_name, value.__code__.co_filename, value.__code__.co_firstlineno],
    ]


for cls in (AutoConfig, AutoModel, AutoProcessor, AutoTokenizer):
    method = cls.from_pretrained
    print(json.dumps([told(method), told(method.__func__), method.__self__ is cls, method == cls.from_pretrained]))
    print(json.dumps([type(inspect.getattr_static(cls, "from_pretrained")).__name__, sorted(vars(cls))]))
for name in ("cached_file", "cached_files", "has_file", "resolve_revision", "list_repo_templates", "hf_api"):
    if hasattr(hub, name):
        print(json.dumps([name, told(getattr(hub, name)), str(inspect.getfullargspec(getattr(hub, name)))]))
