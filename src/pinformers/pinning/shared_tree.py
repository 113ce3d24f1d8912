"""What a shared catalog looks like: a UnixFS folder that the plain ``ipfs`` command can list and print.

``pinformers.json``, and for each model ``models/<org>/<name>/refs.json`` and ``models/<org>/<name>/<commit>.json``;
a model without an organisation lies under ``models/_/<name>``. Whoever reads one trusts none of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pinformers._errors import BadBlock, PinError
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.dag import Fetch, list_directory, read_block, read_file
from pinformers.ipfs.dagpb import MAX_DEPTH, Link, Node, parse_node
from pinformers.ipfs.unixfs import Entry, FileHasher, build_directory
from pinformers.pinning.access import check_origin, for_others, foreign_info
from pinformers.pinning.pin import Pin, check_commit, check_repo, check_revision
from pinformers.pinning.records import MALFORMED, Json
from pinformers.pinning.times import iso, moment

FORMAT = 1
HEAD = "pinformers.json"
REFS = "refs.json"
# A pin needs about 400 bytes a file.
MAX_JSON = 32 << 20
_NO_ORG = "_"
_PIN_NAME = re.compile(r"([0-9a-f]{40})\.json")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HUB_NUMBERS, _HUB_HASHES = ("size", "lfs_size"), ("blob_id", "lfs_sha256", "xet_hash")
_LARGEST = 1 << 60

Refs = Mapping[str, Mapping[str, tuple[str, int]]]
"""For each repo its branches and tags, each with the commit and when (ns) it was seen there."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A built catalog: its root, every block of it, and how much it holds."""

    root: CID
    blocks: tuple[Block, ...]
    models: int
    pins: int


# -- writing --------------------------------------------------------------------------------------------------


def publishable(pin: Pin) -> bool:
    """Whether a pin can stand in a catalog: a model of the hub's kind, with files whose sha256 is known."""
    hashed = bool(pin.files) and all(file.sha256 for file in pin.files.values())
    return hashed and pin.repo_type == "model" and pin.origin != "ipfs"


def build_tree(pins: Iterable[Pin], refs: Refs) -> Tree:
    """Build the catalog of ``pins``. A ref whose commit is not among them is left out.

    Equal content has an equal root: ``updated`` is the latest time that stands anywhere in it.
    """
    known = {(pin.repo, pin.commit): for_others(pin) for pin in pins}
    files = {f"{_folder(repo)}/{commit}.json": pin.to_json() for (repo, commit), pin in known.items()}
    times = [pin.pinned_at for pin in known.values()]
    models = {repo for repo, _ in known}
    for repo in models:
        named = {name: ref for name, ref in refs.get(repo, {}).items() if (repo, ref[0]) in known}
        if named:
            said = {name: {"commit": commit, "seen": iso(seen)} for name, (commit, seen) in named.items()}
            files[f"{_folder(repo)}/{REFS}"] = said
            times += [ref["seen"] for ref in said.values()]
    head = {"format": FORMAT, "updated": max(times, default=""), "models": len(models), "pins": len(known)}
    return _assemble({HEAD: head, **files}, models=len(models), pins=len(known))


def _assemble(files: Mapping[str, Json], *, models: int, pins: int) -> Tree:
    blocks: dict[CID, Block] = {}

    def keep(leaf: bytes | memoryview) -> None:
        block = Block(CID.raw(hashlib.sha256(leaf).digest()), bytes(leaf))
        blocks[block.cid] = block

    entries: dict[str, Entry] = {}
    for path, value in files.items():
        hasher = FileHasher(leaf=keep)
        hasher.update((json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
        dag = hasher.finish()
        blocks.update((node.cid, node) for node in dag.nodes)
        entries[path] = Entry(dag.cid, dag.size, dag.dag_size)
    folder = build_directory(entries)
    # Parents first: a node that streams them can tell what is still to come.
    return Tree(folder.cid, (*folder.nodes, *blocks.values()), models, pins)


def _folder(repo: str) -> str:
    org, _, name = check_repo(repo).rpartition("/")
    return f"models/{org or _NO_ORG}/{name}"


def pinned_ns(pin: Pin) -> int:
    """Return when a pin was made, in ns since the epoch; 0 where it does not say."""
    return moment(pin.pinned_at) if pin.pinned_at else 0


# -- reading --------------------------------------------------------------------------------------------------


class SharedTree:
    """Read one catalog, and of it only what is asked for: the folders on the way and the one file.

    Raises PinError and BadContent for what is no catalog, and whatever ``fetch`` raises.
    """

    def __init__(self, root: CID, fetch: Fetch) -> None:
        self._root, self._fetch = root, fetch

    @classmethod
    def below(cls, root: CID, path: Iterable[str], fetch: Fetch) -> CID:
        """Return the folder that ``path`` leads to from ``root``."""
        for name in path:
            link = find_entry(root, name, fetch)
            if link is None:
                raise PinError(f"{root}/{name}", "there is no such folder")
            root = link.cid
        return root

    def head(self) -> Json:
        """Return what it says of itself."""
        head = self._json(self._root, HEAD)
        if head is None or head.get("format") != FORMAT:
            said = "nothing" if head is None else repr(head.get("format"))[:40]
            raise PinError(HEAD, f"this version reads catalogs of the format {FORMAT}, and this one says {said}")
        return head

    def pin(self, repo: str, commit: str) -> Pin | None:
        """Return the pin of a commit, None where there is none."""
        folder = self._model(repo)
        return None if folder is None else self._pin(folder, repo, check_commit(commit))

    def ref(self, repo: str, revision: str) -> tuple[str, int] | None:
        """Return the commit at which a branch or tag was seen, and when (ns), or None."""
        folder = self._model(repo)
        refs = None if folder is None else self._json(folder, REFS)
        if refs is None or revision not in refs:
            return None
        ref = refs[check_revision(revision)]
        if not isinstance(ref, dict) or not isinstance(ref.get("commit"), str):
            raise PinError(f"{repo}/{REFS}", f"{revision} has no commit there")
        return check_commit(ref["commit"]), moment(ref.get("seen"))

    def newest(self, repo: str) -> Pin | None:
        """Return the model's pin with the latest ``pinned_at``, or None."""
        folder = self._model(repo)
        names = [] if folder is None else list_directory(folder, self._fetch)
        commits = [match[1] for match in map(_PIN_NAME.fullmatch, names) if match]
        pins = [pin for commit in commits if folder and (pin := self._pin(folder, repo, commit)) is not None]
        return max(pins, key=lambda pin: (pinned_ns(pin), pin.commit), default=None)

    def _pin(self, folder: CID, repo: str, commit: str) -> Pin | None:
        value = self._json(folder, f"{commit}.json")
        return None if value is None else read_pin(value, repo, commit)

    def _model(self, repo: str) -> CID | None:
        folder = self._root
        for name in _folder(repo).split("/"):
            link = find_entry(folder, name, self._fetch)
            if link is None:
                return None
            folder = link.cid
        return folder

    def _json(self, folder: CID, name: str) -> Json | None:
        link = find_entry(folder, name, self._fetch)
        if link is None:
            return None
        text = bytearray()
        for piece in read_file(link.cid, self._fetch):
            text += piece
            if len(text) > MAX_JSON:
                raise PinError(name, f"it has more than {MAX_JSON} bytes")
        try:
            value = json.loads(text, parse_constant=_no_number)
            # Half of a surrogate pair can be written as JSON, but never into a file of ours.
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as exc:
            raise PinError(name, f"this is not JSON ({exc})") from exc
        if not isinstance(value, dict):
            raise PinError(name, "this is no JSON object")
        return value


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number of JSON")


def find_entry(folder: CID, name: str, fetch: Fetch) -> Link | None:
    """Return what a folder calls ``name``; of a sharded one only the shards on the way are fetched."""
    bits, depth = -1, 0
    while depth < MAX_DEPTH:
        node = parse_node(folder, read_block(folder, fetch))
        if node.kind == "directory" and not depth:
            return _only(folder, [link for link in node.links if link.name == name])
        if node.kind != "shard":
            raise BadBlock(str(folder), "it is no folder" if not depth else "it is no shard")
        bits = _hash(name) if bits < 0 else bits
        slot, bits = _slot(node, bits)
        found = _only(folder, [link for link in node.links if link.name in (slot, slot + name)])
        if found is None or found.name != slot:
            return None if found is None else Link(name, found.cid, found.dag_size)
        folder, depth = found.cid, depth + 1
    raise BadBlock(str(folder), "its shards lie too deep")


def _slot(node: Node, bits: int) -> tuple[str, int]:
    """Return the shard's prefix for a hash of 64 bits, and the hash without the bits that it took."""
    taken = node.fanout.bit_length() - 1
    return f"{bits >> (64 - taken):0{len(f'{node.fanout - 1:X}')}X}", (bits << taken) & (1 << 64) - 1


def _only(folder: CID, links: list[Link]) -> Link | None:
    if len(links) > 1:
        raise BadBlock(str(folder), f"the folder holds the name {links[0].name!r} twice")
    return links[0] if links else None


def _hash(name: str) -> int:
    # deferred: only folders above 256 KiB of links need murmur3.
    import mmh3

    return int(mmh3.hash64(name.encode(), seed=0, x64arch=True, signed=False)[0])


# -- a pin of others ------------------------------------------------------------------------------------------


def read_pin(value: Mapping[str, Any], repo: str, commit: str) -> Pin:
    """Read the pin of a commit out of another's hand; raises PinError unless all of it fits together."""
    subject = f"{repo}@{commit[:12]}"
    try:
        pin = foreign_pin(value)
        root = CID.parse(value["root"])
        pinned_ns(pin)
    except MALFORMED as exc:
        raise PinError(subject, f"its pin cannot be read ({exc!r})") from exc
    if (pin.repo, pin.commit, pin.repo_type) != (repo, commit, "model"):
        raise PinError(subject, f"in its place stands a pin of {pin.repo_type} {pin.repo}@{pin.commit[:12]}")
    if not publishable(pin):
        raise PinError(subject, "its pin names no files, or not the sha256 of each")
    if pin.directory().cid != root:
        raise PinError(subject, f"its pin says that the root is {root}, and its files give {pin.directory().cid}")
    return pin


def foreign_pin(value: Mapping[str, Any]) -> Pin:
    """Read a pin of another machine, without what it may not say; raises PinError or one of MALFORMED."""
    _check_words(value)
    pin = Pin.from_json({**value, "info": foreign_info(value["info"])})
    check_origin(pin)
    return pin._replace(learned="")


def _check_words(value: Mapping[str, Any]) -> None:
    # int() would take "7", 7.9 and true.
    for path, file in value["files"].items():
        if not (_count(file["size"]) and _count(file["dag_size"])):
            raise ValueError(f"the sizes of {path!r} are no numbers of bytes")
        hub = file.get("hub", {})
        _check_hub(path, hub)
        if hub.get("size", file["size"]) not in (None, file["size"]):
            raise ValueError(f"{path!r} has two sizes")
    for path, hub in value["others"].items():
        _check_hub(path, hub)
    if any(_CONTROL.search(path) for path in (*value["files"], *value["others"])):
        # Paths are printed, and a terminal obeys what it is sent.
        raise ValueError("a path holds control characters")


def _check_hub(path: str, hub: Mapping[str, Any]) -> None:
    for key, word in hub.items():
        number = key in _HUB_NUMBERS and _count(word)
        hashed = key in _HUB_HASHES and isinstance(word, str) and _HEX.fullmatch(word)
        if word is not None and not (number or hashed):
            raise ValueError(f"the hub never says {key!r}: {word!r} of {path!r}")


def _count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < _LARGEST
