"""`importlib.util.find_spec` for the package and its children, before and after import

when: always
"""

import copy
import importlib.abc
import importlib.machinery
import importlib.util
import json
import pickle
import sys

NAMES = ("transformers", "transformers.utils", "transformers.utils.hub", "transformers.models.bert.modeling_bert")


def told(spec):
    if spec is None:
        return None
    loader = spec.loader
    return [
        *(spec.name, spec.origin, spec.parent, spec.cached, spec.has_location, spec.submodule_search_locations),
        *(type(loader).__name__, type(loader).__module__, repr(spec), str(loader), sorted(vars(spec))),
        [isinstance(loader, importlib.machinery.SourceFileLoader), isinstance(loader, importlib.abc.Loader)],
        [loader.name, loader.path, loader.get_filename(spec.name), loader.is_package(spec.name)],
        [len(loader.get_source(spec.name)), loader.get_code(spec.name).co_filename, sorted(vars(loader))],
        [loader == copy.copy(loader), loader == pickle.loads(pickle.dumps(loader)), len({loader, copy.copy(loader)})],
        [repr(copy.copy(spec)), repr(copy.deepcopy(spec)), pickle.loads(pickle.dumps(spec)).name],
        [type(loader).__mro__[-1].__name__, sorted(set(dir(loader)))],
    ]


def show(when):
    for name in NAMES:
        print(json.dumps([when, name, told(importlib.util.find_spec(name))]))
    for name in ("transformers.no_such_module", "transformers.utils.hub.child", "transformersx"):
        try:
            print(json.dumps([when, name, importlib.util.find_spec(name)]))
        except ImportError as error:
            print(json.dumps([when, name, type(error).__name__, str(error)]))


first = importlib.util.find_spec("transformers")
print(json.dumps(["before", told(first), "transformers" in sys.modules]))
print(json.dumps(first == importlib.util.find_spec("transformers")))
show("package")
import transformers

show("imported")
print(json.dumps([importlib.util.find_spec("transformers") is transformers.__spec__, transformers.__spec__ == first]))
from transformers import BertConfig

show("used")
module = importlib.util.module_from_spec(importlib.util.find_spec("transformers.models.bert.configuration_bert"))
print(json.dumps([type(module).__name__, module.__name__, module.__file__, type(module.__loader__).__name__]))
module.__spec__.loader.exec_module(module)
print(json.dumps([module.BertConfig.__module__, module.BertConfig is BertConfig]))
private = importlib.machinery.PathFinder.find_spec("transformers", None)
print(json.dumps(told(private)))
