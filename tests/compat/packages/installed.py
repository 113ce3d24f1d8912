"""Editable and zipped installs: by path, by a finder, by an import of a file, out of a zip

when: always
"""

import importlib
import importlib.machinery
import importlib.resources
import importlib.util
import inspect
import json
import pkgutil
import sys
import zipfile
from pathlib import Path

import _small

root = _small.write(Path("project/src")).resolve()


class EditableFinder:
    """As setuptools writes it for an editable install."""

    MAPPING = {"transformers": str(root / "transformers")}

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname in cls.MAPPING:
            init = Path(cls.MAPPING[fullname]) / "__init__.py"
            return importlib.util.spec_from_file_location(fullname, init)
        return None


def look(way):
    import transformers
    from transformers import AutoConfig

    module = sys.modules["transformers.models.auto.configuration_auto"]
    print(
        json.dumps(
            [way, transformers.__version__ if hasattr(transformers, "__version__") else None, transformers.__file__]
        )
    )
    print(json.dumps([way, repr(transformers), repr(module), AutoConfig.from_pretrained("tiny/bert")]))
    print(
        json.dumps(
            [way, type(module.__loader__).__name__, repr(module.__spec__), module.__spec__.loader is module.__loader__]
        )
    )
    print(
        json.dumps([way, repr(transformers.__spec__), inspect.getsource(AutoConfig), inspect.getsourcefile(AutoConfig)])
    )
    print(json.dumps([way, [name for _, name, _ in pkgutil.iter_modules(transformers.__path__)]]))
    print(
        json.dumps(
            [
                way,
                sorted(
                    entry.name
                    for entry in importlib.resources.files("transformers.models").iterdir()
                    if "pyc" not in entry.name
                ),
            ]
        )
    )
    print(
        json.dumps(
            [way, len(pkgutil.get_data("transformers.utils", "hub.py")), module.__loader__.is_package(module.__name__)]
        )
    )
    print(json.dumps([way, importlib.reload(module) is module, module.AutoConfig.from_pretrained("x")]))
    spec = importlib.util.find_spec("transformers.models.auto.configuration_auto")
    print(json.dumps([way, type(spec.loader).__name__, repr(spec), spec.loader.get_source(spec.name) == _small.AUTO]))
    _small.forget()


sys.path.insert(0, str(root))
look("path")
sys.path.remove(str(root))
sys.meta_path.insert(0, EditableFinder)
look("finder before all")
sys.meta_path.remove(EditableFinder)

paths = [finder for finder in sys.meta_path if finder is importlib.machinery.PathFinder]
sys.meta_path.append(EditableFinder)
sys.meta_path.sort(key=lambda finder: finder in paths)
look("finder before the path")
sys.meta_path.remove(EditableFinder)
with zipfile.ZipFile("packed.zip", "w") as archive:
    for path in sorted(root.rglob("*.py")):
        archive.write(path, path.relative_to(root))
sys.path.insert(0, str(Path("packed.zip").resolve()))
look("zip")
print(
    json.dumps([type(finder).__name__ for finder in sys.path_importer_cache.values() if "zip" in type(finder).__name__])
)
