"""Run a user's script plain, pinned, and pinned with the hub unreachable, and tell whether anybody could see it.

A case is `<group>/<case>.py`, a script that knows nothing of pinformers; a name that begins with `_` is no case. It
prints what it observes to stdout, the same in every run: no addresses, no times. The first line of its docstring is
the name of its row. After it may stand, a line each:

    models: bert, custom          families that the hub has as tiny/<family>; the case also runs with no hub
    repos: gguf, adapter          what frameworks/_repos.py writes, which the hub has as tiny/<repo>; no hub as above
    packages: typeguard           distributions without which the case is skipped
    steps: write read             arguments of one process each, in one folder; every mix of plain and pinned runs
    command: -m torch.distributed.run --nproc-per-node=2 {script}       what Python is given instead of the script
    env: USE_TORCH=0 A=b          more environment
    switch: run                   pinned by `pinformers run` instead of the variable
    scope: hub                    a setting of pinformers, for the pinned runs alone; so every other name of a setting
    when: always                  part of the default test run; the others need `-m compat`
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path

from environment import clean_env
from hub_stub import HubStub
from integration.running import publish
from pinformers import _gate
from pinformers._settings import PREFIX, Settings

CASES = Path(__file__).parent
PATIENCE = 300
# Nobody listens at the discard port.
NOWHERE = "http://127.0.0.1:9"
_DIRECTIVE = re.compile(r"^(\w+): +(.+)$")
_LINES = (_gate.PATCHING, _gate.ROUTING, _gate.PATCHED.format(count=0).replace("0", r"\d+"))
_OURS = re.compile(r"^(?:\[INFO\] |INFO:pinformers:)(?:" + "|".join(_LINES).replace(".", r"\.") + r")\n", re.MULTILINE)
# A progress bar tells the time; a traceback names the files that it came through, ours among them.
_BAR = re.compile(r"^.*\d+%\|.*$\n?", re.MULTILINE)
_FRAME = re.compile(
    r'^ *File "[^"\n]*/pinformers/(?:importing|_activation)[^"\n]*", line .*\n(?: {4,}.*\n)+', re.MULTILINE
)
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
# The hub's client says this once when it asks the hub, so not where nothing is asked.
_ASKED = re.compile(r"^.*You are sending unauthenticated requests to the HF Hub.*\n", re.MULTILINE)
# A rank of plain torch ends so now and then (1 of 9 runs of frameworks/ranks.py on busy cores), and says nothing of us.
_ABORTED = "terminate called without an active exception"
_WORDS = ("models", "repos", "packages", "steps", "command", "env", "switch", "when")


@dataclass(frozen=True, slots=True)
class Case:
    """One script and what it says of itself."""

    script: Path
    name: str
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        return f"{self.script.parent.name}/{self.script.stem}"

    @property
    def models(self) -> list[str]:
        return re.findall(r"[\w.-]+", self.words.get("models", ""))

    @property
    def repos(self) -> list[str]:
        return re.findall(r"[\w.-]+", self.words.get("repos", ""))

    @property
    def steps(self) -> list[str]:
        return self.words.get("steps", "").split() or [""]

    @property
    def always(self) -> bool:
        return self.words.get("when") == "always"

    @property
    def missing(self) -> list[str]:
        """The distributions that it needs and that are not here."""
        return [name for name in re.findall(r"[\w.-]+", self.words.get("packages", "")) if not _installed(name)]

    def command(self, step: str) -> list[str]:
        line = self.words.get("command", "{script}").replace("{script}", shlex.quote(str(self.script)))
        return [sys.executable, *shlex.split(line), *step.split()]

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in shlex.split(self.words.get("env", "")))

    @property
    def settings(self) -> dict[str, str]:
        return {PREFIX + name.upper(): value for name, value in self.words.items() if name not in _WORDS}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What anybody can see of the processes of one case, however they were switched."""

    status: int
    stdout: str
    stderr: str

    @property
    def silent(self) -> Outcome:
        """The same but for what is said of asking the hub."""
        return Outcome(self.status, self.stdout, _ASKED.sub("", self.stderr))

    def __str__(self) -> str:
        said = self.stdout.splitlines()
        digest = hashlib.sha256(f"{self.stdout}\0{self.stderr}".encode()).hexdigest()[:8]
        return f"{'ok' if self.status == 0 else f'exit {self.status}'}, {len(said)} lines, {digest}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The plain outcome beside those of every way to be pinned; ``again`` is plain with a cache that has it all."""

    plain: Outcome
    pinned: Mapping[str, Outcome]
    again: Outcome
    unreachable: Mapping[str, Outcome]

    @property
    def different(self) -> dict[str, Outcome]:
        """The ways whose outcome is another one; without a hub, nothing is said of asking it."""
        heard = {way: found for way, found in self.pinned.items() if found != self.plain}
        return heard | {way: found for way, found in self.unreachable.items() if found != self.again.silent}


def read_case(script: Path) -> Case:
    """Read the docstring of a script; raises ValueError for a line that means nothing."""
    name, *rest = (ast.get_docstring(ast.parse(script.read_text())) or "").splitlines() or [""]
    known = {*_WORDS, *(setting.name for setting in fields(Settings))}
    words: dict[str, str] = {}
    for line in filter(None, rest):
        found = _DIRECTIVE.match(line)
        if found is None or found[1] not in known:
            raise ValueError(f"{script}: {line!r} is none of {sorted(known)}")
        words[found[1]] = found[2]
    if not name:
        raise ValueError(f"{script} has no docstring")
    return Case(script, name.rstrip("."), words)


def cases() -> list[Case]:
    """Return every case, in the order of the table."""
    return [read_case(script) for script in sorted(CASES.glob("*/[!_]*.py"))]


def compare(case: Case, checkpoints: Path, folder: Path) -> Comparison:
    """Run ``case`` in every way; ``folder`` is empty, ``checkpoints`` holds the families."""
    with HubStub() as hub:
        for family in case.models:
            publish(hub, checkpoints, family)
        for made in _written(case, checkpoints, folder) if case.repos else ():
            repo, _, branch = made.name.partition("@")
            hub.add(f"tiny/{repo}", made, branch=branch.replace("--", "/") or "main")
        runs = _Runs(case, folder, hub.url)
        plain = runs.outcome("plain", [False] * len(case.steps))
        pinned = {"+".join(_words(way)): runs.outcome("pinned", way) for way in _ways(len(case.steps))}
        if not case.models and not case.repos:
            return Comparison(plain, pinned, plain, {})
        alone = runs.outcome("pinned", [True] * len(case.steps), endpoint=NOWHERE, warm=True)
        # With a warm cache plain transformers, too, leaves some remarks out.
        again = plain if alone == plain.silent else runs.outcome("plain", [False] * len(case.steps), warm=True)
    return Comparison(plain, pinned, again, {"unreachable": alone})


def _written(case: Case, checkpoints: Path, folder: Path) -> list[Path]:
    """Have the repositories of a case written: a folder for each branch, ``<repo>`` for main, ``<repo>@<branch>``."""
    target, script = folder / "repos", str(CASES / "frameworks" / "_repos.py")
    command = [sys.executable, script, str(checkpoints), str(target), *case.repos]
    subprocess.run(command, env=clean_env(folder / "builder"), check=True, capture_output=True, timeout=PATIENCE)
    return sorted(target.iterdir())


def _ways(steps: int) -> Iterator[tuple[bool, ...]]:
    # All pinned is the last one: it leaves the pins that the run without a hub finds.
    return (way for way in itertools.product((False, True), repeat=steps) if any(way))


def _words(way: Sequence[bool]) -> list[str]:
    return ["pinned" if pinned else "plain" for pinned in way]


@dataclass(frozen=True, slots=True)
class _Runs:
    """One case in one folder: its plain and its pinned processes have a home each, empty when a way begins."""

    case: Case
    folder: Path
    hub: str

    def outcome(self, kind: str, way: Sequence[bool], *, endpoint: str | None = None, warm: bool = False) -> Outcome:
        """Run every step in its turn; the first that fails is the last. ``warm``: with the cache of the run before."""
        # Two names of one length: what a script pickles may hold a path, and it prints the size.
        home = self.folder / {"plain": "original", "pinned": "switched"}[kind]
        # What a script leaves in its folder, and the custom code that was copied, would be found by the next.
        for left in (home / "work", home / "hf" / "modules") if warm else (home,):
            shutil.rmtree(left, ignore_errors=True)
        (home / "work").mkdir(parents=True)
        status, stdout, stderr = 0, "", ""
        for step, pinned in zip(self.case.steps, way, strict=True):
            for _ in range(3):
                done = self._run(step, home, endpoint or self.hub, pinned=pinned)
                if _ABORTED not in done.stderr:
                    break
            status = done.returncode
            stdout += self._seen(done.stdout, home)
            stderr += self._seen(done.stderr, home)
            if status:
                break
        outcome = Outcome(status, stdout, stderr)
        return outcome.silent if endpoint else outcome

    def _run(self, step: str, home: Path, endpoint: str, *, pinned: bool) -> subprocess.CompletedProcess[str]:
        env = clean_env(home, HF_ENDPOINT=endpoint, PYTHONHASHSEED="0", **self.case.environment)
        command = self.case.command(step)
        if pinned:
            env |= self.case.settings
            if self.case.words.get("switch") == "run":
                command = [sys.executable, "-m", "pinformers", "run", *command]
            else:
                env["PINFORMERS"] = "1"
        return subprocess.run(command, env=env, cwd=home / "work", capture_output=True, text=True, timeout=PATIENCE)

    def _seen(self, text: str, home: Path) -> str:
        for pattern in (_OURS, _BAR, _FRAME):
            text = pattern.sub("", text)
        text = text.replace(str(home), "<home>").replace(self.hub, "<hub>").replace(NOWHERE, "<hub>")
        return _ADDRESS.sub("<address>", text)


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
