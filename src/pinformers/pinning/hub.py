"""The hub, asked through huggingface_hub's own client."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from pinformers._asking import we_ask
from pinformers._errors import PinError
from pinformers.pinning.pin import Pin
from pinformers.pinning.records import reason

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)


def download_file(pin: Pin, path: str, cache_dir: str) -> None:
    """Have huggingface_hub's client download one file of a pinned commit to where it always does."""
    # deferred: an import of half a second that only a download needs.
    from huggingface_hub import hf_hub_download

    with hub_errors(pin.repo, cache_dir):
        hf_hub_download(pin.repo, path, repo_type=pin.repo_type, revision=pin.commit, cache_dir=cache_dir)


def access_denied(pin: Pin) -> str:
    """Have the hub say whether the token of this machine may read a model; returns why not, or nothing."""
    # deferred: see download_file.
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        with hub_errors(pin.repo):
            try:
                HfApi().auth_check(pin.repo, repo_type=pin.repo_type)
            except RepositoryNotFoundError:
                # It says so of a private model, and of a gated one by a class below.
                return "its token, or that it has none, does not pass there"
    except PinError as exc:
        return exc.advice
    return ""


def access_of_all(pin: Pin) -> Literal["open", "private", "gated"]:
    """Ask the hub, without a token, to whom it gives a model; raises PinError where it does not answer."""
    # deferred: see download_file.
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with hub_errors(pin.repo):
        try:
            info = HfApi().repo_info(pin.repo, repo_type=pin.repo_type, token=False)
        except RepositoryNotFoundError as exc:
            # Whatever it shows to nobody without a token: it does not say which of them are there.
            return "gated" if isinstance(exc, GatedRepoError) else "private"
    return "private" if info.private else "gated" if info.gated else "open"


@contextmanager
def hub_errors(repo: str, cache_dir: str = "") -> Iterator[None]:
    """Raise PinError for whatever the hub's client raises; ``cache_dir`` is where it writes."""
    # deferred: see download_file.
    from huggingface_hub.errors import HfHubHTTPError

    # Its HTTP client is requests, httpx or httpx2 by version, whose errors are no OSError in the latter two.
    errors: tuple[type[Any], ...] = (OSError, ValueError, *HfHubHTTPError.__bases__)
    try:
        with we_ask():
            yield
    except errors as exc:
        if isinstance(exc, OSError) and exc.errno in _OF_THE_DISK:
            where = exc.filename or cache_dir or "the hub cache"
            raise PinError(repo, f"it cannot be written to {where} ({reason(exc)})") from exc
        raise PinError(repo, _advice(exc)) from exc


def _advice(exc: BaseException) -> str:
    """Say what the hub, or its client, answered, and what to do about a login."""
    # deferred: see download_file.
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    login = "log in with `hf auth login`, or set HF_TOKEN"
    words = str(exc).strip().splitlines() or [type(exc).__name__]
    said = words[0].rstrip(".")
    # A class below the other one.
    if isinstance(exc, GatedRepoError):
        return f"the hub gives it only to who accepted its terms on its page; do that, and {login} ({said})"
    if isinstance(exc, RepositoryNotFoundError):
        return f"the hub shows no model of that name; where it is a private one, {login} ({said})"
    if isinstance(exc, RevisionNotFoundError):
        return f"the hub has no such branch, tag or commit of it ({said})"
    return f"the hub did not answer for it ({said})"


def unanswered(problem: PinError) -> bool:
    """Whether what ``hub_errors`` raised means that no hub was there to answer."""
    cause = problem.__cause__
    return getattr(cause, "response", None) is None and getattr(cause, "errno", None) not in _OF_THE_DISK
