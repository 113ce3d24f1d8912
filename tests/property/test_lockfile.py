"""A lockfile gives back any pin that it was given, and says of any text that it is none in one sentence."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from pinformers._errors import BadLock
from pinformers.ipfs import CID, FileHasher
from pinformers.ipfs.layout import Profile, dag_size
from pinformers.pinning.lockfile import HEAD, Lock, parse_lock, render_lock
from pinformers.pinning.pin import Pin, PinnedFile

NAMES = st.text(st.characters(exclude_characters="/\\", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
PATHS = NAMES.filter(lambda name: name not in (".", ".."))
REPOS = st.from_regex(r"[a-z0-9]{1,8}/[A-Za-z0-9]{1,8}", fullmatch=True)
REVISIONS = st.sampled_from(["main", "v1.0", "refs/pr/3", "été", "0" * 40])
HEX = st.text("0123456789abcdef", min_size=40, max_size=40)
WORD = st.none() | st.text(max_size=8)
INFO = st.fixed_dictionaries(
    {},
    optional={
        "pipeline_tag": WORD,
        "library_name": WORD,
        "tags": st.none() | st.lists(st.text(max_size=8), max_size=3),
        "private": st.just(True),
        "gated": st.sampled_from(["auto", "manual"]),
    },
)


@st.composite
def files(draw: st.DrawFn) -> PinnedFile:
    content = draw(st.binary(max_size=9))
    digest, size = hashlib.sha256(content), draw(st.integers(0, 1 << 45))
    hub = draw(st.sampled_from(["none", "git", "lfs"]))
    said = {} if hub == "none" else {"size": size, "blob_id": draw(HEX)}
    if hub == "lfs":
        said |= {"lfs_sha256": digest.hexdigest(), "lfs_size": size}
    if draw(st.booleans()):
        return PinnedFile(size, str(CID.raw(digest.digest())), size, digest.hexdigest(), said)
    blocks = draw(st.sampled_from([dag_size(size), size + 12345]))
    return PinnedFile(
        size, str(CID.dag_pb(hashlib.sha256(content + b"node").digest())), blocks, digest.hexdigest(), said
    )


# Not Pin itself: of a NamedTuple hypothesis makes up the fields that are left out, too.
PINS = st.builds(
    lambda **said: Pin(**said),
    repo=REPOS,
    commit=HEX,
    files=st.dictionaries(PATHS, files(), min_size=1, max_size=4),
    listed=st.booleans(),
    info=st.none() | INFO,
    origin=st.sampled_from(["hub", "folder"]),
)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    pins = {(pin.repo, revision): pin for pin, revision in draw(st.lists(st.tuples(PINS, REVISIONS), max_size=3))}
    # One commit of a repo is one folder.
    commits = [
        f"{n:x}" * 40 if pin.origin == "hub" else pin.directory().cid.digest.hex()[:40]
        for n, pin in enumerate(pins.values())
    ]
    return Lock({key: pins[key]._replace(commit=commit) for key, commit in zip(pins, commits, strict=True)})


@settings(deadline=None)
@given(locks())
def test_what_was_locked_is_read_again_and_written_alike(lock: Lock) -> None:
    text = render_lock(lock)
    assert parse_lock(text) == lock
    assert render_lock(parse_lock(text)) == text
    assert text.count("\n") == 1 + sum(6 + (pin.info is not None) + len(pin.files) for pin in lock.pins.values())


@settings(deadline=None)
@given(locks(), st.randoms(use_true_random=False))
def test_a_damaged_lockfile_is_never_read_as_another_pin(lock: Lock, random: object) -> None:
    text = render_lock(lock)
    at = random.randrange(len(text))  # type: ignore[attr-defined]
    damaged = text[:at] + random.choice('0aX \n"\\é') + text[at + 1 :]  # type: ignore[attr-defined]
    try:
        found = parse_lock(damaged)
    except BadLock as exc:
        assert str(exc).startswith("pinformers.lock:")
        assert str(exc).isprintable()
    else:
        # Names and the hub's words can be changed by hand; what a file must be cannot, the root stands for it.
        roots = {pin.root for pin in lock.pins.values()}
        assert {pin.root for pin in found.pins.values()} <= roots


@given(st.text(max_size=80))
def test_any_text_is_a_lockfile_or_one_sentence(text: str) -> None:
    for candidate in (text, f"{HEAD}\n{text}", f"{HEAD}\nmodel a/b main\n  {text}"):
        try:
            parse_lock(candidate)
        except BadLock as exc:
            assert "\n" not in str(exc)


@settings(deadline=None)
@given(st.integers(0, 600), st.integers(1, 5), st.integers(2, 4))
def test_the_size_of_a_dag_follows_from_the_size_of_the_file(size: int, chunk: int, width: int) -> None:
    profile = Profile(chunk=chunk, width=width)
    hasher = FileHasher(size, profile=profile)
    hasher.update(bytes(size))
    assert dag_size(size, profile) == hasher.finish().dag_size
