"""`multiprocessing` by fork, spawn and forkserver: classes and methods go over, children load

models: bert
"""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig


def load(cls, name, queue):
    config = cls.from_pretrained(name)
    queue.put([cls.__name__, type(config).__name__, config.hidden_size, config._name_or_path, cls is AutoConfig])


def count(text):
    return len(AutoTokenizer.from_pretrained("tiny/bert")(text)["input_ids"])


def main():
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        for cls in (AutoConfig, BertConfig):
            process = context.Process(target=load, args=(cls, "tiny/bert", queue))
            process.start()
            print(json.dumps([method, queue.get()]), flush=True)
            process.join()
            print(json.dumps([method, process.exitcode]), flush=True)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            config = pool.submit(AutoConfig.from_pretrained, "tiny/bert").result()
            print(
                json.dumps([method, type(config).__name__, config.vocab_size, type(config) is BertConfig]), flush=True
            )
            print(json.dumps([method, list(pool.map(count, ["the quick fox", "a file is a tree"]))]), flush=True)
            model = pool.submit(AutoModel.from_pretrained, pretrained_model_name_or_path="tiny/bert").result()
            print(json.dumps([method, type(model).__name__, model.name_or_path]), flush=True)


if __name__ == "__main__":
    main()
