"""`hf_hub_download` and `snapshot_download` handed to a process pool beside transformers

models: bert
"""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from transformers import AutoConfig


def main():
    print(json.dumps(AutoConfig.from_pretrained("tiny/bert").hidden_size))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for function, arguments in ((hf_hub_download, ("tiny/bert", "config.json")), (os.path.basename, ("a/b",))):
            print(json.dumps(os.path.basename(pool.submit(function, *arguments).result())))
        print(json.dumps(pool.submit(len, [snapshot_download, hf_hub_download, HfApi().model_info.__name__]).result()))


if __name__ == "__main__":
    main()
