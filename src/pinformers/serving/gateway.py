"""The trustless gateway: one function from a request to its answer, whichever server is in front."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

from pinformers._errors import BadContent, BlockNotFound, SourceError
from pinformers.ipfs import varint
from pinformers.ipfs.car import write_car
from pinformers.ipfs.cid import CID, Block
from pinformers.ipfs.traversal import Blocks, Resolved, resolve, select
from pinformers.serving.messages import Refusal, Request, Response
from pinformers.serving.wanted import CAR_TYPE, RAW_TYPE, Wanted, read_request

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))", re.ASCII | re.IGNORECASE)
_FOREVER = "public, max-age=29030400, immutable"
# Pieces of a CAR that are smaller go out together.
_PIECE = 64 << 10
_logger = logging.getLogger("pinformers")


def answer(request: Request, blocks: Blocks) -> Response:
    """Answer a request out of ``blocks``; raises nothing that a request or a source can cause."""
    try:
        response = _answer(request, blocks)
    except Refusal as exc:
        response = refused(exc)
    if request.method == "HEAD":
        response = Response(response.status, response.headers)
    _logger.debug("%s %s: %d.", request.method, request.target, response.status)
    return response


def _answer(request: Request, blocks: Blocks) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise Refusal(405, "Nothing can be written here.", Allow="GET, HEAD")
    wanted = read_request(request)
    etag = _etag(wanted)
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(304, {"Etag": etag, "Cache-Control": _FOREVER})
    try:
        found = resolve(wanted.root, wanted.segments, blocks)
        headers = _headers(wanted, found, etag)
        if wanted.format == "raw":
            return _raw(request.headers, headers, found.end)
        chosen = select(found, wanted.scope, wanted.span, blocks, dups=wanted.dups)
    except BlockNotFound as exc:
        # What is not here is not looked for elsewhere, so that "cached" and "here" are one.
        cached = request.headers.get("cache-control", "").lower() == "only-if-cached"
        raise Refusal(412 if cached else 404, str(exc)) from exc
    except SourceError as exc:
        raise Refusal(502, str(exc)) from exc
    except BadContent as exc:
        raise Refusal(422, str(exc)) from exc
    root = wanted.root if found.missing is not None else found.end.cid
    return Response(200, headers, _pieces(root, chosen))


def refused(refusal: Refusal) -> Response:
    body = f"{refusal.sentence}\n".encode("utf-8", "backslashreplace")
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "X-Content-Type-Options": "nosniff",
        **refusal.headers,
    }
    return Response(refusal.status, headers, (body,))


def _headers(wanted: Wanted, found: Resolved, etag: str) -> dict[str, str]:
    suffix = "bin" if wanted.format == "raw" else "car"
    kind = RAW_TYPE
    if wanted.format == "car":
        kind = f"{CAR_TYPE}; version=1; order={wanted.order}; dups={'y' if wanted.dups else 'n'}"
    return {
        "Content-Type": kind,
        "Content-Disposition": _attachment(wanted.filename or f"{wanted.root}.{suffix}"),
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": _FOREVER,
        "Etag": etag,
        "X-Ipfs-Path": quote(wanted.path, safe="/%"),
        "X-Ipfs-Roots": ",".join(map(str, found.roots)),
        "Accept-Ranges": "bytes" if wanted.format == "raw" else "none",
        "Vary": "Accept",
    }


def _attachment(name: str) -> str:
    plain = quote(re.sub(r"[^\x20-\x7e]", "_", name), safe=" ()")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _etag(wanted: Wanted) -> str:
    if wanted.format == "raw":
        return f'"{wanted.root}.raw"'
    asked = repr((wanted.segments, wanted.scope, wanted.span, wanted.order, wanted.dups))
    return f'W/"{wanted.root}.car.{hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()[:16]}"'


def _matches(condition: str, etag: str) -> bool:
    known = [text.strip().removeprefix("W/") for text in condition.split(",")]
    return "*" in known or etag.removeprefix("W/") in known


# -- raw ------------------------------------------------------------------------------------------------------


def _raw(asked: Mapping[str, str], headers: dict[str, str], block: Block) -> Response:
    size = len(block.data)
    # As boxo does, the first of several ranges is served alone.
    match = _RANGE.match(asked.get("range", ""))
    if match is None or asked.get("if-range", headers["Etag"]) != headers["Etag"]:
        return Response(200, {**headers, "Content-Length": str(size)}, (block.data,))
    start, end = _reach(match, size)
    if start >= end:
        raise Refusal(416, f"The block has {size} bytes.", Content_Range=f"bytes */{size}")
    part = {"Content-Range": f"bytes {start}-{end - 1}/{size}", "Content-Length": str(end - start)}
    return Response(206, {**headers, **part}, (memoryview(block.data)[start:end],))


def _reach(match: re.Match[str], size: int) -> tuple[int, int]:
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size
    return int(first), size if last is None else min(size, int(last) + 1)


# -- CAR ------------------------------------------------------------------------------------------------------


def _pieces(root: CID, blocks: Iterable[Block]) -> Iterator[bytes]:
    """Write a CARv1 while its blocks arrive; big ones are passed on uncopied."""
    out = io.BytesIO()
    write_car(out, [root], ())
    held = out.getvalue()
    try:
        for block in blocks:
            name = block.cid.to_bytes()
            held += varint.encode(len(name) + len(block.data)) + name
            if len(held) + len(block.data) < _PIECE:
                held += block.data
                continue
            yield held
            yield block.data
            held = b""
    except (SourceError, BadContent):
        # What was read is true, and saves the client from asking for it again.
        if held:
            yield held
        raise
    if held:
        yield held
