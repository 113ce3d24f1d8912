"""Times as records write them: ISO 8601, in UTC, to the second."""

from __future__ import annotations

from datetime import datetime, timezone

from pinformers._errors import PinError


def now() -> str:
    """Return the time."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def iso(nanoseconds: int) -> str:
    """Write a time that is given in ns since the epoch."""
    return datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc).isoformat(timespec="seconds")


def moment(text: object) -> int:
    """Read a time, in ns since the epoch; raises PinError for anything else."""
    try:
        # Go writes Z, which Python reads from 3.11 on.
        time = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        if time.tzinfo is None:
            raise ValueError("it has no time zone")
        found = int(time.timestamp()) * 10**9
        # In the first and the last year a zone may lead to one that cannot be written.
        iso(found)
        return found
    except (ValueError, OverflowError, OSError) as exc:
        raise PinError(repr(text)[:80], "this is no time with a time zone") from exc


def day(when: datetime) -> str:
    """Write a time for a person."""
    return when.astimezone(timezone.utc).isoformat(sep=" ", timespec="minutes")


def span(seconds: float) -> str:
    """Write a length of time for a person."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' * (count != 1)}"
    return "less than a minute"
