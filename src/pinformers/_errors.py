"""The error tree.

PinformersError
├── SettingsError (ValueError)     a setting has a wrong value
├── SelftestFailed             a process of the selftest ended badly
├── NotPinned (OSError)            ``on_miss = error`` and no pin answers
├── NotLocked (OSError)            ``locked`` is set and the lockfile does not name a model
├── LockMismatch (OSError)         other bytes are pinned than the lockfile names
├── BadLock (OSError)              a line of a lockfile that cannot be used
├── PinError (OSError)             a pin, a record or a folder cannot be used as it is
├── CatalogRefused (OSError)       a shared catalog, or what it says of a model, is not believed
├── ServeError (OSError)       the gateway cannot serve as it was asked to
├── BadContent (ValueError)        bytes that are not what they claim to be
│   ├── BadCID                     a string or bytes that are no CID
│   ├── BadBlock                   a block that cannot be decoded
│   ├── BadRecord                  an IPNS record that its name's owner did not sign, or that says nothing usable
│   ├── BlockMismatch              a block whose hash is not its CID
│   └── BadCar                     a CAR stream that is cut short or malformed
└── SourceError (OSError)          a source did not deliver
    ├── SourceUnavailable          the source itself cannot be reached
    │   └── Refusal                    what one server did instead of answering
    └── BlockNotFound              the source answers and does not have the block

Every error is built from its fields alone, so it survives pickle, and prints one sentence.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["absent", "unspoken", "busy", "broken", "stalled", "failed", "lie"]


class PinformersError(Exception):
    """The root of every error that pinformers raises."""

    def __init__(self, *fields: object) -> None:
        super().__init__(*fields)
        if isinstance(self, OSError):
            # OSError takes two arguments for errno and strerror.
            setattr(self, "errno", None)  # noqa: B010  (mypy: the other bases have no errno)

    def __str__(self) -> str:
        return " ".join(str(field) for field in self.args)


class SettingsError(PinformersError, ValueError):
    """A setting has a wrong value: ``name``, ``value``, where it came ``origin`` from, what it should be."""

    def __init__(self, name: str, value: object, origin: str, expected: str) -> None:
        super().__init__(name, value, origin, expected)
        self.name, self.value, self.origin, self.expected = name, value, origin, expected

    def __str__(self) -> str:
        return f"The setting {self.name} is {self.value!r} (from {self.origin}); it should be {self.expected}."


class SelftestFailed(PinformersError):
    """A process of the selftest ended badly: ``what`` it could not do, the ``last`` line that it wrote."""

    def __init__(self, what: str, last: str) -> None:
        super().__init__(what, last)
        self.what, self.last = what, last

    def __str__(self) -> str:
        return f"The selftest could not {self.what}: {self.last}"


class PinError(PinformersError, OSError):
    """A pin, a record or a folder cannot be used as it is: ``subject`` and what to do."""

    def __init__(self, subject: str, advice: str) -> None:
        super().__init__(subject, advice)
        self.subject, self.advice = subject, advice

    def __str__(self) -> str:
        return f"{self.subject}: {self.advice}"


class NotPinned(PinformersError, OSError):
    """No pin answers for ``repo`` at ``revision``, and ``on_miss = error`` forbids to ask anyone else."""

    def __init__(self, repo: str, revision: str) -> None:
        super().__init__(repo, revision)
        self.repo, self.revision = repo, revision

    def __str__(self) -> str:
        return (
            f"{self.repo}@{self.revision} is not pinned, and the setting on_miss is 'error'; "
            f"run `pinformers pin {self.repo} --revision {self.revision}` first, or set on_miss to 'import'."
        )


class NotLocked(PinformersError, OSError):
    """``repo`` at ``revision`` is not in ``lockfile``, and the setting ``locked`` refuses whatever is not in it.

    A name by content has no revision: ``""``.
    """

    def __init__(self, repo: str, revision: str, lockfile: str) -> None:
        super().__init__(repo, revision, lockfile)
        self.repo, self.revision, self.lockfile = repo, revision, lockfile

    def __str__(self) -> str:
        if not self.revision:
            return (
                f"{self.repo} holds files that are not in {self.lockfile}, and the setting locked refuses whatever is "
                f"not in it; pin it under a model's name (`pinformers pin FOLDER --as org/model`), and lock that."
            )
        if self.repo.startswith(("datasets/", "spaces/")):
            return f"{self.repo} cannot be in {self.lockfile}, and the setting locked refuses whatever is not in it."
        return (
            f"{self.repo}@{self.revision} is not in {self.lockfile}, and the setting locked refuses whatever is not in "
            f"it; run `pinformers lock {self.repo} --revision {self.revision}` to add it."
        )


class LockMismatch(PinformersError, OSError):
    """What is known of ``repo`` contradicts ``lockfile``: the ``reason``."""

    def __init__(self, repo: str, lockfile: str, reason: str) -> None:
        super().__init__(repo, lockfile, reason)
        self.repo, self.lockfile, self.reason = repo, lockfile, reason

    def __str__(self) -> str:
        return f"{self.repo} is refused, since it is not what {self.lockfile} names: {self.reason.rstrip('.')}."


class BadLock(PinformersError, OSError):
    """A lockfile cannot be used: its ``path``, the ``line``, and the ``reason``."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path, self.line, self.reason = path, line, reason

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason.rstrip('.')}."


class CatalogRefused(PinformersError, OSError):
    """A shared ``catalog``, or what it says of a model, is not believed, for a ``reason``."""

    def __init__(self, catalog: str, reason: str) -> None:
        super().__init__(catalog, reason)
        self.catalog, self.reason = catalog, reason

    def __str__(self) -> str:
        return f"The catalog {self.catalog} is refused: {self.reason.rstrip('.')}."


class ServeError(PinformersError, OSError):
    """The gateway cannot serve as it was asked to: ``subject`` (an address, a file) and what to do."""

    def __init__(self, subject: str, advice: str) -> None:
        super().__init__(subject, advice)
        self.subject, self.advice = subject, advice

    def __str__(self) -> str:
        return f"{self.subject}: {self.advice}"


class BadContent(PinformersError, ValueError):
    """Bytes that are not what they claim to be."""


class BadCID(BadContent):
    """A string or bytes that are no CID: ``text`` and the ``reason``."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, reason)
        self.text, self.reason = text, reason

    def __str__(self) -> str:
        return f"{self.text!r} is not a CID: {self.reason}."


class BadBlock(BadContent):
    """A block that cannot be decoded: its ``cid`` and the ``reason``."""

    def __init__(self, cid: str, reason: str) -> None:
        super().__init__(cid, reason)
        self.cid, self.reason = cid, reason

    def __str__(self) -> str:
        return f"The block {self.cid} cannot be read: {self.reason}."


class BadRecord(BadContent):
    """An IPNS record for ``name`` that is not its owner's or cannot be used, for a ``reason``."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"The IPNS record for {self.name} is not believed: {self.reason.rstrip('.')}."


class BlockMismatch(BadContent):
    """A block whose hash is not its CID."""

    def __init__(self, cid: str) -> None:
        super().__init__(cid)
        self.cid = cid

    def __str__(self) -> str:
        return f"The bytes received for {self.cid} do not have that hash; they were thrown away."


class BadCar(BadContent):
    """A CAR stream that is cut short or malformed: the ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"This is not a readable CAR file: {self.reason}."


class SourceError(PinformersError, OSError):
    """A ``source`` did not deliver, for a ``reason``."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source, self.reason = source, reason

    def __str__(self) -> str:
        return f"The source {self.source} did not deliver: {self.reason.rstrip('.')}."


class SourceUnavailable(SourceError):
    """The source itself cannot be reached."""


class Refusal(SourceUnavailable):
    """What one server did instead of answering: its ``kind`` says what may be asked of it next.

    ``absent``: it does not have this one. ``unspoken``: it does not know this format. ``busy``: ask again after
    ``wait`` seconds, None where it names no time. ``broken``: the answer ended early. ``stalled``: none came in time.
    ``lie``: other bytes than were asked for. ``failed``: anything else.
    """

    def __init__(self, source: str, reason: str, kind: Kind = "failed", wait: float | None = None) -> None:
        super().__init__(source, reason)
        self.args = (source, reason, kind, wait)
        self.kind, self.wait = kind, wait


class BlockNotFound(SourceError):
    """The source answers and does not have the block."""
