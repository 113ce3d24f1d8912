"""``pinformers selftest``: a tiny model, loaded plain from its folder and, by name, through pinformers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pinformers import _autostart
from pinformers._cli_output import note, plural, print_facts, print_json, progress_bar, say
from pinformers._composition import build_resolver
from pinformers._errors import SelftestFailed
from pinformers._settings import PREFIX, Settings
from pinformers.pinning.folder import pin_folder

NAME = "pinformers/selftest"
PATIENCE = 300
# Whoever set these in the environment cannot change what is tested.
_DROPPED = (_autostart.SWITCH, PREFIX, "HF_", "CI", "TRANSFORMERS_", "STORAGE_FORCE_LOCAL")

_BUILD = """
import importlib.util, sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, PreTrainedTokenizerFast
folder = sys.argv[1]
words = {word: number for number, word in enumerate(["[UNK]", "[PAD]", "to", "be", "or", "not"])}
tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")
fast.save_pretrained(folder)
config = BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=16, max_position_embeddings=16)
config.save_pretrained(folder)
if importlib.util.find_spec("torch"):
    from transformers import BertModel
    BertModel(config).save_pretrained(folder)
"""
_LOAD = """
import hashlib, importlib.util, json, sys
from transformers import AutoConfig, AutoTokenizer
name = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(name)
seen = {"config": type(AutoConfig.from_pretrained(name)).__name__, "tokenizer": type(tokenizer).__name__,
        "tokens": tokenizer("to be or not to be")["input_ids"]}
if importlib.util.find_spec("torch"):
    from transformers import AutoModel
    model = AutoModel.from_pretrained(name)
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    seen |= {"model": type(model).__name__, "weights": digest.hexdigest()}
import pinformers
status = pinformers.get_status()
said = {key: status[key] for key in ("applied", "hits", "misses", "fallbacks", "reason", "versions")}
print(json.dumps({"seen": seen, "status": said}))
"""


class DeadHub:
    """A hub that hangs up on everyone and counts them."""

    def __init__(self) -> None:
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._hang_up, daemon=True)

    def __enter__(self) -> DeadHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _hang_up(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.requests += 1
            caller.close()


def selftest(environ: Mapping[str, str], *, as_json: bool) -> int:
    """Compare both loads; returns 1 where they differ or the hub was asked."""
    if find_spec("transformers") is None:
        note("pinformers: The selftest needs transformers, and this Python environment has none.")
        return 1
    with tempfile.TemporaryDirectory() as home, DeadHub() as hub, progress_bar("Testing", quiet=as_json):
        report = _compare(Path(home), hub, environ)
    if as_json:
        print_json(report)
    else:
        _print(report)
    return 0 if report["passed"] else 1


def _compare(home: Path, hub: DeadHub, outer: Mapping[str, str]) -> dict[str, Any]:
    environ = _environ(outer, home, hub.url)
    checkpoint = home / "checkpoint"
    _python(_BUILD, str(checkpoint), environ, home, "build a tiny checkpoint")
    plain = json.loads(_python(_LOAD, str(checkpoint), environ, home, "load it plain"))
    settings = Settings(cache_dir=home / "hf" / "hub", state_dir=home / "hf" / "pinformers")
    root = pin_folder(build_resolver(settings), checkpoint, NAME).pin.root
    asked = hub.requests
    ours = json.loads(_python(_LOAD, NAME, {**environ, _autostart.SWITCH: "1"}, home, "load it through pinformers"))
    requests = hub.requests - asked
    same = plain["seen"] == ours["seen"]
    return {
        "passed": same and requests == 0 and ours["status"]["applied"] and not plain["status"]["applied"],
        "torch": "model" in ours["seen"],
        "root": root,
        "same": same,
        "requests": requests,
        "plain": plain["seen"],
        "through_pinformers": ours["seen"],
        "status": ours["status"],
    }


def _environ(outer: Mapping[str, str], home: Path, url: str) -> dict[str, str]:
    kept = {name: value for name, value in outer.items() if not name.startswith(_DROPPED)}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {**kept, **quiet, _autostart.SWITCH: "0", "HF_HOME": str(home / "hf"), "HF_ENDPOINT": url}


def _python(code: str, argument: str, environ: Mapping[str, str], home: Path, what: str) -> str:
    command = [sys.executable, "-c", code, argument]
    try:
        done = subprocess.run(command, env=environ, cwd=home, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as exc:
        raise SelftestFailed(what, f"it took more than {PATIENCE} s") from exc
    if done.returncode != 0:
        raise SelftestFailed(what, (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1])
    return done.stdout


def _print(report: dict[str, Any]) -> None:
    plain, ours, status = report["plain"], report["through_pinformers"], report["status"]
    versions = [f"{name} {version}" for name, version in status["versions"].items() if version]
    facts = [("versions", ", ".join(versions)), ("root CID", report["root"])]
    facts += [(what, _both(plain[what], ours.get(what))) for what in plain if what != "weights"]
    if report["torch"]:
        facts.append(("weights", _both(f"sha256 {plain['weights'][:16]}", f"sha256 {ours['weights'][:16]}")))
    else:
        facts.append(("weights", "not compared: this Python environment has no torch"))
    facts.append(("start-up line", "it switched pinformers on" if status["applied"] else "it did not act"))
    facts.append(("hub", f"{plural(report['requests'], 'request')} (it was unreachable)"))
    print_facts(facts)
    say()
    say("Passed." if report["passed"] else "Failed.")


def _both(plain: object, ours: object) -> str:
    return f"{ours}, both ways" if plain == ours else f"plain {plain}, through pinformers {ours}"
