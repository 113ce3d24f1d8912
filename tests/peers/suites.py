"""The peers' suites: fetched from the package registry, at the versions that are installed, and laid out to run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
MARKERS = ("api", "transfer", "inference", "xet", "no_xet", "production", "deprecated", "git_lfs")
FILES = ["tests/test_image_transforms.py", "tests/test_monkey_patching.py"]
INI = "[pytest]\naddopts =\nasyncio_default_fixture_loop_scope = function\nmarkers =\n"
# What the sdists leave out and their tests ask for: where it belongs, and which file of ours stands in.
STAND_INS = {
    "huggingface_hub": {"conftest.py": "fixtures.py"},
    "transformers": {
        "exporters/test_export.py": "export.py",
        "fixtures/sample_text.txt": "sample.txt",
        "generation/test_utils.py": "generation.py",
        "utils/test_configuration_utils.py": "configuration.py",
    },
}


@dataclass(frozen=True, slots=True)
class Suite:
    """Some files of a peer's tests."""

    title: str
    project: str
    tests: Sequence[str]


SUITES = {
    "hub": Suite("the whole suite", "huggingface_hub", ["tests"]),
    "bert": Suite("common mixins: BERT", "transformers", ["tests/mixins/bert.py"]),
    "gpt2": Suite("common mixins: GPT-2", "transformers", ["tests/mixins/gpt2.py"]),
    "vit": Suite("common mixins: ViT", "transformers", ["tests/mixins/vit.py"]),
    "files": Suite("the two plain files of tests", "transformers", FILES),
}


def fetch(project: str, folder: Path) -> Path:
    """Download the sdist of the installed version and unpack it; return where."""
    release = f"{project}=={version(project)}"
    target = folder / release
    if not target.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", project, release]
        subprocess.run([*command, "--dest", str(folder / "sdists")], check=True)
        (archive,) = (folder / "sdists").glob(f"{project}-{version(project)}.tar.gz")
        with tarfile.open(archive) as content:
            content.extractall(folder / "unpacked", filter="data")
        (folder / "unpacked" / archive.name.removesuffix(".tar.gz")).rename(target)
    return target


def lay_out(project: str, sdist: Path, folder: Path) -> Path:
    """Copy the tests into a fresh folder and put ours where the sdist left some out; return the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sdist / "tests", folder / "tests")
    for name, stand_in in STAND_INS[project].items():
        target = folder / "tests" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(HERE / "standins" / stand_in, target)
    if project == "transformers":
        shutil.copytree(HERE / "mixins", folder / "tests" / "mixins")
    for package in (folder / "tests", *(path for path in (folder / "tests").rglob("*") if path.is_dir())):
        (package / "__init__.py").touch()
    (folder / "peers.ini").write_text(INI + "".join(f"    {name}: of the peer\n" for name in MARKERS))
    return folder
