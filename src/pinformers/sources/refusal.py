"""What a server does instead of answering, in words that a person understands."""

from __future__ import annotations

from urllib3 import exceptions

from pinformers._errors import Kind


def words(exc: Exception) -> tuple[str, Kind]:
    """Say in plain words what an error of urllib3 means, and what kind of refusal it is."""
    # In this order: each is also one of those that follow it.
    if isinstance(exc, exceptions.ProxyError):
        return f"the proxy did not let us through ({_cause(exc)})", "failed"
    if isinstance(exc, exceptions.NameResolutionError):
        return "its name cannot be resolved", "failed"
    if isinstance(exc, exceptions.NewConnectionError):
        return f"it cannot be reached ({_cause(exc)})", "failed"
    if isinstance(exc, exceptions.ConnectTimeoutError):
        return "it stalled: no connection came about in time", "stalled"
    if isinstance(exc, exceptions.TimeoutError):
        return "it stalled: no byte, or too few of them, came in time", "stalled"
    if isinstance(exc, exceptions.SSLError):
        return f"TLS failed ({_cause(exc)}); REQUESTS_CA_BUNDLE or SSL_CERT_FILE name other certificates", "failed"
    if isinstance(exc, exceptions.ProtocolError | OSError):
        return "the connection broke", "broken"
    return f"{type(exc).__name__}: {exc}", "failed"


def _cause(exc: BaseException) -> str:
    """Return the innermost words: those of urllib3 begin with the repr of an object."""
    while isinstance(inner := exc.__cause__ or exc.__context__, exceptions.HTTPError | OSError):
        exc = inner
    return str(getattr(exc, "verify_message", "") or getattr(exc, "strerror", "") or exc)
