"""A small package named ``transformers`` with the traits that matter, to be imported anew as often as a test likes.

It is lazy, replaces itself, executes itself again, binds functions by name, and has a dummy for a missing backend.
"""

from __future__ import annotations

from collections.abc import Mapping

from compat.packages import _small

LAZY = f"""{_small.LAZY}
class _LazyModule(_LazyModule):
    _object_missing_backend = {{"AutoVideoProcessor": ["video"]}}

    def __getattr__(self, name):
        if name in ("models", "processing_utils", "utils"):
            return importlib.import_module(f"{{self.__name__}}.{{name}}")
        return super().__getattr__(name)
"""
INIT = """
import sys
from .utils import hub
from .utils.import_utils import _LazyModule
homes = {
    "AutoConfig": "models.auto.configuration_auto",
    "AutoModel": "models.auto.modeling_auto",
    "AutoProcessor": "models.auto.processing_auto",
    "AutoVideoProcessor": "models.auto.video_processing_auto",
    "AutoformerModel": "models.autoformer",
    "BertConfig": "models.bert",
}
sys.modules[__name__] = _LazyModule(__name__, __file__, homes, __spec__)
"""
CACHED_FILES = """
def cached_files(path_or_repo_id, filenames, cache_dir=None, force_download=False, revision=None,
                 local_files_only=False, subfolder="", repo_type=None, _commit_hash=None, **kwargs):
    return [hf_hub_download(path_or_repo_id, name, cache_dir=cache_dir, revision=revision, local_files_only=True)
            for name in filenames]
"""
HUB_5 = f"""
from huggingface_hub import HfApi, hf_hub_download
_hf_api = None
def hf_api():
    global _hf_api
    _hf_api = _hf_api or HfApi()
    return _hf_api
def resolve_revision(path_or_repo_id, *, revision=None, cache_dir=None, local_files_only=False):
    return revision or "main"
{CACHED_FILES.replace(" _commit_hash=None,", "")}
"""
HUB_4 = f"""
from huggingface_hub import hf_hub_download, list_repo_files, model_info
{CACHED_FILES}
"""
AUTO = """
from ...utils.hub import cached_files
class AutoConfig:
    @classmethod
    def from_pretrained(cls, name, **kwargs):
        with open(cached_files(name, ["config.json"], **kwargs)[0], "rb") as file:
            return file.read()
"""
INHERITS = "from .configuration_auto import AutoConfig as _Base\nclass {}(_Base):\n    pass\n"
TRAP = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("transformers", os.path.join(os.path.dirname(__file__), "__init__.py"))
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""
DUMMY = """
class Meta(type):
    def __getattribute__(cls, name):
        if name == "from_pretrained":
            raise ImportError("AutoVideoProcessor requires video")
        return super().__getattribute__(name)
class AutoVideoProcessor(metaclass=Meta):
    pass
"""


def lazy_package(hub: str) -> Mapping[str, bytes]:
    """Return the files of the package, whose ``utils/hub.py`` is HUB_5 (as in 5.x) or HUB_4 (as in 4.57)."""
    files = {
        "__init__.py": INIT,
        "utils/__init__.py": "",
        "utils/import_utils.py": LAZY,
        "utils/hub.py": hub,
        "processing_utils.py": TRAP,
        "models/__init__.py": "",
        "models/autoformer.py": AUTO.replace("...utils", "..utils").replace("AutoConfig", "AutoformerModel"),
        "models/bert.py": AUTO.replace("...utils", "..utils").replace("AutoConfig", "BertConfig"),
        "models/auto/__init__.py": "",
        "models/auto/configuration_auto.py": AUTO,
        "models/auto/modeling_auto.py": INHERITS.format("AutoModel"),
        "models/auto/processing_auto.py": "from ... import processing_utils\n" + INHERITS.format("AutoProcessor"),
        "models/auto/video_processing_auto.py": DUMMY,
    }
    return {name: text.encode() for name, text in files.items()}
