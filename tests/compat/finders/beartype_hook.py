"""`beartype.claw.beartype_packages` on parts of transformers

models: bert
packages: beartype
"""

from _checked import CHECKED, observe
from beartype.claw import beartype_packages
from beartype.roar import BeartypeCallHintViolation

beartype_packages(CHECKED)
observe(BeartypeCallHintViolation)
