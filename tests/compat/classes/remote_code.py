"""`trust_remote_code` with `auto_map`: names, files and sources of the modules, refusals, saving again

models: custom
"""

import hashlib
import inspect
import json
import sys
from pathlib import Path

from transformers import AutoConfig, AutoModel, AutoTokenizer, dynamic_module_utils


def attempt(function, *args, **kwargs):
    try:
        return str(function(*args, **kwargs))[:300]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


print(json.dumps(attempt(AutoConfig.from_pretrained, "tiny/custom")))
print(json.dumps(attempt(AutoModel.from_pretrained, "tiny/custom", trust_remote_code=False)))
config = AutoConfig.from_pretrained("tiny/custom", trust_remote_code=True)
model, info = AutoModel.from_pretrained("tiny/custom", trust_remote_code=True, output_loading_info=True)
print(json.dumps([str(config), str(info), type(model).__name__, type(model).__module__, type(config).__module__]))
print(
    json.dumps(
        [inspect.getsourcefile(type(model)), hashlib.sha256(inspect.getsource(type(model)).encode()).hexdigest()]
    )
)
print(json.dumps(sorted(name for name in sys.modules if name.startswith("transformers_modules"))))
module = sys.modules[type(model).__module__]
print(json.dumps([type(module).__name__, repr(module.__spec__), type(module.__loader__).__name__, module.__file__]))
print(json.dumps([isinstance(config, type(model).config_class), model.config_class.__name__, config.auto_map]))
print(json.dumps([model._auto_class, type(model).from_pretrained.__self__ is type(model)]))
again = type(model).from_pretrained("tiny/custom")
print(json.dumps([type(again) is type(model), again.name_or_path]))
found = dynamic_module_utils.get_class_from_dynamic_module("modeling_pebble.PebbleModel", "tiny/custom")
print(json.dumps([found.__name__, found is type(model)]))
model.save_pretrained("saved")
config.save_pretrained("saved")
AutoTokenizer.from_pretrained("tiny/custom", trust_remote_code=True).save_pretrained("saved")
for path in sorted(Path("saved").iterdir()):
    print(json.dumps([path.name, hashlib.sha256(path.read_bytes()).hexdigest()[:12]]))
print(json.dumps(type(AutoModel.from_pretrained("saved", trust_remote_code=True)).__name__))
