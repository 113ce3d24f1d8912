"""``python -m pinformers``."""

from __future__ import annotations

from pinformers.cli import main

if __name__ == "__main__":
    main()
