"""mypy on a user's file says the same

packages: mypy
"""

import subprocess
import sys
from pathlib import Path

Path("user.py").write_text(
    """from transformers import AutoConfig, AutoModel, AutoTokenizer, NoSuchName

config: int = AutoConfig.from_pretrained("tiny/bert")
model = AutoModel.from_pretrained("tiny/bert")
tokenizer: str = AutoTokenizer()
reveal_type(AutoModel.from_pretrained)
reveal_type(model)
AutoModel.no_such_method("x")


def load(name: str) -> int:
    return AutoConfig.from_pretrained(name).hidden_size + name
"""
)
command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", "user.py"]
done = subprocess.run(command, capture_output=True, text=True)
print(done.stdout, done.returncode)
