"""`importlib.resources`, `importlib.metadata`, `pkgutil.get_data`, `iter_modules`, `walk_packages`"""

import importlib.metadata
import importlib.resources
import json
import pkgutil
import sys

files = importlib.resources.files("transformers")
print(json.dumps([type(files).__name__, str(files), sorted(entry.name for entry in files.iterdir())]))
print(json.dumps(len((files / "utils" / "hub.py").read_text())))
with importlib.resources.as_file(files.joinpath("__init__.py")) as path:
    print(json.dumps([str(path), path.stat().st_size]))
print(
    json.dumps(
        [importlib.metadata.version("transformers"), importlib.metadata.packages_distributions()["transformers"]]
    )
)
print(json.dumps(len(pkgutil.get_data("transformers", "utils/hub.py"))))
import transformers

spec = transformers.__spec__
print(json.dumps([type(spec.loader.get_resource_reader("transformers")).__name__, list(transformers.__path__)]))
for package in (transformers, transformers.models, transformers.models.auto, transformers.utils):
    found = list(pkgutil.iter_modules(package.__path__, package.__name__ + "."))
    print(json.dumps([[module.name, module.ispkg, type(module.module_finder).__name__] for module in found]))
failed = []
walked = pkgutil.walk_packages(transformers.models.__path__, "transformers.models.", failed.append)
print(json.dumps([module.name for module in walked]))
print(json.dumps([failed, sorted(name for name in sys.modules if name.startswith("transformers."))]))
print(json.dumps(str(pkgutil.resolve_name("transformers:AutoConfig.from_pretrained.__name__"))))
print(json.dumps(str(pkgutil.resolve_name("transformers.models.auto.AutoTokenizer"))))
