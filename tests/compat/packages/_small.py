"""A small package with the traits of transformers: lazy, replaces itself, executes itself again."""

from __future__ import annotations

from pathlib import Path

LAZY = """
import importlib, os
from types import ModuleType

class _LazyModule(ModuleType):
    def __init__(self, name, file, homes, spec):
        super().__init__(name)
        self.__file__, self.__path__, self.__spec__ = file, [os.path.dirname(file)], spec
        self._class_to_module = dict(homes)

    def __getattr__(self, name):
        home = self._class_to_module.get(name)
        if home is None:
            raise AttributeError(f"module {self.__name__} has no attribute {name}")
        value = getattr(importlib.import_module(f"{self.__name__}.{home}"), name)
        setattr(self, name, value)
        return value
"""
INIT = """
import sys
from .utils import hub
from .utils.import_utils import _LazyModule
__version__ = "5.0"
homes = {"AutoConfig": "models.auto.configuration_auto"}
sys.modules[__name__] = _LazyModule(__name__, __file__, homes, __spec__)
"""
HUB = """
def cached_files(path_or_repo_id, filenames, **kwargs):
    return [f"{path_or_repo_id}/{name}" for name in filenames]
"""
AUTO = """
from ...utils.hub import cached_files
class AutoConfig:
    @classmethod
    def from_pretrained(cls, name, **kwargs):
        return cached_files(name, ["config.json"], **kwargs)
"""
FILES = {
    "__init__.py": INIT,
    "utils/__init__.py": "",
    "utils/import_utils.py": LAZY,
    "utils/hub.py": HUB,
    "models/__init__.py": "",
    "models/auto/__init__.py": "",
    "models/auto/configuration_auto.py": AUTO,
}


def write(folder: Path, **changed: str) -> Path:
    """Write the package below ``folder``; ``changed`` gives other texts, ``_in_`` in a name for ``/``."""
    texts = FILES | {f"{name.replace('_in_', '/')}.py": text for name, text in changed.items()}
    for name, text in texts.items():
        path = folder / "transformers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def forget() -> None:
    """Take the package out of this process."""
    import importlib
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
        del sys.modules[name]
    importlib.invalidate_caches()
