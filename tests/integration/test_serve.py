"""`pinformers serve` as a process: what it serves, what it says, how it ends."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from environment import clean_env
from gateway_rooms import ask, connection
from pin_rooms import FILES, REPO, write_folder
from pinformers.ipfs import CID, Block, hash_file, read_car, read_file, walk_directory, write_car
from tls_rooms import Http2, trusting, write_certificate

CLI = [sys.executable, "-m", "pinformers"]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals")


@dataclass
class Served:
    """A serving process, its first line and its address."""

    process: subprocess.Popen[str]
    line: str
    address: tuple[str, int]

    def get(self, target: str) -> tuple[int, bytes]:
        with connection(self.address) as client:
            return ask(client, target)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextlib.contextmanager
def serve(home: Path, *options: str | Path, **env: str) -> Iterator[Served]:
    command = [*CLI, "serve", "--port", "0", *map(str, options)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=clean_env(home, **env), stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        found = re.search(r"https?://\[?([0-9.:a-z]+?)\]?:(\d+) ", line)
        assert found is not None, process.stderr.read()
        try:
            yield Served(process, line, (found[1], int(found[2])))
        finally:
            process.kill()


def run(home: Path, *arguments: str | Path, code: int = 0) -> str:
    done = subprocess.run([*CLI, *map(str, arguments)], env=clean_env(home), capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def pin(home: Path, name: str = REPO, **files: bytes) -> str:
    """Pin a folder and return its root CID."""
    folder = write_folder(home / name.replace("/", "--"), files or FILES)
    found = re.search(r"root CID +(\S+)", run(home, "pin", folder, "--as", name))
    assert found is not None
    return found[1]


def folder_of(car: bytes) -> dict[str, bytes]:
    """The files that a CAR of a folder holds."""
    (root,), blocks = read_car(io.BytesIO(car))
    store = {block.cid: block.data for block in blocks}
    return {
        path: b"".join(read_file(cid, store.__getitem__)) for path, cid, _ in walk_directory(root, store.__getitem__)
    }


def car_of(path: Path, contents: Sequence[bytes]) -> list[CID]:
    source = path.with_suffix(".bin")
    blocks = []
    for content in contents:
        source.write_bytes(content)
        blocks.append(Block(hash_file(source).cid, content))
    with path.open("wb") as out:
        write_car(out, [blocks[0].cid], blocks)
    return [block.cid for block in blocks]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pinned_model_is_served_until_a_signal_ends_it(tmp_path: Path, number: int) -> None:
    root = pin(tmp_path)
    with serve(tmp_path) as served:
        assert re.fullmatch(r"Serving 1 pinned model at http://127\.0\.0\.1:\d+ \(Ctrl-C ends\)\n", served.line)
        status, car = served.get(f"/ipfs/{root}?format=car")
        assert (status, folder_of(car)) == (200, dict(FILES))
        assert served.get(f"/ipfs/{root}/sub/nothing?format=car")[0] == 200
        assert served.get("/ipfs/bafkqaaa?format=raw") == (200, b"")
        assert served.get(f"/ipfs/{CID.raw(bytes(32))}?format=raw")[0] == 404
        assert served.end(number) == (0, "", "")


def test_it_ends_while_it_serves(tmp_path: Path) -> None:
    root = pin(tmp_path, weights=os.urandom(30 << 20))
    with serve(tmp_path) as served, socket.create_connection(served.address, timeout=20) as client:
        client.sendall(f"GET /ipfs/{root}?format=car HTTP/1.1\r\n\r\n".encode())
        assert client.recv(100)
        assert served.end() == (0, "", "")


def test_what_another_process_pins_is_served_without_a_restart(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        assert served.line.startswith("Serving 0 pinned models at ")
        root = pin(tmp_path)
        assert folder_of(served.get(f"/ipfs/{root}?format=car")[1]) == dict(FILES)
        other = pin(tmp_path, "org/other", **{"a.txt": b"new"})
        assert folder_of(served.get(f"/ipfs/{other}?format=car")[1]) == {"a.txt": b"new"}
        run(tmp_path, "rm", "org/other")
        assert served.get(f"/ipfs/{root}?format=raw")[0] == 200


def test_a_changed_file_is_not_served_and_the_car_is_cut(tmp_path: Path) -> None:
    root = pin(tmp_path)
    with serve(tmp_path) as served:
        assert served.get(f"/ipfs/{root}?format=car")[0] == 200
        (path,) = (tmp_path / "hf" / "hub").glob("**/snapshots/*/sub/vocab.txt")
        path.resolve().write_bytes(b"x\ny\n")
        with pytest.raises(http.client.IncompleteRead):
            served.get(f"/ipfs/{root}?format=car")
        assert served.get(f"/ipfs/{root}/config.json?format=car")[0] == 200
        assert served.end() == (0, "", "")


def test_car_files_are_served_in_place(tmp_path: Path) -> None:
    (one,) = car_of(tmp_path / "one.car", [b"first"])
    two, three = car_of(tmp_path / "two.car", [b"second", b"third"])
    with serve(tmp_path, "--car", tmp_path / "one.car", tmp_path / "two.car") as served:
        assert re.match(r"Serving 3 blocks of 2 CAR files at http://127\.0\.0\.1:\d+ ", served.line)
        for cid, content in ((one, b"first"), (two, b"second"), (three, b"third")):
            assert served.get(f"/ipfs/{cid}?format=raw") == (200, content)
    with serve(tmp_path, "--car", tmp_path / "one.car", "--car", tmp_path / "two.car") as served:
        assert served.get(f"/ipfs/{three}?format=raw") == (200, b"third")


def test_tls_and_http_2(tmp_path: Path) -> None:
    pytest.importorskip("hypercorn")
    root = pin(tmp_path)
    cert, key = write_certificate(tmp_path)
    with serve(tmp_path, "--cert", cert, "--key", key) as served:
        assert "at https://127.0.0.1:" in served.line
        with Http2(served.address, trusting(cert, "h2")) as client:
            client.send(f"/ipfs/{root}?format=car")
            headers, car = client.receive()
            assert (headers[":status"], folder_of(car)) == ("200", dict(FILES))
            assert served.end(signal.SIGINT) == (0, "", "")


def test_requests_are_told_at_debug_only(tmp_path: Path) -> None:
    for log, lines in (("info", ""), ("debug", "[DEBUG] GET /ipfs/bafkqaaa?format=raw: 200.\n")):
        with serve(tmp_path, PINFORMERS_LOG=log) as served:
            served.get("/ipfs/bafkqaaa?format=raw")
            assert served.end() == (0, "", lines)


def test_a_remark_where_others_can_reach_it(tmp_path: Path) -> None:
    with serve(tmp_path, "--host", "0.0.0.0") as served:
        assert "at http://127.0.0.1:" in served.line
        code, out, said = served.end()
        assert (code, out) == (0, "") and said.startswith("Other machines reach it at http://")
        assert said.endswith("; whoever does, and knows a CID, can read it.\n")


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = run(tmp_path, "serve", "--port", str(port), code=1)
    advice = "the port is taken; choose another with --port, or 0 for any that is free."
    assert said == f"pinformers: 127.0.0.1:{port}: {advice}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--car", "no.car"], 1, r"pinformers: .*no\.car: No such file or directory\."),
        (["--car", "text.car"], 1, r"pinformers: .*text\.car: this is not a readable CAR file: .*\."),
        (["--car", "pipe.car"], 1, r"pinformers: pipe\.car: this is no file; .*\."),
        (["--host", "a..b"], 1, r"pinformers: a\.\.b: this is no address .*\."),
        (["--host", "192.0.2.1"], 1, r"pinformers: 192\.0\.2\.1:0: this address cannot be served at \(.*\)\."),
        (["--cert", "no.pem"], 1, r"pinformers: .*no\.pem: there is no such file; .*\."),
        (["--cert", "text.car"], 1, r"pinformers: .*: this is no certificate with its key .*\."),
        (["--key", "text.car"], 2, r"(?s)Usage: .*Error: --key goes with --cert\."),
        (["text.car"], 2, r"(?s)Usage: .*Error: text\.car is to be served by --car\."),
        (["--port", "70000"], 2, r"(?s)Usage: .*70000 is not in the range 0<=x<=65535\."),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    tmp_path: Path, arguments: list[str], code: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.car").write_text("some text\n" * 30)
    os.mkfifo(tmp_path / "pipe.car")
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(sentence + r"\n", run(tmp_path, "serve", "--port", "0", *arguments, code=code))


def test_ctrl_c_ends_it_while_it_indexes(tmp_path: Path) -> None:
    car_of(tmp_path / "a.car", [b"a"])
    code = "import os, signal; from pinformers import _cli_serve, cli; "
    code += "_cli_serve.CarFiles = lambda *_: os.kill(os.getpid(), signal.SIGINT); cli.main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--car", str(tmp_path / "a.car")]
    done = subprocess.run(command, env=clean_env(tmp_path), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")
