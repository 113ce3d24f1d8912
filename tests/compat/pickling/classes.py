"""pickle and cloudpickle of classes, methods, functions and modules, written by one process and read by another

models: bert
packages: cloudpickle
steps: write read
"""

import functools
import hashlib
import json
import pickle
import sys
from pathlib import Path

import cloudpickle
import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedModel
from transformers.utils import hub


class Mine(AutoConfig):
    """A user's class."""

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        return super().from_pretrained(*args, **kwargs)


def load(name):
    return AutoConfig.from_pretrained(name).hidden_size


THINGS = {
    "Auto classes": [AutoConfig, AutoModel, AutoTokenizer],
    "concrete classes": [BertConfig, BertModel, PreTrainedModel],
    "bound method": AutoConfig.from_pretrained,
    "bound method of a concrete class": BertModel.from_pretrained,
    "partial": functools.partial(AutoConfig.from_pretrained, "tiny/bert"),
    "functions": [hub.cached_file, hub.cached_files, hub.has_file],
    "pipeline": transformers.pipeline,
    "own class": Mine,
    "own function": load,
    "closure": lambda: AutoConfig.from_pretrained("tiny/bert").vocab_size,
    "module": transformers,
    "child": transformers.models.auto,
    "spec": transformers.utils.hub.__spec__,
    "loader": transformers.utils.hub.__loader__,
}
BY_NAME = ("Auto classes", "concrete classes", "functions", "pipeline")


def attempt(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def digest(content):
    return [len(content), hashlib.sha256(content).hexdigest()[:12]] if isinstance(content, bytes) else content


def write():
    for way, module in (("pickle", pickle), ("cloudpickle", cloudpickle)):
        for name, thing in THINGS.items():
            content = attempt(module.dumps, thing, 4)
            # cloudpickle writes functions and classes that it does not find under their names by value, numbered.
            whole = way == "pickle" or name in BY_NAME
            print(json.dumps([way, name, digest(content) if whole else type(content).__name__]))
            if isinstance(content, bytes):
                Path(f"{way}-{name}").write_bytes(content)
                back = attempt(module.loads, content)
                print(json.dumps([way, name, back == thing, back is thing]))


def read():
    for way in ("pickle", "cloudpickle"):
        for name, thing in THINGS.items():
            path = Path(f"{way}-{name}")
            if path.exists():
                back = attempt(pickle.loads, path.read_bytes())
                print(json.dumps([way, name, type(back).__name__, back == thing if "own" not in name else None]))
                if callable(back) and name in ("bound method", "own function"):
                    print(json.dumps(str(back("tiny/bert"))[:200]))
                elif name in ("partial", "closure"):
                    print(json.dumps(str(back())[:200]))


{"write": write, "read": read}[sys.argv[1]]()
