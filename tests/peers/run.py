"""Run the peers' own suites without pinformers and with it, and compare what pytest tells of every test.

`python tests/peers/run.py [--write] [--keep FOLDER] [SUITE ...]`; the exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from environment import clean_env
from hub_stub import HubStub
from peers import page
from peers.comparing import Run
from peers.suites import SUITES, Suite, fetch, lay_out

HERE = Path(__file__).parent
REPOS = ("tiny/bert", "tiny/gpt2")
# huggingface_hub's own CI has the first unset and the others set; its tests look at what follows from them.
UNSET = ("DO_NOT_TRACK", "HF_ENDPOINT", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY")
SET = {"HUGGINGFACE_CO_STAGING": "1", "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "", "NO_COLOR": "1"}


@dataclass(frozen=True, slots=True)
class Side:
    """One way to run every suite."""

    title: str
    variables: Mapping[str, str]
    pins: bool = False


PLAIN = ("plain", "plain again")
ON = {"PINFORMERS": "force"}
SIDES = {
    "plain": Side("without", {"PINFORMERS": "0"}),
    "plain again": Side("without, again", {"PINFORMERS": "0"}),
    "unpinned": Side("on, nothing pinned", ON),
    "pinned": Side("on, models pinned", ON, pins=True),
    "hub": Side("on, models pinned, `scope = hub`", {**ON, "PINFORMERS_SCOPE": "hub", "PEERS_FORGET": "1"}, pins=True),
}


class Workshop:
    """The folders of one go: sdists, the models that are loaded by name, the caches that every side starts with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.models, self.seed = folder, folder / "models", folder / "seed"

    def prepare(self) -> None:
        """Build the models, and let a process with pinformers on load and pin them."""
        for path in (self.models, self.seed):
            shutil.rmtree(path, ignore_errors=True)
        build = [sys.executable, str(HERE / "seed.py"), "build", str(self.models), *REPOS]
        subprocess.run(build, env=clean_env(self.folder / "builder"), check=True)
        with self.hub() as hub:
            environment = clean_env(self.seed, HF_ENDPOINT=hub.url, TRANSFORMERS_VERBOSITY="error", **ON)
            subprocess.run([sys.executable, str(HERE / "seed.py"), "pin", *REPOS], env=environment, check=True)

    def hub(self) -> HubStub:
        """A hub with the models."""
        hub = HubStub()
        for repo in REPOS:
            hub.add(repo, self.models / repo)
        return hub

    def run(self, suite: Suite, side: Side) -> Run:
        """Run one suite on one side, in folders of its own."""
        place = Path(tempfile.mkdtemp(prefix="side-", dir=self.folder))
        shutil.copytree(self.seed, place / "home", symlinks=True)
        if not side.pins:
            shutil.rmtree(place / "home" / "hf" / "pinformers")
        (place / "tmp").mkdir()
        root = lay_out(suite.project, fetch(suite.project, self.folder), place / "suite")
        command = [sys.executable, "-m", "pytest", "-c", "peers.ini", "--rootdir", ".", "-p", "peers_recording"]
        command += ["-p", "no:xdist", "-p", "no:cacheprovider", "--continue-on-collection-errors", *suite.tests]
        with self.hub() as hub, (place / "log").open("w") as log:
            environment = _environment(place, suite, side, hub.url)
            done = subprocess.run(command, cwd=root, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            if done.returncode not in (0, 1):
                sys.exit(f"{suite.title}, {side.title}: pytest ended with {done.returncode}, see {place / 'log'}")
            return Run.read(place / "outcomes.json", place, requests=len(hub.requests))


def _environment(place: Path, suite: Suite, side: Side, hub: str) -> dict[str, str]:
    variables = {
        "HF_ENDPOINT": hub,
        "PEERS_OUTCOMES": str(place / "outcomes.json"),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(HERE / "inside"),
        "TMPDIR": str(place / "tmp"),
    }
    environment = clean_env(place / "home", **variables, **side.variables)
    if suite.project == "huggingface_hub":
        environment = {name: value for name, value in environment.items() if name not in UNSET} | SET
    return environment


def compare(workshop: Workshop, suites: Sequence[Suite], sides: Sequence[str]) -> list[page.Result]:
    """Run each suite on each side: two at a time, each in one process, so that the order of the tests is the same."""
    with ThreadPoolExecutor(2) as pool:
        jobs = [{name: pool.submit(workshop.run, suite, SIDES[name]) for name in sides} for suite in suites]
        runs = [{name: job.result() for name, job in row.items()} for row in jobs]
    return [page.Result(suite, row) for suite, row in zip(suites, runs, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", default=list(SUITES), help=f"some of {', '.join(SUITES)}; all by default")
    parser.add_argument("--sides", default="unpinned,pinned,hub", help="what is compared with plain runs")
    parser.add_argument("--write", action="store_true", help="write docs/reference/peers.md")
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it")
    given = parser.parse_args()
    folder = (given.keep or Path(tempfile.mkdtemp(prefix="peers-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    workshop, suites = Workshop(folder), [SUITES[name] for name in given.suites]
    workshop.prepare()
    for suite in suites:
        fetch(suite.project, folder)
    results = compare(workshop, suites, [*PLAIN, *given.sides.split(",")])
    text = page.render(results, {name: side.title for name, side in SIDES.items()})
    found = any(result.differences for result in results)
    print(text)
    if given.write:
        page.PAGE.write_text(text, encoding="utf-8")
    if given.keep is None and not found:
        shutil.rmtree(folder)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
