"""What ``refresh`` does."""

from __future__ import annotations

from collections.abc import Sequence

from pinformers._cli_output import print_json, print_table, say
from pinformers._cli_pins import opened
from pinformers.pinning.refreshing import Branch, refresh


def ask_hub(models: Sequence[str], *, as_json: bool) -> int:
    """Say of each pinned branch whether the hub has moved it; exit with 1 where the hub did not answer."""
    branches = list(refresh(opened().catalog, models))
    if as_json:
        print_json([_said(branch) for branch in branches])
    elif branches:
        rows = [(b.repo, b.revision, b.pinned[:12], (b.now or "?")[:12], _state(b)) for b in branches]
        print_table(("MODEL", "REVISION", "PINNED", "HUB", "STATE"), rows)
        _advise([branch for branch in branches if branch.moved])
    else:
        say("No branch or tag is pinned that the hub could have moved.")
    return 1 if any(branch.problem for branch in branches) else 0


def _said(branch: Branch) -> dict[str, object]:
    return {
        "model": branch.repo,
        "revision": branch.revision,
        "pinned": branch.pinned,
        "hub": branch.now,
        "moved": branch.moved,
        "problem": branch.problem or None,
    }


def _state(branch: Branch) -> str:
    if branch.problem:
        return branch.problem
    return "moved" if branch.moved else "unchanged"


def _advise(moved: list[Branch]) -> None:
    if moved:
        say()
        say(f"{_branches(len(moved))} moved. What is pinned goes on being served until you pin the newer commit:")
        for branch in moved:
            say(f"  pinformers pin {branch.repo} --revision {branch.revision} --update")


def _branches(count: int) -> str:
    return "1 branch" if count == 1 else f"{count} branches"
