"""jaxtyping's `install_import_hook` on parts of transformers

models: bert
packages: jaxtyping, beartype
"""

from _checked import CHECKED, observe
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import install_import_hook

install_import_hook(list(CHECKED), "beartype.beartype")
observe(BeartypeCallHintViolation)
