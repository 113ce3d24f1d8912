"""Build the models that the suites load by name (`build FOLDER REPO...`), or have them pinned (`pin REPO...`)."""

from __future__ import annotations

import sys
from pathlib import Path


def build(folder: Path, repos: list[str]) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import torch

    import families

    for family in families.FAMILIES:
        if family.repo in repos:
            torch.manual_seed(0)
            (folder / family.repo).mkdir(parents=True)
            family.build(folder / family.repo)


def pin(repos: list[str]) -> None:
    import transformers

    import pinformers

    for repo in repos:
        transformers.AutoModel.from_pretrained(repo)
        transformers.AutoTokenizer.from_pretrained(repo)
    if not pinformers.flush(60) or pinformers.get_status()["pins"] != len(repos):
        sys.exit(f"They are not pinned: {pinformers.get_status()}")


if sys.argv[1] == "build":
    build(Path(sys.argv[2]), sys.argv[3:])
else:
    pin(sys.argv[2:])
