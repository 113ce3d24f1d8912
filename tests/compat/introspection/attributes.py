"""`__spec__`, `__loader__`, `__path__`, `__file__`, `__version__`, `dir()`, `repr`, `type` of the package and of what it loads

when: always
"""

import functools
import hashlib
import json
import sys
import types

import transformers

show = functools.partial(json.dumps, default=str)


def digest(names):
    names = list(names)
    return [len(names), hashlib.sha256(str(sorted(names)).encode()).hexdigest()[:12]]


def told(module):
    spec, names = module.__spec__, ("__name__", "__file__", "__package__", "__version__", "__doc__", "__path__")
    return [
        [str(vars(module).get(name)) for name in names],
        [type(module).__name__, type(module).__module__, type(module).__qualname__, type(module).__doc__],
        [base.__name__ for base in type(module).__mro__][-3:],
        [repr(module), str(module.__class__), isinstance(module, types.ModuleType)],
        [repr(spec), type(spec.loader).__name__, spec.loader is module.__loader__, repr(module.__loader__)],
        [spec.name, spec.origin, spec.cached, spec.submodule_search_locations],
        [digest(vars(module)), digest(dir(module)), "AutoModel" in dir(module)],
    ]


print(show([sorted(name for name in sys.modules if name.startswith("transformers"))]))
print(show(told(transformers)))
print(show([transformers.__version__, digest(map(str, transformers.__all__))]))
for name in ("NoSuchName", "_private", "__wrapped__", "__nothing__"):
    print(show([name, hasattr(transformers, name), getattr(transformers, name, "default")]))
try:
    transformers.NoSuchName
except AttributeError as error:
    print(show([str(error), error.name, error.obj is transformers]))
try:
    from transformers import NoSuchName
except ImportError as error:
    print(show([str(error), error.name, error.path]))
try:
    import transformers.no_such_module
except ImportError as error:
    print(show([type(error).__name__, str(error), error.name, error.path]))
transformers.ours = 1
print(show([transformers.ours, "ours" in vars(transformers)]))
del transformers.ours
print(show([hasattr(transformers, "ours"), "AutoConfig" in vars(transformers)]))
from transformers import AutoConfig, AutoTokenizer, BertConfig, pipelines

print(show(["AutoConfig" in vars(transformers), AutoConfig is transformers.AutoConfig]))
for name, module in sorted(sys.modules.items()):
    if name.partition(".")[0] == "transformers":
        print(show([name, told(module)]))
space = {}
exec("from transformers.models.auto import *", space)
print(show(sorted(space)))
print(show([transformers == transformers, hash(transformers) == hash(sys.modules["transformers"])]))
