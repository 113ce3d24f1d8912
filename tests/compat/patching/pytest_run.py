"""A user's test suite that uses pytest's monkeypatch on transformers

models: bert
"""

import re
import subprocess
import sys
from pathlib import Path

tests = Path(__file__).with_name("_user_tests.py")
command = [
    sys.executable,
    "-m",
    "pytest",
    "-v",
    "-p",
    "no:cacheprovider",
    "-c",
    "/dev/null",
    "-W",
    "ignore",
    str(tests),
]
done = subprocess.run(command, capture_output=True, text=True)
print(re.sub(r" in [0-9.]+s\b.*", "", done.stdout))
print(done.returncode)
