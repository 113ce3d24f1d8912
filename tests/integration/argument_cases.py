"""Run as a script: load in every way that arguments allow, and print what each call answered, as JSON."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def answer(call: Callable[[], Any]) -> list[str]:
    try:
        found = ["returned", str(call())]
    except Exception as error:
        found = [type(error).__module__ + "." + type(error).__qualname__, str(error)]
    return [re.sub("0x[0-9a-f]{6,}", "0x", text.replace(os.environ["HOME"], "~")) for text in found]


def kind(config: Any) -> tuple[str, str, str | None]:
    return type(config).__name__, config._name_or_path, getattr(config, "_commit_hash", None)


def main() -> None:
    from transformers import AutoConfig, AutoModel, AutoTokenizer, GenerationConfig
    from transformers.utils import cached_file

    local, own, commit, token = sys.argv[1:5]
    config = AutoConfig.from_pretrained
    os.chdir(os.environ["HOME"])
    Path("tiny").mkdir(exist_ok=True)
    cases: dict[str, Callable[[], Any]] = {
        "repo": lambda: kind(config("tiny/bert")),
        "keyword": lambda: kind(config(pretrained_model_name_or_path="tiny/bert")),
        "folder": lambda: kind(config(local)),
        "folder as a Path": lambda: kind(config(Path(local))),
        "no file in the folder": lambda: AutoTokenizer.from_pretrained(os.environ["HOME"]),
        "file object": lambda: config(io.StringIO("{}")),
        "none": lambda: config(None),
        "cache_dir": lambda: kind(config("tiny/bert", cache_dir=own)),
        "cache_dir as a Path": lambda: kind(config("tiny/bert", cache_dir=Path(own))),
        "weights in cache_dir": lambda: cached_file("tiny/bert", "model.safetensors", cache_dir=own),
        "in cache_dir now": lambda: sorted(path.name for path in Path(own).glob("*/snapshots/*/*")),
        "force_download": lambda: kind(config("tiny/bert", force_download=True)),
        "branch": lambda: kind(config("tiny/bert", revision="main")),
        "other branch": lambda: kind(config("tiny/bert", revision="other")),
        "commit": lambda: kind(config("tiny/bert", revision=commit)),
        "unknown branch": lambda: config("tiny/bert", revision="nowhere"),
        "subfolder": lambda: kind(config("tiny/mpnet", subfolder="encoder")),
        "unknown subfolder": lambda: config("tiny/mpnet", subfolder="nowhere"),
        "proxies": lambda: kind(config("tiny/bert", proxies={})),
        "unknown repo": lambda: config("tiny/nothing"),
        "no name of a repo": lambda: config("a/b/c"),
        "no tokenizer": lambda: AutoTokenizer.from_pretrained("tiny/vit"),
        "no generation config": lambda: GenerationConfig.from_pretrained("tiny/vit"),
        "no such file": lambda: cached_file("tiny/bert", "nothing.json"),
        "no such file, silently": lambda: cached_file(
            "tiny/bert", "nothing.json", _raise_exceptions_for_missing_entries=False
        ),
        "local_files_only, here": lambda: kind(config("tiny/bert", local_files_only=True)),
        "local_files_only, not here": lambda: config("tiny/gpt2", local_files_only=True),
        "private, no token": lambda: config("tiny/private"),
        "private, wrong token": lambda: config("tiny/private", token="hf_wrong"),
        "private": lambda: kind(config("tiny/private", token=token)),
        "custom code, not trusted": lambda: AutoModel.from_pretrained("tiny/custom", trust_remote_code=False),
        "custom code": lambda: type(AutoModel.from_pretrained("tiny/custom", trust_remote_code=True)).__name__,
        "tokenizer": lambda: AutoTokenizer.from_pretrained("tiny/qwen2").chat_template,
        "model": lambda: AutoModel.from_pretrained("tiny/bert").name_or_path,
        "a folder named like the repo": lambda: (
            Path("tiny/llama").mkdir(exist_ok=True),
            config("tiny/llama"),
        ),
    }
    left_out = set(sys.argv[5:])
    print(json.dumps({name: answer(call) for name, call in cases.items() if name not in left_out}))


if __name__ == "__main__":
    main()
