"""What a request wants: the path, the format, the CAR parameters of IPIP-402, 412 and 523."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, unquote

from pinformers._errors import BadCID
from pinformers.ipfs.cid import CID
from pinformers.ipfs.traversal import ByteRange, Scope
from pinformers.serving.messages import Refusal, Request

RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
_FORMATS: Mapping[str, Literal["raw", "car"]] = {"raw": "raw", "car": "car"}
_TYPES: Mapping[str, Literal["raw", "car"]] = {RAW_TYPE: "raw", CAR_TYPE: "car"}
_SCOPES: Mapping[str, Scope] = {"block": "block", "entity": "entity", "all": "all"}
_BYTES = re.compile(r"(-?\d{1,18}):(-?\d{1,18}|\*)", re.ASCII)
_ONLY = "Only /ipfs/{cid} with format=raw, and /ipfs/{cid}[/path] with format=car, are served here."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that is understood; all but the first three are for CARs. ``path`` is as it was sent."""

    root: CID
    segments: tuple[str, ...]
    format: Literal["raw", "car"]
    path: str
    filename: str | None = None
    scope: Scope = "all"
    span: ByteRange | None = None
    order: Literal["dfs", "unk"] = "dfs"
    dups: bool = False


def read_request(request: Request) -> Wanted:
    """Understand a request, or raise Refusal."""
    path, _, query = request.target.partition("?")
    names = path.split("/")
    if len(names) < 3 or names[0] or names[1] != "ipfs":
        raise Refusal(404, _ONLY)
    try:
        root = CID.parse(unquote(names[2], errors="strict"))
        segments = tuple(unquote(name, errors="strict") for name in names[3:] if name)
    except BadCID as exc:
        raise Refusal(400, str(exc)) from exc
    except UnicodeDecodeError as exc:
        raise Refusal(400, "The path is not percent-encoded UTF-8.") from exc
    values = _query(query)
    chosen, parameters = _format(values, request.headers.get("accept", ""))
    filename = values.get("filename") or None
    if chosen == "raw":
        if segments:
            raise Refusal(406, "A raw block is asked for by its own CID, without a path; paths go with format=car.")
        return Wanted(root, (), "raw", path, filename)
    return _car(Wanted(root, segments, "car", path, filename), parameters, values)


def _query(query: str) -> dict[str, str]:
    try:
        found = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=32)
    except ValueError as exc:
        raise Refusal(400, "The query cannot be read.") from exc
    return {name: values[0] for name, values in found.items()}


def _format(values: Mapping[str, str], accept: str) -> tuple[Literal["raw", "car"], Mapping[str, str]]:
    """Return the format, and the parameters that the Accept header has for it; the query wins."""
    offered = _accepted(accept)
    named = values.get("format")
    if named:
        chosen = _FORMATS.get(named)
        if chosen is None:
            raise Refusal(406, f"The format {named!r} cannot be verified by who gets it. {_ONLY}")
        return chosen, next((parameters for kind, parameters in offered if kind == chosen), {})
    if not offered:
        raise Refusal(406, _ONLY)
    return offered[0]


def _accepted(accept: str) -> list[tuple[Literal["raw", "car"], Mapping[str, str]]]:
    """Return the formats of an Accept header that are ours with their parameters, the most wanted first."""
    found: list[tuple[float, Literal["raw", "car"], Mapping[str, str]]] = []
    for choice in accept.split(","):
        name, *rest = (part.strip() for part in choice.split(";"))
        kind = _TYPES.get(name.lower())
        if kind is not None:
            pairs = (part.partition("=") for part in rest)
            parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
            weight = _weight(parameters.pop("q", "1"))
            if weight:
                found.append((weight, kind, parameters))
    return [(kind, parameters) for _, kind, parameters in sorted(found, key=lambda choice: -choice[0])]


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](\.\d{0,3})?", text, re.ASCII) else 1.0


def _car(wanted: Wanted, parameters: Mapping[str, str], values: Mapping[str, str]) -> Wanted:
    # Empty counts as not given, and the query goes before the Accept header (IPIP-523).
    asked = {name: values.get(f"car-{name}") or parameters.get(name, "") for name in ("version", "order", "dups")}
    if asked["version"] not in ("", "1"):
        raise Refusal(400, f"CARs have the version 1 here, not {asked['version']!r}.")
    if asked["order"] not in ("", "dfs", "unk"):
        raise Refusal(400, f"The order of a CAR is 'dfs' or 'unk', not {asked['order']!r}.")
    if asked["dups"] not in ("", "y", "n"):
        raise Refusal(400, f"dups is 'y' or 'n', not {asked['dups']!r}.")
    span = _span(values["entity-bytes"]) if "entity-bytes" in values else None
    scope = values.get("dag-scope", "all" if span is None else "entity")
    if scope not in _SCOPES:
        raise Refusal(400, f"dag-scope is 'block', 'entity' or 'all', not {scope!r}.")
    return Wanted(
        wanted.root,
        wanted.segments,
        "car",
        wanted.path,
        wanted.filename,
        _SCOPES[scope],
        span,
        "unk" if asked["order"] == "unk" else "dfs",
        asked["dups"] == "y",
    )


def _span(text: str) -> ByteRange:
    match = _BYTES.fullmatch(text)
    if match is None:
        raise Refusal(400, f"entity-bytes is FROM:TO, two numbers or a number and *, not {text[:64]!r}.")
    first, last = int(match[1]), None if match[2] == "*" else int(match[2])
    if last is not None and (first < 0) == (last < 0) and first > last:
        raise Refusal(400, f"entity-bytes={text} ends before it starts.")
    return ByteRange(first, last)
