"""Finders of other programs before and after: silent, watching, delegating, wrapping, old, leaving in the middle

models: bert
when: always
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys

events = []


class Watching:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("transformers.models.bert") or name == "transformers":
            events.append(["asked", name, path is None, target is None])
        return None


class Delegating(importlib.abc.MetaPathFinder):
    """Ask everybody else through importlib.util.find_spec, as post-import hooks do, and wrap the loader."""

    def __init__(self):
        self.busy = set()

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("transformers") or name in self.busy:
            return None
        self.busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy.discard(name)
        if spec is not None and spec.loader is not None:
            original = spec.loader.exec_module

            class Chained(importlib.abc.Loader):
                def create_module(self, spec, create=spec.loader.create_module):
                    return create(spec)

                def exec_module(self, module):
                    original(module)
                    if name in (
                        "transformers",
                        "transformers.utils.hub",
                        "transformers.models.auto.configuration_auto",
                    ):
                        events.append(["executed", name, type(module.__spec__.loader).__name__])

            spec.loader = Chained()
        return spec


class Direct(importlib.abc.MetaPathFinder):
    """Find with PathFinder alone and subclass the loader."""

    def find_spec(self, name, path=None, target=None):
        if name != "transformers.models.bert.configuration_bert":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)

        class Loader(importlib.machinery.SourceFileLoader):
            def source_to_code(self, data, path, *, _optimize=-1):
                events.append(["compiled", name])
                return super().source_to_code(data, path)

            def get_code(self, fullname):
                return self.source_to_code(self.get_data(self.path), self.path)

        spec.loader = Loader(name, spec.origin)
        return spec


class Leaving:
    def find_spec(self, name, path=None, target=None):
        if name == "transformers.models.auto":
            sys.meta_path.remove(self)
            events.append(["left", name])
        return None


class Old:
    """No find_spec: Python 3.12 skips it, older ones ask it in the way of before."""

    def find_module(self, name, path=None):
        return None


print(
    json.dumps(
        [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path if "infor" not in str(finder)]
    )
)
sys.meta_path[:0] = [Watching(), Old(), Leaving(), Direct(), Delegating()]
sys.meta_path.append(Watching())
from transformers import AutoConfig, BertConfig
from transformers.utils import hub

print(json.dumps([AutoConfig.from_pretrained("tiny/bert").hidden_size, BertConfig.__module__]))
sys.meta_path.insert(0, Watching())
from transformers import AutoTokenizer

print(json.dumps(AutoTokenizer.from_pretrained("tiny/bert")("the quick fox")["input_ids"]))
for event in events:
    print(json.dumps(event))
print(json.dumps([type(sys.modules[name].__loader__).__name__ for name in ("transformers", "transformers.utils.hub")]))
print(json.dumps([type(finder).__name__ for finder in sys.meta_path if type(finder).__module__ == "__main__"]))
