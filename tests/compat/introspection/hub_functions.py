"""The functions of huggingface_hub, as others see, compare and pickle them

when: always
"""

import functools
import importlib
import inspect
import json
import pickle

import huggingface_hub
from huggingface_hub import HfApi, hf_hub_download, model_info, snapshot_download

import transformers
from transformers.utils import hub


def attempt(function, *args):
    try:
        return str(function(*args))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


NAMES = ["hf_hub_download", "snapshot_download", "file_exists", "model_info", "list_repo_files", "repo_exists"]
for name in NAMES:
    value = getattr(huggingface_hub, name)
    home = importlib.import_module(value.__module__)
    held = getattr(home, name, None)
    print(json.dumps([name, value.__module__, value.__qualname__, str(inspect.signature(value)), held is value]))
    print(
        json.dumps([name, type(value).__name__, attempt(inspect.getsourcefile, value), len(inspect.getsource(value))])
    )
    print(json.dumps([name, attempt(inspect.getfullargspec, value), attempt(lambda: len(pickle.dumps(value)))]))
    print(json.dumps([name, attempt(lambda: pickle.loads(pickle.dumps(value)) is value)]))
    partial = functools.partial(value, "tiny/bert")
    print(json.dumps([name, attempt(lambda: len(pickle.dumps(partial)))]))
print(
    json.dumps(
        [
            hf_hub_download is huggingface_hub.file_download.hf_hub_download,
            sorted(vars(HfApi())),
            str(model_info == HfApi().model_info),
        ]
    )
)
print(
    json.dumps(
        [
            snapshot_download is huggingface_hub._snapshot_download.snapshot_download,
            attempt(lambda: len(pickle.dumps(HfApi()))),
        ]
    )
)
if hasattr(hub, "hf_api"):
    api = hub.hf_api()
    print(
        json.dumps(
            [type(api).__name__, sorted(vars(api)), api is hub.hf_api(), attempt(lambda: len(pickle.dumps(api)))]
        )
    )
    for name in ("model_info", "list_repo_tree", "hf_hub_download", "repo_exists"):
        method = getattr(api, name)
        print(
            json.dumps(
                [
                    name,
                    type(method).__name__,
                    getattr(method, "__self__", None) is api,
                    method.__qualname__,
                    str(inspect.signature(method)),
                ]
            )
        )
