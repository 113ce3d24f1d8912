"""Safetensors files of a test's own: any tensors, in any order, under any header."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

KIB, MIB = 1 << 10, 1 << 20


def safetensors_file(tensors: Mapping[str, bytes], **metadata: str) -> bytes:
    """Write ``tensors`` in the order of the mapping, as the format's library would, padded to 8 bytes."""
    said: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, content in tensors.items():
        said[name] = {"dtype": "U8", "shape": [len(content)], "data_offsets": [at, at + len(content)]}
        at += len(content)
    header = json.dumps(said, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + b"".join(tensors.values())


def layers(count: int, seed: int = 0, weight: int = 700 * KIB, bias: int = 3 * KIB) -> dict[str, bytes]:
    """Make tensors as a model has them: one more or less of a MiB in each layer, and some small ones."""
    noise = random.Random(seed)
    tensors = {"embeddings.weight": noise.randbytes(2 * weight)}
    for layer in range(count):
        tensors[f"layer.{layer}.norm.bias"] = noise.randbytes(bias)
        tensors[f"layer.{layer}.norm.weight"] = noise.randbytes(bias)
        tensors[f"layer.{layer}.weight"] = noise.randbytes(weight + layer * 64)
    return tensors


def fine_tuned(tensors: Mapping[str, bytes], share: float = 0.1) -> dict[str, bytes]:
    """Change whole tensors, from the last one on, while they stay below ``share`` of all bytes."""
    left = share * sum(map(len, tensors.values()))
    changed = dict(tensors)
    for name, content in reversed(tensors.items()):
        left -= len(content)
        if left < 0:
            break
        changed[name] = bytes(byte ^ 1 for byte in content)
    return changed
