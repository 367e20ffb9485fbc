"""RetailRocket's shop as one table: pairs that were viewed, and whether they came to the cart.

Takes its files, gives a CSV in the work folder and its source; never ships the data, whose licence
asks for non-commercial use. One form of the data has no times, and this one reads none: rows are
put into an order by chance, so a split of them is one by chance, and says nothing of the future.
"""

import csv
from pathlib import Path

import numpy as np
from ctr_sources import Source
from offsite_shop import KINDS, digest, draw

NAMES = ("user", "item", "carted", "moment")


def shop(files: Path, work: Path) -> Source:
    """Two fields, and what was counted of both; a pair that came to the cart is a click."""
    file = work / f"retailrocket-{digest(files)}.csv"
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        half = file.with_suffix(".half")
        _write(files, half)
        half.rename(file)
    return Source(
        file=file, label="carted", fields=NAMES[:2], user="user", item="item", time="moment"
    )


def _write(files: Path, file: Path) -> None:
    pairs = draw(files, seed=0)
    viewed = np.flatnonzero(pairs.counts[:, KINDS.index("view")] > 0)
    carted = pairs.counts[viewed, KINDS.index("add_to_cart")] > 0
    moments = np.random.default_rng(0).permutation(len(viewed))
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(NAMES)
        who, what = pairs.visitors[pairs.visitor[viewed]], pairs.items[pairs.item[viewed]]
        rows = zip(who, what, carted.astype(int), moments, strict=True)
        writer.writerows(row for row in rows)
