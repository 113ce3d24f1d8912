"""Rows 1 to 3: what an interpreter pays that has us, switched off and on."""

from __future__ import annotations

import compileall
import shutil
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

import pinformers
from benchmarks.pairs import ROOT
from benchmarks.results import Line
from benchmarks.rooms import Shop


def switched_off(shop: Shop) -> None:
    """Row 1: environments that differ in our package and its start-up line alone."""
    env = shop.home("startup")
    without, ours, least = (_venv(shop.folder / name) for name in ("venv-without", "venv-ours", "venv-least"))
    _install(ours)
    (_site(least) / "least.pth").write_text("import os\n", encoding="utf-8")

    def start(python: Path) -> float:
        # One differs from the next by more than what is looked for.
        return statistics.median(shop.book.taker.command([python, "-c", "pass"], env) for _ in range(15))

    shop.book.turns(
        shop.pick(10, 60),
        lambda: {"1 without": start(without)},
        lambda: {"1 ours, off": start(ours)},
        lambda: {"1 any line": start(least)},
    )
    what = "interpreter start-up with our `.pth`, switch off"
    shop.book.line(Line(1, what, "a venv without us", "1 ours, off", "1 without", 0.0003, "difference"))
    what = "the floor: with a `.pth` that says `import os` and no more"
    shop.book.line(Line(1, what, "the same", "1 any line", "1 without", None, "difference"))


def _venv(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


def _site(python: Path) -> Path:
    return python.parent.parent / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)


def _install(python: Path) -> None:
    """Put there what the wheel puts into site-packages; with the switch off no dependency is looked at."""
    site = _site(python)
    shutil.copytree(Path(pinformers.__file__).parent, site / "pinformers")
    for name in ("pinformers.pth", "pinformers.start"):
        shutil.copy(ROOT / "src" / name, site / name)
    compileall.compile_dir(site, quiet=1)


def importing(shop: Shop) -> None:
    """Row 2."""
    off, on = shop.home("startup"), shop.home("startup-on", PINFORMERS="1")
    command = [sys.executable, "-c", "import transformers"]
    take = shop.book.taker.command
    shop.book.turns(
        shop.pick(9, 40),
        lambda: {"2 plain": take(command, off)},
        lambda: {"2 switched on": take(command, on)},
    )
    what = "`import transformers`, switch on, whole process"
    shop.book.line(Line(2, what, "plain", "2 switched on", "2 plain", 1.02))


def attribute(shop: Shop) -> None:
    """Row 3."""
    off, on = shop.home("startup"), shop.home("startup-on", PINFORMERS="1")

    def median(env: dict[str, str]) -> float:
        return sorted(shop.book.taker.inside("attribute", env=env, values=9).values)[4]

    shop.book.turns(
        shop.pick(5, 20),
        lambda: {"3 plain": median(off)},
        lambda: {"3 switched on": median(on)},
    )
    what = "`transformers.AutoModel`, 100,000 times"
    shop.book.line(Line(3, what, "plain", "3 switched on", "3 plain", 1.1))
