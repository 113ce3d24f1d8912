"""`python -m` and the command lines of transformers and of huggingface_hub"""

import json
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
COMMANDS = [
    ["-c", "import transformers; print(transformers.__version__, __name__, __spec__)"],
    ["-m", "transformers"],
    ["-m", "transformers.no_such_module"],
    ["-m", "transformers.utils.versions"],
    ["-m", "transformers.cli.transformers", "version"],
    ["-m", "transformers.cli.transformers", "--help"],
    ["-m", "transformers.commands.transformers_cli", "env"],
    ["-m", "transformers.models.bert.configuration_bert"],
    [str(BIN / "transformers"), "version"],
    [str(BIN / "transformers"), "no-such-command"],
    [str(BIN / "hf"), "version"],
    ["-X", "importtime", "-c", "pass"],
    ["-I", "-c", "import transformers; print(type(transformers).__name__, transformers.AutoConfig)"],
]
for arguments in COMMANDS:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    stderr = [line for line in done.stderr.splitlines() if "transformers" in line and not line.startswith("[INFO]")]
    if "importtime" in arguments:
        stderr = []
    print(json.dumps([arguments[:3], done.returncode, done.stdout.splitlines(), stderr]))
