"""A function that inspect, help() and pickle take for the one that it stands for."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any

Function = Callable[..., Any]
_OURS: weakref.WeakSet[Any] = weakref.WeakSet()
_PLACE = ("co_filename", "co_firstlineno", "co_name", "co_qualname")


class _Inner(functools.partial[Any]):
    """What a stand-in calls. cloudpickle and dill write it by value: another process then calls the original.

    A partial, since an object with ``__call__`` would be one more frame in a traceback.
    """

    original: Any

    def __reduce__(self) -> Any:
        return functools.partial, (self.original,)


def stand_in(original: FunctionType, wrapper: Function) -> FunctionType:
    """Return a function that calls ``wrapper`` and shows the parameters, names, file and line of ``original``."""
    code = original.__code__
    shown, passed = _parameters(code)
    # inspect.getfullargspec, and whoever counts arguments, look at the code; they do not follow __wrapped__.
    make = eval(f"lambda __wrapper: lambda {shown}: __wrapper({passed})", original.__globals__)
    inner = _Inner(wrapper)
    inner.original = original
    function: FunctionType = make(inner)
    functools.update_wrapper(function, original)
    # On one line: in a traceback this frame shows where the original begins. inspect.getsourcefile looks here.
    place = {name: getattr(code, name) for name in _PLACE if hasattr(code, name)}
    function.__code__ = function.__code__.replace(**place)
    function.__defaults__, function.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    _OURS.add(function)
    return function


def _parameters(code: CodeType) -> tuple[str, str]:
    """Write the parameters of a function, without defaults, and its arguments as they are passed on.

    inspect.signature, which says the same, takes as long as all the rest of a stand-in.
    """
    positional, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    names, more = code.co_varnames[:named], iter(code.co_varnames[named:])
    shown, passed = list(names[:positional]), list(names[:positional])
    if code.co_posonlyargcount:
        shown.insert(code.co_posonlyargcount, "/")
    if code.co_flags & inspect.CO_VARARGS:
        shown.append(f"*{next(more)}")
        passed.append(shown[-1])
    elif code.co_kwonlyargcount:
        shown.append("*")
    shown += names[positional:]
    passed += [f"{name}={name}" for name in names[positional:]]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        shown.append(f"**{next(more)}")
        passed.append(shown[-1])
    return ", ".join(shown), ", ".join(passed)


def stands_in(value: object) -> bool:
    """Whether ``value`` is such a function, or binds one; what others make of one with functools.wraps is not."""
    function = value.__func__ if type(value) is MethodType else value
    return type(function) is FunctionType and function in _OURS
