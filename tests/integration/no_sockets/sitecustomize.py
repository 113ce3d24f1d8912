"""On PYTHONPATH: forbid every connection of the process, and note each try where swallowing cannot hide it."""

from __future__ import annotations

import os
import socket
import traceback


def _refuse(*args: object, **_: object) -> None:
    with open(os.environ["NO_SOCKETS_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{args!r}\n{''.join(traceback.format_stack(limit=12))}\n")
    raise OSError("this process may not open a connection")


socket.getaddrinfo = _refuse  # type: ignore[assignment]
socket.create_connection = _refuse  # type: ignore[assignment]
socket.socket.connect = _refuse  # type: ignore[assignment,method-assign]
socket.socket.connect_ex = _refuse  # type: ignore[assignment,method-assign]
