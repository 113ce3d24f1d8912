"""Read tensors out of a file of a repo with safetensors, and what lies beside it."""

import json
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from safetensors import safe_open
from safetensors.numpy import load_file

MODEL = "tiny/tensors"


def main():
    path = hf_hub_download(MODEL, "weights.safetensors")
    with safe_open(path, framework="numpy") as file:
        names = sorted(file.keys())
    other = load_file(HfApi().hf_hub_download(MODEL, filename="weights.safetensors", subfolder="other"))
    folder = Path(snapshot_download(MODEL, allow_patterns=["*.json", "other/*"]))
    result = {
        "names": names,
        "sums": {name: float(tensor.sum()) for name, tensor in sorted(load_file(path).items())},
        "other": {name: tensor.tolist() for name, tensor in other.items()},
        "folder": sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.*") if file.suffix != ".md"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
