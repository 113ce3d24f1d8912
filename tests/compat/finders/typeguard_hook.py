"""typeguard's `install_import_hook` on parts of transformers

models: bert
packages: typeguard
"""

from _checked import CHECKED, observe
from typeguard import TypeCheckError, install_import_hook

install_import_hook(list(CHECKED))
observe(TypeCheckError)
