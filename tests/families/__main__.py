"""Build every family into the folder given."""

from __future__ import annotations

import sys
from pathlib import Path

from . import build_all

build_all(Path(sys.argv[1]))
