"""On PYTHONPATH of a peer's suite and of what it starts: loopback is the whole network, on every side alike."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

_LOOPBACK = ("127.", "::1", "localhost")
_getaddrinfo, _connect, _connect_ex = socket.getaddrinfo, socket.socket.connect, socket.socket.connect_ex


def unreachable(host: str) -> BaseException:
    return socket.gaierror(socket.EAI_NONAME, f"{host} is not on this machine")


refusal: Callable[[str], BaseException] = unreachable
"""What is raised for a host beyond loopback; the plugin puts a skip here, which no ``except Exception`` hides."""


def _check(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name and not str(name).startswith(_LOOPBACK):
        raise refusal(str(name))


def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    _check(host)
    return _getaddrinfo(host, *args, **kwargs)


def connect(self: socket.socket, address: Any) -> None:
    if isinstance(address, tuple):
        _check(address[0])
    _connect(self, address)


def connect_ex(self: socket.socket, address: Any) -> int:
    if isinstance(address, tuple):
        _check(address[0])
    return _connect_ex(self, address)


socket.getaddrinfo = getaddrinfo
socket.socket.connect = connect  # type: ignore[method-assign]
socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
