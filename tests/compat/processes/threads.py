"""Threads that import different modules at once, and threads that load at once

models: bert, gpt2
"""

import importlib
import json
import threading

import transformers

NAMES = ("models.bert.modeling_bert", "models.gpt2.modeling_gpt2", "models.auto", "utils.hub", "models.t5.modeling_t5")
NAMES += ("pipelines", "configuration_utils", "models.bert.tokenization_bert")


def all_at_once(functions):
    barrier, answers = threading.Barrier(len(functions)), [None] * len(functions)

    def run(place, function):
        barrier.wait()
        try:
            answers[place] = function()
        except BaseException as error:
            answers[place] = f"{type(error).__name__}: {error}"

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


modules = all_at_once([lambda name=name: importlib.import_module(f"transformers.{name}").__name__ for name in NAMES])
print(json.dumps(modules))
classes = all_at_once([lambda: transformers.AutoModel for _ in range(8)])
print(json.dumps([cls is transformers.AutoModel for cls in classes]))
print(json.dumps(transformers.models.auto.AutoModel is transformers.AutoModel))


def load(name):
    model = transformers.AutoModel.from_pretrained(name)
    return [type(model).__name__, model.name_or_path, model.config.vocab_size]


print(json.dumps(all_at_once([lambda name=name: load(name) for name in ("tiny/bert", "tiny/gpt2") * 3])))
