"""Row 13: fine-tunes of a model that is here, cut every MiB and where their tensors begin."""

from __future__ import annotations

import shutil

from benchmarks.finetune import CUTS, encoder, shares
from benchmarks.results import Line
from benchmarks.rooms import Shop


def fine_tune(shop: Shop) -> None:
    """Row 13: once, since nothing of it varies; the bytes are counted where they leave the other machine."""
    base = encoder(shop.pick(128, 512))
    size = sum(map(len, base.values()))
    for cut in CUTS:
        folder = shop.folder / f"tuning-{cut}"
        for name, share in shares(base, cut, folder).items():
            series, whole = (f"13 {name}, {side}" for side in (cut, f"{cut}, its bytes"))
            shop.book.keep(series, max(1, round(share * size)), "byte")
            shop.book.keep(whole, size, "byte")
            setting = "`chunking = tensors`" if cut == "tensors" else "cut every MiB, as by default"
            what = f"bytes fetched of a fine-tune with 90 % of its base's, {name}, {setting}"
            shop.book.line(Line(13, what, "its bytes", series, whole, 0.15 if cut == "tensors" else None))
        shutil.rmtree(folder)
