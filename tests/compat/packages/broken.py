"""transformers absent, broken, or failing half-way, and then there

when: always
"""

import importlib
import importlib.util
import json
import sys
import traceback
from itertools import groupby
from pathlib import Path

import _small

folder = Path("path")
SCENES = {
    "syntax error": {"__init__": "def broken(:\n"},
    "raises": {"__init__": "raise RuntimeError('half')"},
    "raises after its children": {"__init__": _small.INIT + "raise RuntimeError('late')"},
    "missing dependency": {"utils_in_hub": "import no_such_dependency"},
    "syntax error below": {"utils_in_hub": "x = = 1"},
    "system exit": {"__init__": "raise SystemExit(3)"},
    "keyboard interrupt below": {"utils_in_import_utils": "raise KeyboardInterrupt"},
    "lazy child fails": {"models_in_auto_in_configuration_auto": "raise ValueError('child')"},
    "lazy child lacks the class": {"models_in_auto_in_configuration_auto": "x = 1"},
    "wrong version": {"__init__": "raise ImportError('tokenizers>=9 is required', name='tokenizers')"},
}


def attempt(statement):
    try:
        space = {}
        exec(statement, space)
        return str(space.get("found"))
    except BaseException as error:
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__) if "transformers" in frame.filename]
        shown = "".join(traceback.format_exception_only(error))
        extra = [getattr(error, name, None) for name in ("name", "path", "filename", "lineno", "code")]
        # A wrapper is one more frame, of the same name.
        return [type(error).__name__, shown, [str(value) for value in extra], [name for name, _ in groupby(frames)]]


STATEMENTS = (
    "import transformers; found = type(transformers).__name__",
    "from transformers import AutoConfig as found",
    "import transformers.models.auto.configuration_auto as found",
    "from transformers import AutoConfig; found = AutoConfig.from_pretrained(3)",
)


def look(when):
    for statement in STATEMENTS:
        print(json.dumps([when, attempt(statement)]))
        print(json.dumps([when, sorted(name for name in sys.modules if name.startswith("transformers"))]))


site = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
sys.path[:] = [path for path in sys.path if path not in site]
importlib.invalidate_caches()
print(json.dumps(["absent", importlib.util.find_spec("transformers")]))
look("absent")
sys.modules["transformers"] = None
look("None")
del sys.modules["transformers"]
sys.path[:0] = [str(folder.resolve()), *site]
for name, changed in SCENES.items():
    _small.write(folder, **changed)
    importlib.invalidate_caches()
    look(name)
    _small.write(folder)
    importlib.invalidate_caches()
    # Python keeps compiled code by time and size, and both may be the same.
    for cached in folder.rglob("*.pyc"):
        cached.unlink()
    look(f"{name}, mended")
    _small.forget()
Path("alone").mkdir()
Path("alone/transformers.py").write_text("AutoConfig = 'one file'\n")
sys.path[0] = str(Path("alone").resolve())
look("one file")
_small.forget()
Path("bare/transformers/models").mkdir(parents=True)
sys.path[0] = str(Path("bare").resolve())
look("no __init__.py")
_small.forget()
