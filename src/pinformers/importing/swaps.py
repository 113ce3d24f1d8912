"""Replace functions under every name by which modules hold them, methods in their class, and put every one back."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from types import FunctionType, MethodType, ModuleType
from typing import Any, ParamSpec, TypeGuard, TypeVar, cast

from pinformers.importing.standing_in import Function, stand_in, stands_in

P = ParamSpec("P")
T = TypeVar("T")
Wrap = Callable[[Function], Function]
_Pairs = dict[object, tuple[object, object]]


class Swaps:
    """What stands in the place of what. Both are held, so that no id comes to mean another object."""

    def __init__(self) -> None:
        self._wrappers: _Pairs = {}
        # These two stay after undo: a thread that it met half-way undoes once more what it has done since.
        self._originals: _Pairs = {}
        self._methods: list[tuple[type, str, object, object]] = []
        self._written: dict[int, weakref.ref[ModuleType]] = {}

    def function(self, module: ModuleType, name: str, wrap: Wrap) -> None:
        """Have what ``module`` defines as ``name`` replaced by the next ``place``.

        Nothing happens where that is no plain function (somebody's mock), or one of ours.
        """
        original = namespace(module).get(name)
        if type(original) is FunctionType and not stands_in(original) and original not in self._wrappers:
            self._pair(original, stand_in(original, wrap(original)))

    def method(self, owner: type, name: str, wrap: Wrap) -> None:
        """Replace a method in its class, once; the next ``place`` finds what holds it bound to an instance."""
        original = vars(owner).get(name)
        if type(original) is FunctionType and original not in self._originals:
            wrapper = stand_in(original, wrap(original))
            self._pair(original, wrapper)
            self._methods.append((owner, name, original, wrapper))
            setattr(owner, name, wrapper)

    def place(self, modules: Iterable[ModuleType]) -> None:
        """Put the replacements wherever ``modules`` hold an original, under whatever name."""
        self._exchange(modules, self._wrappers)

    def here(self, module: ModuleType, name: str, wrap: Wrap) -> None:
        """Give one module another wrapper of what it holds replaced as ``name``."""
        _, original = self._originals.get(_key(namespace(module).get(name)), (None, None))
        if type(original) is FunctionType:
            wrapper = stand_in(original, wrap(original))
            # pickle looks a function up by what it says of itself, and finds another one in the original's home.
            wrapper.__module__, wrapper.__qualname__ = module.__name__, name
            self._originals[_key(wrapper)] = (wrapper, original)
            self._write(module, name, wrapper)

    def undo(self) -> None:
        """Put the originals back into their classes and into every module that holds a replacement."""
        for owner, name, original, wrapper in self._methods:
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, original)
        # Somebody may hold a module that is no longer in sys.modules.
        written = [module for known in list(self._written.values()) if (module := known()) is not None]
        self._exchange([*loaded(), *written] if self._originals else [], self._originals)
        self._wrappers.clear()

    def _exchange(self, modules: Iterable[ModuleType], pairs: _Pairs) -> None:
        for module in modules:
            names = namespace(module)
            # Of 100 000 names in a process with torch, a third are functions: id() of each, or a pair for each from
            # items(), takes several times as long as this does.
            held = [
                value
                for value in list(names.values())
                if ((kind := type(value)) is FunctionType and value in pairs) or kind is MethodType
            ]
            for name, value in list(names.items()) if held else ():
                new = self._other(value, pairs)
                if new is not None:
                    self._write(module, name, new)

    def _other(self, value: object, pairs: _Pairs) -> object | None:
        _, new = pairs.get(_key(value), (None, None))
        if new is None and type(value) is MethodType:
            _, function = pairs.get(_key(value.__func__), (None, None))
            if function is not None:
                # One new object for each old one: what is one object under two names stays one.
                new = MethodType(cast(Function, function), value.__self__)
                self._pair(*((value, new) if pairs is self._wrappers else (new, value)))
        return new

    def _write(self, module: ModuleType, name: str, value: object) -> None:
        self._written[id(module)] = weakref.ref(module)
        namespace(module)[name] = value

    def _pair(self, original: object, wrapper: object) -> None:
        self._wrappers[_key(original)] = (original, wrapper)
        self._originals[_key(wrapper)] = (wrapper, original)


def weakly(method: Callable[P, T], otherwise: T) -> Callable[P, T]:
    """Return a function that calls a bound method, or returns ``otherwise`` once nobody else holds its object.

    For what may outlive the modules: a root of the interpreter's end keeps from its garbage all that it reaches.
    """
    held = weakref.WeakMethod(method)

    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        found = held()
        return otherwise if found is None else found(*args, **kwargs)

    return called


def _key(value: object) -> object:
    # No type but Python's own function is asked for its hash. Bound methods may be equal and yet two objects.
    return value if type(value) is FunctionType else id(value)


def namespace(module: object) -> dict[str, Any]:
    """Return the names of a module without running what its class has for that: it may be waiting to be loaded.

    What is no module has none; what it has for ``__class__`` is not asked either.
    """
    found: dict[str, Any] = object.__getattribute__(module, "__dict__") if is_module(module) else {}
    return found


def executing(module: object) -> bool:
    """Whether a module is being executed at this moment."""
    return bool(getattr(namespace(module).get("__spec__"), "_initializing", False))


def loaded() -> list[ModuleType]:
    """Return every module object that is loaded now."""
    return [module for module in list(sys.modules.values()) if is_module(module)]


def is_module(value: object) -> TypeGuard[ModuleType]:
    """Whether this is a module, without asking what stands where a module would what it is."""
    return issubclass(type(value), ModuleType)
