"""What ``lock`` does; returns its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pinformers._cli_output import note, plural, print_json, print_table, say
from pinformers._composition import state_dir
from pinformers._errors import PinError
from pinformers._settings import read_settings
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.lockfile import NAME, Lock, nearest_lock, read_lock, render_lock, write_lock
from pinformers.pinning.pin import OID, Pin, agree, check_repo, check_revision
from pinformers.pinning.records import signature
from pinformers.pinning.references import Reference

State = Literal["added", "changed", "unchanged", "refused", "absent", "partly"]
Target = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Locking:
    """What becomes of one model: its pin in the local catalog, or the ``problem`` with locking it.

    ``known`` is what is pinned of it here, also where that is not whole.
    """

    target: Target
    locked: Pin | None
    pin: Pin | None = None
    problem: str = ""
    known: Pin | None = None

    @property
    def state(self) -> State:
        """How the pin differs from what is locked."""
        if self.pin is None:
            return "refused"
        if self.locked is None:
            return "added"
        # What a lockfile does not hold, such as the time of the pinning, makes no difference.
        old, new = (render_lock(Lock({self.target: pin})) for pin in (self.locked, self.pin))
        return "unchanged" if old == new else "changed"

    @property
    def complaint(self) -> str:
        """What ``--check`` says of it; empty where nothing contradicts the lockfile."""
        name = "@".join(self.target)
        if self.locked is None:
            return f"{name} is not locked" if self.known is not None else self.problem
        if self.known is None or self.state == "unchanged":
            return ""
        if self.locked.commit != self.known.commit:
            return f"{name} is locked at {self.locked.commit[:12]} and pinned at {self.known.commit[:12]}"
        if self.pin is None and agree(self.locked, self.known):
            return ""
        return f"{name} is locked otherwise than it is pinned, at the same commit"

    @property
    def checked(self) -> State:
        """Its state as ``--check`` sees it: there, what is not here, or not whole, is no refusal."""
        if self.complaint or self.pin is not None or self.locked is None:
            return self.state
        return "absent" if self.known is None else "partly"

    @property
    def remark(self) -> str:
        """What ``--check`` could not compare."""
        name = "@".join(self.target)
        if self.checked == "absent":
            return f"{name} is locked and not pinned here, so there was nothing to compare"
        if self.checked == "partly" and self.known is not None and self.locked is not None:
            both = len(self.locked.files.keys() & self.known.files.keys())
            return f"{name}: {both} of {plural(len(self.locked.files), 'file')} are pinned here and agree"
        return ""


def lock(
    models: Sequence[str], revision: str | None, output: Path | None, *, check: bool = False, as_json: bool = False
) -> int:
    """Write what the local catalog says of models into the lockfile, or only compare the two."""
    settings = read_settings({}).settings
    if output is not None and not output.absolute().parent.is_dir():
        raise PinError(str(output), f"the folder {output.absolute().parent} is not there; make it first")
    path = output or settings.lockfile or nearest_lock(Path.cwd()) or Path.cwd() / NAME
    there = signature(path) is not None
    if not there and path.exists() and not path.is_dir():
        # It is put in place by a rename, which /dev/null would not outlive.
        raise PinError(str(path), "it is no regular file; name one that may be replaced")
    if check and not there:
        raise PinError(str(path), "there is no lockfile; `pinformers lock` writes one")
    known = read_lock(path) if there else Lock()
    catalog = Catalog(state_dir(settings), lock_timeout=settings.lock_timeout)
    targets = _targets(catalog, known, models, revision)
    found = [_looked_up(catalog, known, target) for target in targets]
    if check:
        return _compare(path, found, as_json=as_json)
    for one in found:
        if one.problem:
            note(f"pinformers: {one.problem}.")
    if any(one.problem for one in found):
        note(f"Nothing was written to {path}.")
        return 1
    if not found:
        raise PinError(str(path), "nothing is pinned that could be locked; `pinformers pin MODEL` pins a model")
    pins = {**known.pins, **{one.target: one.pin for one in found if one.pin is not None}}
    _report(path, found, write_lock(path, Lock(pins)), as_json=as_json)
    return 0


# -- which ----------------------------------------------------------------------------------------------------


def _targets(catalog: Catalog, known: Lock, models: Sequence[str], revision: str | None) -> list[Target]:
    if models:
        named = (target for model in models for target in _named(known, _hub_name(model), revision))
        return list(dict.fromkeys(named))
    return sorted(known.pins) if known.pins else sorted(_all_pinned(catalog))


def _hub_name(model: str) -> str:
    if Reference.parse(model) is not None:
        raise PinError(model, "it says itself what it must be; a lockfile is for models with a name like 'org/model'")
    return check_repo(model)


def _named(known: Lock, model: str, revision: str | None) -> Iterable[Target]:
    if revision is not None:
        return [(model, check_revision(revision))]
    return [target for target in known.pins if target[0] == model] or [(model, "main")]


def _all_pinned(catalog: Catalog) -> Iterable[Target]:
    """Yield each complete pin of a model by its branches and tags, or by its commit where it has none."""
    for pin in catalog.pins():
        # A reference by CID says itself what it must be.
        if pin.repo_type != "model" or pin.origin == "ipfs" or not pin.files:
            continue
        names = [name for name, commit in catalog.refs(pin.repo).items() if commit == pin.commit]
        if pin.complete:
            yield from ((pin.repo, name) for name in names or [pin.commit])
        else:
            # A worker that loaded but a tokenizer leaves such a pin: no reason to lock nothing at all.
            note(f"Left out: {_incomplete((pin.repo, (names or [pin.commit])[0]), pin)}.")


def _looked_up(catalog: Catalog, known: Lock, target: Target) -> Locking:
    repo, revision = target
    locked, ref = known.pins.get(target), catalog.ref(repo, revision)
    commit = revision if OID.fullmatch(revision) else ref[0] if ref is not None else None
    if commit is None and locked is not None:
        # A machine that has the model by the lockfile's word alone never saw the branch.
        commit = locked.commit
    pin = catalog.pin(repo, commit) if commit is not None else None
    if pin is None or not pin.files:
        return Locking(target, locked, problem=f"{repo}@{revision} is not pinned here; run `{_command(target)}` first")
    if not pin.complete:
        return Locking(target, locked, problem=_incomplete(target, pin), known=pin)
    return Locking(target, locked, pin, known=pin)


def _incomplete(target: Target, pin: Pin) -> str:
    name = "@".join(target)
    if pin.others:
        missing = f"{plural(len(pin.others), 'file')} of {len(pin.files) + len(pin.others)} not pinned"
        return f"{name} has {missing}; run `{_command(target)}` first"
    return f"{name} may have more files than are pinned; run `{_command(target)} --update` first"


def _command(target: Target) -> str:
    revision = "" if target[1] == "main" else f" --revision {target[1]}"
    return f"pinformers pin {target[0]}{revision}"


# -- what is said ---------------------------------------------------------------------------------------------


def _compare(path: Path, found: Sequence[Locking], *, as_json: bool) -> int:
    wrong = [one for one in found if one.complaint]
    if as_json:
        lines = [{**_line(one), "state": one.checked, "differs": one.complaint} for one in found]
        print_json({"lockfile": str(path), "models": lines})
    for one in wrong:
        note(f"pinformers: {one.complaint}.")
    if as_json:
        return 1 if wrong else 0
    remarks = [one.remark for one in found if one.remark]
    for remark in remarks:
        say(f"{remark}.")
    if not wrong and len(remarks) < len(found):
        say(f"{path} says what is pinned, of {plural(len(found) - len(remarks), 'model')}.")
    elif not wrong:
        say(f"Nothing contradicts {path}.")
    return 1 if wrong else 0


def _report(path: Path, found: Sequence[Locking], written: bool, *, as_json: bool) -> None:
    lines = [_line(one) for one in found]
    if as_json:
        print_json({"lockfile": str(path), "written": written, "models": lines})
        return
    names = ("model", "revision", "commit", "files", "state")
    rows = [[str(line[name])[: 12 if name == "commit" else None] for name in names] for line in lines]
    print_table([name.upper() for name in names], rows, ("FILES",))
    say()
    say(f"{path} was written." if written else f"{path} says that already.")


def _line(one: Locking) -> dict[str, object]:
    pin = one.pin
    facts = {"commit": pin.commit, "root": pin.root, "files": len(pin.files)} if pin is not None else {}
    return {"model": one.target[0], "revision": one.target[1], **facts, "state": one.state}
