"""Who may have a model: what the hub says of private and gated ones, and what that means between machines.

On this machine a pin is what the hub cache is to plain transformers: whoever may read it loads from it, unasked.
What crosses between machines passes the Gate.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal

from pinformers._errors import PinError
from pinformers.pinning.catalog import Catalog
from pinformers.pinning.hub import access_denied, access_of_all
from pinformers.pinning.pin import Pin, commit_of

Access = Literal["open", "private", "gated", "unknown"]
Gated = Literal["keep", "share"]
_KEPT = ("private", "gated")
CARD_WORDS = ("pipeline_tag", "library_name", "tags")
_RESTRICTED = {"private": (True,), "gated": ("auto", "manual")}


def said(pin: Pin) -> Access:
    """Return what the record of a pin says; what never came from the hub is nobody's secret there."""
    if pin.origin != "hub":
        return "open"
    info = pin.info or {}
    if info.get("private"):
        return "private"
    if info.get("gated"):
        return "gated"
    return "open" if all(info.get(word) is False for word in _KEPT) else "unknown"


def for_others(pin: Pin) -> Pin:
    """Return a pin as it is written for other machines: it says that it is private or gated, not that it is neither.

    Nor does it say from whom this machine has it: the same model is written alike everywhere.
    """
    info = None if pin.info is None else {key: word for key, word in pin.info.items() if word or key not in _KEPT}
    return pin._replace(info=info, learned="")


def check_origin(pin: Pin) -> None:
    """Raise ValueError for a pin of a folder whose commit is not the folder's: it may be one that the hub keeps."""
    if pin.origin == "folder" and pin.commit != commit_of(pin.directory().cid):
        raise ValueError(f"it is said to be a folder, and {pin.commit} is not the commit of its files")


def foreign_info(said: object) -> Mapping[str, Any] | None:
    """Keep of another's words about a model what ``for_others`` writes: nobody else says that a model is open to all.

    They become keyword arguments of huggingface_hub's ModelInfo, which fails at many another one.
    """
    if said is None:
        return None
    if not isinstance(said, dict):
        raise ValueError("what it says of the model is no object")
    tags = said.get("tags")
    words = [said.get("pipeline_tag"), said.get("library_name"), *(tags if isinstance(tags, list) else [])]
    if not all(word is None or isinstance(word, str) for word in words) or not isinstance(tags, list | None):
        raise ValueError("what it says of the model has the wrong types")
    restricted = {name: said[name] for name, words in _RESTRICTED.items() if said.get(name) in words}
    return {**{name: said[name] for name in CARD_WORDS if name in said}, **restricted}


def received(catalog: Catalog, pin: Pin) -> bool:
    """Whether all its files came from other sources than the hub: who sent them decided who may have them."""
    made = {name for place in catalog.places(pin) for name in place.made}
    return all(f"snapshots/{pin.commit}/{path}" in made for path in pin.files)


class Gate:
    """What private and gated models pass on their way between machines; without ``kept`` they pass like all others.

    The hub is asked once for a model in a process, and not again once it did not answer.
    """

    def __init__(self, catalog: Catalog, *, kept: bool, hub_allowed: bool) -> None:
        self._catalog, self._kept = catalog, kept
        self._unasked = "" if hub_allowed else "the settings do not let it be asked"
        self._denied: dict[tuple[str, str], str] = {}
        self._shown: dict[tuple[str, str], Access] = {}
        # One for each model: who waits for the hub must not hold up what was answered already.
        self._locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)

    def entering(self, pin: Pin) -> str:
        """Say why other machines may not be asked for the files of a pin; empty where they may.

        Only what is known to be private or gated waits for the hub's word on the token of this machine.
        """
        word, model = said(pin), (pin.repo_type, pin.repo)
        if not self._kept or word in ("open", "unknown"):
            return ""
        with self._locks[model]:
            if model not in self._denied:
                self._denied[model] = self._unasked or access_denied(pin)
            why = self._denied[model]
        return why and f"the hub keeps it {word} and did not confirm that it may be read here ({why})"

    def access(self, pin: Pin, *, ask: bool = True) -> Access:
        """Return whether a pin may leave this machine: ``open`` where it may."""
        word = said(pin) if self._kept else "open"
        if word != "unknown" or received(self._catalog, pin):
            return "open" if word == "unknown" else word
        model = pin.repo_type, pin.repo
        with self._locks[model] if ask else nullcontext():
            if ask and model not in self._shown and not self._unasked:
                try:
                    self._shown[model] = access_of_all(pin)
                except PinError as exc:
                    self._unasked = exc.advice
        return self._shown.get(model, "unknown")

    def kept(self, pin: Pin, *, ask: bool = True) -> bool:
        """Whether a pin is known to be private or gated, so that no command lets it out."""
        return self.access(pin, ask=ask) in _KEPT

    def check(self, pin: Pin, *, by_itself: bool = False) -> None:
        """Raise PinError where a pin may not leave this machine; ``by_itself``, also where nobody knows whether it may.

        Whoever gives a command knows what they give away; what is offered after a load, nobody has looked at.
        """
        word = self.access(pin)
        if word in _KEPT or (by_itself and word == "unknown"):
            unknown = f"whether the hub gives it to everyone is not known ({self._unasked})"
            why = unknown if word == "unknown" else f"the hub keeps it {word}"
            advice = "where all who can reach it may have it, set gated to 'share'"
            raise PinError(pin.repo, f"{why}, so it stays on this machine; {advice}")
