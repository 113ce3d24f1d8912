"""A function that inspect, help() and pickle take for the one that it stands for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def stand_in(original: Any, wrapper: Function) -> Any:
    """Return a function that calls ``wrapper`` and shows the file, line, signature and names of ``original``."""
    function: Any = functools.wraps(original)(lambda *args, **kwargs: wrapper(*args, **kwargs))
    code = getattr(original, "__code__", None)
    if code is not None:
        # On one line: in a traceback this frame shows where the original begins. inspect.getsourcefile looks here.
        place = {"co_filename": code.co_filename, "co_firstlineno": code.co_firstlineno, "co_name": code.co_name}
        function.__code__ = function.__code__.replace(**place)
        if not hasattr(original, "__wrapped__"):
            # inspect.getfullargspec does not follow __wrapped__.
            function.__signature__ = inspect.signature(original)
        function.__defaults__, function.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    function.__pinformers__ = True
    return function
