"""Ask the hub whether a branch moved since it was pinned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pinformers._errors import PinError
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.hub import hub_errors
from pinformers.pinning.pin import OID


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch or tag: the commit that is pinned for it, and the one that the hub says now, or why it said none."""

    repo: str
    revision: str
    pinned: str
    now: str | None
    problem: str = ""

    @property
    def moved(self) -> bool:
        """Whether the hub has it elsewhere."""
        return self.now not in (None, self.pinned)


def refresh(catalog: Catalog, repos: Sequence[str] = ()) -> Iterator[Branch]:
    """Ask for every branch and tag of ``repos``, or of all models that came from the hub.

    One that has not moved counts as seen now. What moved stays pinned where it is: only a person says otherwise.
    """
    known = {pin.repo for pin in catalog.pins() if (pin.origin, pin.repo_type) == ("hub", "model")}
    for repo in repos:
        if repo not in known:
            raise PinError(repo, "no model of that name was pinned from the hub; `pinformers ls` lists what is pinned")
    for repo in sorted(repos or known):
        for revision, pinned in catalog.refs(repo).items():
            branch = _ask(repo, revision, pinned)
            if branch.now == pinned:
                catalog.set_ref(repo, revision, pinned)
            yield branch


def _ask(repo: str, revision: str, pinned: str) -> Branch:
    # deferred: an import of half a second that only this command needs.
    from huggingface_hub import HfApi

    try:
        with hub_errors(repo):
            said = HfApi().model_info(repo, revision=revision).sha
    except PinError as exc:
        return Branch(repo, revision, pinned, None, exc.advice)
    if said is None or not OID.fullmatch(said):
        return Branch(repo, revision, pinned, None, "the hub named no commit for it")
    return Branch(repo, revision, pinned, said)
