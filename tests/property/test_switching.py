"""Any sequence of enabling, disabling, importing, patching by others and loading leaves what a simple model predicts.

Two worlds play the same machine, each in a process of its own, with the hub out of reach. The lazy package can be
imported anew for every example. The real transformers cannot: there every example starts after its import. In both,
huggingface_hub is the real one, and its default cache is the pinned one, so that everything loads without us too;
the counts say who answered.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import pinformers
from environment import clean_env
from lazy_package import HUB_4, HUB_5, lazy_package
from pin_rooms import make_resolver, write_folder
from pinformers.importing.standing_in import stands_in
from pinformers.pinning.folder import pin_folder

TESTS = Path(__file__).parents[1]
PACKAGE, CLIENT, USER = "transformers", "huggingface_hub", "user_who_binds_names"
HUB = f"{PACKAGE}.utils.hub"
USERS = (f"{USER}.1", f"{USER}.2")
REPO = "tiny/config"
CONTENT = json.dumps({"model_type": "bert", "hidden_size": 12, "num_attention_heads": 2, "vocab_size": 77}).encode()
FILES = {"config.json": CONTENT, "sub/words.txt": b"a\n"}
METHOD = "from_pretrained"
ROUTED = ("cached_files", "has_file", "list_repo_templates", "resolve_revision")
SCOPES = st.sampled_from(["transformers", "hub"])
ABSENT: Any = object()
USERS_CODE = f"""
from {CLIENT} import HfApi, hf_hub_download, hf_hub_download as bound, snapshot_download, snapshot_download as fetch
api = HfApi()
info_of = api.model_info
def by_name(repo): return hf_hub_download(repo, "config.json")
def by_alias(repo): return bound(repo, filename="config.json")
def by_method(repo): return HfApi().hf_hub_download(repo_id=repo, filename="config.json")
def by_snapshot(repo): return snapshot_download(repo) + "/config.json"
def by_alias_of_snapshot(repo): return fetch(repo_id=repo) + "/config.json"
"""
BINDS = {"hf_hub_download": ("hf_hub_download", "bound"), "snapshot_download": ("snapshot_download", "fetch")}
# What each of the user's functions asks for: so many files are answered.
WAYS = {"by_name": 1, "by_alias": 1, "by_method": 1, "by_snapshot": len(FILES), "by_alias_of_snapshot": len(FILES)}
BEGINNINGS = ("bind", "import", "rival", "transformers", "hub")
KINDS = (FunctionType, MethodType, classmethod)
Place = tuple[Any, str]
ORIGINAL: dict[Place, Any] = {}


# -- looking ----------------------------------------------------------------------------------------------------------


def core(value: Any) -> Any:
    return value.__func__ if isinstance(value, classmethod | MethodType) else value


def is_ours(value: Any) -> bool:
    function = core(value)
    if not isinstance(function, FunctionType):
        return False
    return stands_in(function) or "/pinformers/importing/" in function.__code__.co_filename


def under(value: Any) -> Any:
    """Return what is left of ``value`` without what is ours."""
    function = core(value)
    while is_ours(function):
        function = function.__wrapped__
    return function


def is_own(space: Any, name: str, value: Any) -> bool:
    """Whether ``value`` is what the module or class had first, or what of ours stands for it."""
    if (space, name) not in ORIGINAL:
        return bool(getattr(getattr(under(value), "__code__", None), "co_filename", None) == space.__file__)
    return under(value) is ORIGINAL[space, name]


def is_our_finder(finder: object) -> bool:
    return type(finder).__module__.startswith("pinformers")


def loaded() -> list[tuple[str, ModuleType]]:
    names = (PACKAGE, CLIENT, USER)
    return [(name, module) for name, module in list(sys.modules.items()) if name.partition(".")[0] in names]


@functools.cache
def loads(cls: type) -> bool:
    return any(METHOD in vars(base) for base in cls.__mro__)


def spaces() -> dict[int, Any]:
    """What of ours could be put into: modules, classes that load, the class that asks the hub and its instances."""
    found: dict[int, Any] = {}
    for _, module in loaded():
        found[id(module)] = module
        for value in vars(module).values():
            fits = loads(value) or value.__name__ == "HfApi" if isinstance(value, type) else False
            if fits or type(value).__name__ == "HfApi":
                found[id(value)] = value
    return found


class Snapshot:
    """What the interpreter holds, object by object; all are kept, so that no identity comes to mean another."""

    def __init__(self) -> None:
        self.modules, self.finders = dict(sys.modules), list(sys.meta_path)
        self.types = [(module, type(module)) for _, module in loaded()]
        self.held = [(space, dict(vars(space))) for space in spaces().values()]

    def changes(self, theirs: set[Place], caches: frozenset[str]) -> list[str]:
        """Name what is another object now, but for what others put there; what is new does not count."""
        found = [f"the class of {module}" for module, cls in self.types if type(module) is not cls]
        for space, before in self.held:
            now = vars(space)
            found += [
                f"{space}.{name}"
                for name, value in before.items()
                if now.get(name, ABSENT) is not value and (space, name) not in theirs and name not in caches
            ]
        return found + [name for name, module in self.modules.items() if sys.modules.get(name) is not module]


# -- the worlds -------------------------------------------------------------------------------------------------------


class World:
    """The lazy package, and what is known of its names."""

    auto: tuple[str, ...] = ("AutoConfig", "AutoModel", "AutoProcessor")
    plain: tuple[str, ...] = ("AutoformerModel", "BertConfig")
    loadable: tuple[str, ...] = (*auto, *plain)
    modules: tuple[str, ...] = (PACKAGE, f"{PACKAGE}.models.auto.modeling_auto", f"{PACKAGE}.processing_utils")
    caches: frozenset[str] = frozenset({"_hf_api"})

    def reset(self) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]

    def read(self, found: Any) -> bytes:
        assert isinstance(found, bytes)
        return found


class RealWorld(World):
    """Imported for good; only configurations are loaded, so that no example needs torch."""

    auto = ("AutoConfig", "AutoTokenizer", "AutoFeatureExtractor", "AutoProcessor")
    plain = ("BertConfig", "AutoformerConfig")
    loadable = ("AutoConfig", "BertConfig")
    modules = (PACKAGE, f"{PACKAGE}.models.auto.tokenization_auto", f"{PACKAGE}.processing_utils")

    def __init__(self) -> None:
        importlib.import_module(f"{PACKAGE}.processing_utils")
        package = importlib.import_module(PACKAGE)
        for name in (*self.auto, *self.plain):
            getattr(package, name)

    def reset(self) -> None:
        pass

    def read(self, found: Any) -> bytes:
        known = json.loads(CONTENT)
        return json.dumps({name: getattr(found, name) for name in known}).encode()


class Rival:
    """Somebody's finder: it finds nothing, or the package itself, past every finder after it."""

    def __init__(self, finds: bool) -> None:
        self._finds = finds

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path) if self._finds and name.partition(".")[0] == PACKAGE else None


class Switching(RuleBasedStateMachine):
    """Handles, and what others did; the invariant compares what follows from them with the interpreter."""

    world = World()

    def __init__(self) -> None:
        super().__init__()
        self.world.reset()
        self.finders: list[Rival] = []
        self.handles: list[list[Any]] = []  # handle, open, expected hits, scope
        self.packages: dict[int, ModuleType] = {}
        self.theirs: dict[Place, Any] = {}  # what others put into a place, last
        self.patches: list[tuple[Place, Callable[[], object], int]] = []  # where, how they take it away, since when
        self.put_back: list[Any] = []  # what of ours they did so with
        self.touched: set[Place] = set()  # since the snapshot
        self.snapshot = Snapshot()
        self.first = self.snapshot
        self.routed = False  # whether huggingface_hub's own functions are ours
        self.installs = 0  # how often we have looked for functions to wrap
        self.murky = False  # others' functions were in the way then, or ours were taken away since
        self.away: list[Any] = []  # our finder, where somebody took it out
        self.blind = False  # modules came in that our finder was not asked for
        self.kept: list[Callable[[str], object]] = []
        self.kept_downloads: list[tuple[Callable[..., str], bool]] = []

    # -- the model ----------------------------------------------------------------------------------------------------

    @property
    def open(self) -> list[list[Any]]:
        return [entry for entry in self.handles if entry[1]]

    @property
    def imported(self) -> bool:
        return PACKAGE in sys.modules

    @property
    def displaced(self) -> bool:
        return bool(self.open and self.away)

    @property
    def rivals_first(self) -> bool:
        ours = [place for place, finder in enumerate(sys.meta_path) if is_our_finder(finder)]
        return any(isinstance(finder, Rival) and finder._finds for finder in sys.meta_path[: min(ours, default=0)])

    def classes(self) -> list[type]:
        """The Auto classes that have come in."""
        homes = [vars(module) for name, module in loaded() if name.startswith(f"{PACKAGE}.models.auto.")]
        found = {held[name] for held in homes for name in self.world.auto if isinstance(held.get(name), type)}
        return sorted(found, key=lambda cls: cls.__name__)

    def functions(self) -> list[Place]:
        """Where others like to put something of their own, besides classes."""
        hub = sys.modules.get(HUB)
        return [*ORIGINAL, *((hub, name) for name in ROUTED if hub is not None and name in vars(hub))]

    def entering(self) -> None:
        if not self.open:
            self.snapshot = Snapshot()
            self.touched.clear()
            self.blind = self.routed = self.murky = False
            self.away.clear()
            self.installed()

    def entered(self, handle: Any, scope: str) -> None:
        assert handle.active
        fresh = [place for place in self.functions() if not self.open and self.imported]
        if scope == "hub" and not self.routed:
            self.routed = True
            self.installed()
            fresh += ORIGINAL
        # Whatever stood there, but for mocks.
        assert all(is_ours(vars(space)[name]) for space, name in fresh if isinstance(vars(space)[name], FunctionType))
        self.handles.append([handle, True, 0, scope])

    def installed(self) -> None:
        self.installs += 1
        held = [(space, name, vars(space)[name]) for space, name in self.functions()]
        for space, name in ORIGINAL:
            held += [(space, name, vars(user)[alias]) for user in self.users() for alias in BINDS.get(name, ())]
        for space, name, value in held:
            self.murky = self.murky or not is_own(space, name, value) or (is_ours(value) and not self.open)

    def left(self, was: bool) -> None:
        """Whoever switched us off for good finds everything as it was."""
        if was and not self.open:
            self.away.clear()
            self.routed = False
            changes = self.snapshot.changes(self.touched, self.world.caches)
            assert changes == [], changes

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Modules may come in; the package may replace itself."""
        before = set(sys.modules)
        rivals, package = self.rivals_first, sys.modules.get(PACKAGE)
        yield
        fresh = [name for name in set(sys.modules) - before if name.partition(".")[0] == PACKAGE]
        if fresh or sys.modules.get(PACKAGE) is not package:
            self.blind = self.blind or bool(self.open and (self.displaced or rivals))
            self.installed()
        if package is not None:
            self.snapshot.modules[PACKAGE] = sys.modules[PACKAGE]
        self.packages.update({id(module): module for module in (package, sys.modules.get(PACKAGE)) if module})

    @initialize(begin=st.lists(st.sampled_from(BEGINNINGS), unique=True))
    def begin(self, begin: list[str]) -> None:
        for step in begin:
            if step == "bind":
                self.somebody_binds_names(USERS[0])
            elif step == "import":
                with self.importing():
                    importlib.import_module(self.world.modules[1])
                self.ask_the_status()
            elif step == "rival":
                self.somebody_adds_a_finder_or_removes_it(True, True)
            else:
                self.enable("import", step, load=False)

    # -- switching ----------------------------------------------------------------------------------------------------

    @rule(on_miss=st.sampled_from(["import", "passthrough", "error"]), scope=SCOPES, load=st.booleans())
    def enable(self, on_miss: str, scope: str, load: bool) -> None:
        self.entering()
        self.entered(pinformers.enable(on_miss=on_miss, scope=scope, log="off"), scope)
        self.load_by_every_name() if load else None

    @rule(scopes=st.lists(SCOPES, min_size=1, max_size=3), fails=st.booleans())
    def enter_and_leave_contexts(self, scopes: list[str], fails: bool) -> None:
        self.entering()
        was, count = bool(self.open), len(self.handles)
        with contextlib.suppress(ZeroDivisionError), contextlib.ExitStack() as stack:
            for scope in scopes:
                self.entered(stack.enter_context(pinformers.enable(scope=scope, log="off")), scope)
            self.ask_the_status()
            self.load_by_every_name()
            if fails:
                raise ZeroDivisionError
        del self.handles[count:]
        self.left(not was)

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), leave=st.booleans())
    def end_one(self, data: st.DataObject, leave: bool) -> None:
        was = bool(self.open)
        entry = data.draw(st.sampled_from(self.handles), label="handle")
        entry[0].__exit__(None, None, None) if leave else entry[0].disable()
        entry[1] = False
        self.left(was)

    @rule()
    def disable(self) -> None:
        was = bool(self.open)
        pinformers.disable()
        for entry in self.handles:
            entry[1] = False
        self.left(was)

    # -- importing ----------------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def import_something(self, data: st.DataObject) -> None:
        with self.importing():
            importlib.import_module(data.draw(st.sampled_from(self.world.modules), label="module"))

    @precondition(lambda self: self.imported)
    @rule(data=st.data())
    def look_up(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from((*self.world.auto, *self.world.plain)), label="name")
        with self.importing():
            value = getattr(sys.modules[PACKAGE], name)
            assert value is getattr(sys.modules[PACKAGE], name)
        assert value.__name__ == name

    @precondition(lambda self: self.imported)
    @rule()
    def reload(self) -> None:
        package = sys.modules[PACKAGE]
        before = dict(vars(package))
        with self.importing():
            importlib.reload(package)
        remade = [name for name, value in vars(package).items() if value is not before.get(name)]
        self.touched |= {(package, name) for name in remade if not is_ours(before.get(name))}

    @precondition(lambda self: self.imported)
    @rule(data=st.data())
    def somebody_forgets_an_attribute(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from((*self.world.auto, *self.world.plain)), label="name")
        with self.importing():
            before = getattr(sys.modules[PACKAGE], name)
            # A name that made the package replace itself is kept by the one that it was.
            vars(sys.modules[PACKAGE]).pop(name, None)
            assert getattr(sys.modules[PACKAGE], name) is before

    @rule(name=st.sampled_from(USERS))
    def somebody_binds_names(self, name: str) -> None:
        if name not in sys.modules:
            sys.modules[name] = ModuleType(name)
            exec(USERS_CODE, vars(sys.modules[name]))

    # -- others -------------------------------------------------------------------------------------------------------

    def _put(self, place: Place, value: Any) -> None:
        self.theirs[place] = value
        self.touched.add(place)
        self.put_back += [core(value)] if is_ours(value) else []

    @precondition(lambda self: self.classes())
    @rule(data=st.data(), mocks=st.booleans(), wraps=st.booleans())
    def somebody_patches_a_class(self, data: st.DataObject, mocks: bool, wraps: bool) -> None:
        self._patch((data.draw(st.sampled_from(self.classes()), label="class"), METHOD), mocks, wraps)

    @rule(data=st.data(), mocks=st.booleans(), wraps=st.booleans())
    def somebody_patches_a_function(self, data: st.DataObject, mocks: bool, wraps: bool) -> None:
        self._patch(data.draw(st.sampled_from(self.functions()), label="place"), mocks, wraps)

    def _patch(self, place: Place, mocks: bool, wraps: bool) -> None:
        space, name = place
        inner = getattr(space, name)
        before = vars(space).get(name, ABSENT)
        if mocks and (name == METHOD or not isinstance(space, type)):
            patcher = mock.patch.object(space, name, wraps=inner)
            patcher.start()
            back: Callable[[], object] = patcher.stop
        else:
            called = core(inner)

            def function(*args: Any, **kwargs: Any) -> Any:
                return called(*args, **kwargs)

            if name == METHOD and not isinstance(inner, MethodType):
                called = lambda cls, *args, **kwargs: inner(*args, **kwargs)  # noqa: E731
            made = functools.wraps(called)(function) if wraps else function
            setattr(space, name, classmethod(made) if name == METHOD else made)
            back = functools.partial(_set, space, name, before)
        self.patches.append((place, back, self.installs))
        self._put(place, vars(space)[name])

    @precondition(lambda self: self.patches)
    @rule(data=st.data())
    def somebody_takes_a_patch_away(self, data: st.DataObject) -> None:
        """What was there when it began comes back: a wrapper of ours, too, which passes through if we are off."""
        place, back, since = self.patches.pop(data.draw(st.integers(0, len(self.patches) - 1), label="patch"))
        back()
        # Ours lay over theirs, or what comes back is of another time.
        self.murky = self.murky or (place[1] != METHOD and since != self.installs)
        self._put(place, vars(place[0]).get(place[1], ABSENT))

    @precondition(lambda self: self.imported)
    @rule(data=st.data())
    def somebody_patches_by_a_path_for_a_while(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for space, name in self.functions() if space is sys.modules.get(HUB)]))
        before = vars(sys.modules[HUB])[name]
        with self.importing(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{HUB}.{name}", lambda *args, **kwargs: before(*args, **kwargs))
            assert vars(sys.modules[HUB])[name] is not before
        assert vars(sys.modules[HUB])[name] is before

    @precondition(lambda self: self.imported)
    @rule(scope=SCOPES)
    def somebody_replaces_the_package_for_a_while(self, scope: str) -> None:
        self.ask_the_status()  # what we load for it would be taken out of sys.modules again
        before = dict(sys.modules)
        with mock.patch.dict(sys.modules, {PACKAGE: ModuleType(PACKAGE)}):
            self.entering()
            was = bool(self.open)
            with pinformers.enable(scope=scope, log="off") as handle:
                self.entered(handle, scope)
            self.handles.pop()
            self.left(not was)
        assert {name: sys.modules[name] for name in before} == before

    @precondition(lambda self: self.open)
    @rule()
    def somebody_removes_our_finder_or_puts_it_back(self) -> None:
        if self.displaced:
            sys.meta_path[:0] = self.away
            self.away = []
        else:
            self.away = [finder for finder in sys.meta_path if is_our_finder(finder)]
            sys.meta_path.remove(self.away[0])
        self.ask_the_status()

    @rule(first=st.booleans(), finds=st.booleans())
    def somebody_adds_a_finder_or_removes_it(self, first: bool, finds: bool) -> None:
        if len(self.finders) == 2:
            sys.meta_path.remove(self.finders.pop(0 if first else -1))  # type: ignore[arg-type]
            return
        rival = Rival(finds)
        sys.meta_path.insert(0 if first else len(sys.meta_path), rival)  # type: ignore[arg-type]
        self.finders.insert(0 if first else len(self.finders), rival)

    # -- loading ------------------------------------------------------------------------------------------------------

    def answered(self, count: int) -> None:
        """So many files were asked for, and pins are to have answered."""
        if not self.open:
            return
        hits = pinformers.get_status()["hits"]
        if not (self.murky or self.blind):
            assert hits == self.open[-1][2] + count, (hits, self.open[-1][2], count)
        self.open[-1][2] = hits

    def _load(self, load: Callable[[str], object]) -> None:
        with self.importing():
            assert self.world.read(load(REPO)) == CONTENT
        self.answered(1)

    @precondition(lambda self: self.imported)
    @rule(data=st.data(), keep=st.booleans())
    def load(self, data: st.DataObject, keep: bool) -> None:
        name = data.draw(st.sampled_from(self.world.loadable), label="class")
        with self.importing():
            load = getattr(getattr(sys.modules[PACKAGE], name), METHOD)
        self.kept += [load] if keep else []
        self._load(load)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def load_by_a_name_that_was_kept(self, data: st.DataObject) -> None:
        self._load(data.draw(st.sampled_from(self.kept), label="kept"))

    @property
    def scope(self) -> str:
        return self.open[-1][3] if self.open else ""

    def users(self) -> list[ModuleType]:
        return [sys.modules[name] for name in USERS if name in sys.modules]

    @precondition(lambda self: self.users())
    @rule(data=st.data(), way=st.sampled_from(sorted(WAYS)))
    def download(self, data: st.DataObject, way: str) -> None:
        self._download(data.draw(st.sampled_from(self.users()), label="user"), way)

    def _download(self, user: ModuleType, way: str) -> None:
        assert Path(vars(user)[way](REPO)).read_bytes() == CONTENT
        self.answered(WAYS[way] if self.scope == "hub" else 0)

    @precondition(lambda self: self.users())
    @rule(data=st.data(), bound=st.booleans())
    def ask_what_it_is(self, data: st.DataObject, bound: bool) -> None:
        self._ask(data.draw(st.sampled_from(self.users()), label="user"), bound)

    def _ask(self, user: ModuleType, bound: bool) -> None:
        # Who has bound what is somebody else's asks them.
        ask = user.info_of if bound and is_own(user.HfApi, "model_info", user.info_of) else user.HfApi().model_info
        try:
            assert ask(REPO).id == REPO
        except sys.modules[f"{CLIENT}.errors"].OfflineModeIsEnabled:
            assert self.scope != "hub" or self.murky
        else:
            assert self.scope == "hub"

    @precondition(lambda self: not self.murky)
    @rule()
    def keep_a_function(self) -> None:
        download = sys.modules[f"{CLIENT}.file_download"].hf_hub_download
        self.kept_downloads.append((download, self.routed))

    @precondition(lambda self: self.kept_downloads)
    @rule(data=st.data())
    def download_by_a_name_that_was_kept(self, data: st.DataObject) -> None:
        download, ours = data.draw(st.sampled_from(self.kept_downloads), label="kept")
        assert Path(download(REPO, "config.json")).read_bytes() == CONTENT
        self.answered(1 if ours and self.scope == "hub" else 0)

    @rule()
    def load_by_every_name(self) -> None:
        for user in self.users():
            for way in WAYS:
                self._download(user, way)
            self._ask(user, bound=False)
            self._ask(user, bound=True)
        for cls in self.classes():
            if cls.__name__ in self.world.loadable:
                self._load(getattr(cls, METHOD))

    @rule()
    def ask_the_status(self) -> None:
        status = pinformers.get_status()
        assert status["enabled"] is bool(self.open)
        assert status["displaced"] if self.displaced else self.blind or not status["displaced"]
        assert status["applied"] or status["displaced"] or not (self.open and self.imported)
        assert status["scope"] == (self.scope or "transformers")
        assert status["pins"] == 1
        named = set(status["patched_classes"])
        assert not named & {f"{PACKAGE}.{name}" for name in (*self.world.plain, "AutoVideoProcessor")}
        if not self.blind:
            assert status["applied"] is (bool(self.open) and self.imported)
            assert named >= ({f"{PACKAGE}.{name}" for name in self.world.auto} if status["applied"] else set())

    # -- always -------------------------------------------------------------------------------------------------------

    @invariant()
    def all_is_as_predicted(self) -> None:
        assert [entry[0].active for entry in self.handles] == [entry[1] for entry in self.handles]
        self._finders()
        self._loaders()
        for place, put in self.theirs.items():
            now = vars(place[0]).get(place[1], ABSENT)
            # Ours lies over it, or it was ours and is taken away.
            assert now is put or (under(now) is under(put) and (bool(self.open) or is_ours(put))), place
        self._on() if self.open and not self.blind else None
        self._off() if not self.open else None

    def _finders(self) -> None:
        finders = [finder for finder in sys.meta_path if not is_our_finder(finder)]
        assert len(sys.meta_path) - len(finders) == (bool(self.open) and not self.displaced)
        assert [finder for finder in finders if isinstance(finder, Rival)] == self.finders
        # Those that were there before any example; the real package has one of its own.
        known = [finder for finder in finders if not isinstance(finder, Rival)]
        assert known == [finder for finder in self.first.finders if not isinstance(finder, Rival)]

    def _on(self) -> None:
        for cls in self.classes():
            owner = next(base for base in cls.__mro__ if METHOD in vars(base))
            assert (owner, METHOD) in self.theirs or is_ours(vars(owner)[METHOD])
        for name in self.world.plain:
            cls = vars(sys.modules[PACKAGE]).get(name, object) if self.imported else object
            assert not is_ours(vars(cls).get(METHOD))
        for place in self.functions():
            wanted = self.imported if place[0] is sys.modules.get(HUB) else self.imported or self.routed
            assert place in self.theirs or is_ours(vars(place[0])[place[1]]) is wanted, place
        assert self._seated(sys.modules.get(PACKAGE)) is self.imported

    @staticmethod
    def _loaders() -> None:
        for _, module in loaded():
            loaders = module.__loader__, getattr(module.__spec__, "loader", None)
            assert not any("_relayed" in vars(type(loader)) for loader in loaders), module

    def _off(self) -> None:
        for space in spaces().values():
            left = {name: core(value) for name, value in vars(space).items() if type(value) in KINDS and is_ours(value)}
            assert all(any(value is known for known in self.put_back) for value in left.values()), (space, [*left])
        assert not any(map(self._seated, (*self.packages.values(), sys.modules.get(PACKAGE))))

    @staticmethod
    def _seated(package: ModuleType | None) -> bool:
        return package is not None and any(is_ours(value) for value in vars(type(package)).values())

    def teardown(self) -> None:
        pinformers.disable()
        for entry in self.handles:
            entry[1] = False
        self.away.clear()
        try:
            self.all_is_as_predicted()
        finally:
            for _, back, _ in reversed(self.patches):
                back()
            for space, name in self.theirs:
                held = next((held for known, held in self.first.held if known is space), None)
                if held is not None:
                    _set(space, name, held.get(name, ABSENT))
            for finder in self.finders:
                sys.meta_path.remove(finder)
            for user in self.users():
                del sys.modules[user.__name__]
            self.world.reset()


def _set(space: Any, name: str, value: Any) -> None:
    if value is not ABSENT:
        setattr(space, name, value)
    elif name in vars(space):
        delattr(space, name)


# -- playing ----------------------------------------------------------------------------------------------------------


def play(world: str, examples: int, steps: int) -> None:
    """Play in this process. PINFORMERS_TEST_BIG has ten times as many examples, and makes one that fails small."""
    logging.disable(logging.CRITICAL)
    home = Path(os.environ["HF_HOME"])
    pin_folder(make_resolver(home), write_folder(home / "source", FILES), REPO)
    importlib.import_module("importlib_metadata")  # it adds a finder of its own
    api, _ = (getattr(importlib.import_module(CLIENT), name) for name in ("HfApi", "hf_hub_download"))
    modules = [sys.modules[f"{CLIENT}.{name}"] for name in ("file_download", "_snapshot_download")]
    names = ("hf_hub_download", "snapshot_download", "model_info", "file_exists")
    ORIGINAL.update({(space, name): vars(space)[name] for space, name in zip((*modules, api, api), names, strict=True)})
    sys.modules[f"{CLIENT}.utils"].get_session()  # kept from its first use on
    Switching.world = RealWorld() if world == "real" else World()
    big = "big" in sys.argv
    budget = settings(
        max_examples=examples * (10 if big else 1),
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        # Minutes: an example that fails is told as it was found.
        phases=[Phase.generate, Phase.shrink] if big else [Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(Switching, settings=budget)


def play_apart(world: str, home: Path, *path: Path) -> None:
    env = clean_env(home, PYTHONPATH=os.pathsep.join(map(str, (*path, TESTS))), HF_HUB_OFFLINE="1")
    env |= {"HF_ENDPOINT": "http://127.0.0.1:9", "PINFORMERS_STATE_DIR": str(home / "hf" / "pinformers")}
    big = ["big"] if "PINFORMERS_TEST_BIG" in os.environ else []
    command = [sys.executable, "-W", "ignore", __file__, world, *big]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=3000 if big else 300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("hub", [HUB_5, HUB_4], ids=["as in 5.x", "as in 4.57"])
def test_a_package_that_can_be_imported_anew(hub: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "path" / PACKAGE, lazy_package(hub))
    play_apart("lazy", tmp_path, tmp_path / "path")


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="needs transformers")
def test_the_real_package(tmp_path: Path) -> None:
    play_apart("real", tmp_path)


if __name__ == "__main__":
    play(sys.argv[1], examples=36 if sys.argv[1] == "lazy" else 12, steps=40)
