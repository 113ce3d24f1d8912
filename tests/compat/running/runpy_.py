"""`runpy.run_module` and `run_path`, as `__main__` and under another name

models: bert
switch: run
"""

import json
import runpy
import sys
import tempfile
from pathlib import Path

spaces = [
    runpy.run_module("transformers.utils.versions"),
    runpy.run_module("transformers.utils.hub", run_name="__main__", alter_sys=True),
    runpy.run_module("transformers.utils.versions", {"before": 1}, run_name="other"),
]
for space in spaces:
    names = ("__name__", "__file__", "__package__", "__cached__", "__doc__", "before")
    print(
        json.dumps(
            [str(space.get(name))[:200] for name in names] + [repr(space["__spec__"]), repr(space["__loader__"])]
        )
    )
    print(json.dumps(sorted(space)))
script = Path(tempfile.mkdtemp()) / "user.py"
script.write_text("from transformers import AutoConfig\nsize = AutoConfig.from_pretrained('tiny/bert').hidden_size\n")
print(json.dumps([runpy.run_path(str(script))["size"], runpy.run_path(str(script), run_name="__main__")["__name__"]]))
for name in ("transformers", "transformers.no_such_module", "transformers.models.bert"):
    try:
        print(json.dumps(sorted(runpy.run_module(name))[:5]))
    except (ImportError, AttributeError, TypeError, KeyError) as error:
        print(json.dumps([name, type(error).__name__, str(error)]))
print(json.dumps([sys.argv[1:], __name__, type(__loader__).__name__, __spec__]))
