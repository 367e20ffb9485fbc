"""Exposures with as many fields as Criteo's have categories, drawn from a seed.

Takes sizes, gives columns of numbers; never looks at real clicks. There is nothing in them to be
learned: they are for measuring what training costs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: A field has this share of the values of the field before it.
FALL = 0.8
#: The value of rank n has exposures ~ n^-.75, see `popular.py`.
POWER = 0.75
#: Share of ones.
RATE = 0.25


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Exposures of so many rows, whose fields have `table_rows` values together."""

    rows: int
    table_rows: int
    fields: int = 26
    seed: int = 0

    @property
    def names(self) -> list[str]:
        """Of the fields: the head's id, the tail's id, then categories."""
        return [f"f{number:02}" for number in range(self.fields)]

    @property
    def sizes(self) -> list[int]:
        """Values of each field; they fall geometrically, and the first has what is left over."""
        shares = FALL ** np.arange(self.fields)
        sizes = np.maximum(2, (shares / shares.sum() * self.table_rows).astype(np.int64))
        sizes[0] += self.table_rows - sizes.sum()
        return sizes.tolist()

    def file(self, folder: Path) -> Path:
        """Where they are kept; they are there afterwards."""
        file = folder / f"exposures-{self.rows}-{self.table_rows}-{self.fields}-{self.seed}.npz"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            half = file.with_suffix(".half.npz")
            np.savez(half, **self.columns())
            half.rename(file)
        return file

    def columns(self) -> dict[str, NDArray[np.int64]]:
        """Fields by name, each value of which is of one row at least; `label`; counters."""
        most = max(self.sizes)
        if most > self.rows:
            raise ValueError(f"rows should be at least {most}, received {self.rows}")
        draw = np.random.default_rng(self.seed)
        made = {
            name: _field(draw, size, self.rows)
            for name, size in zip(self.names, self.sizes, strict=True)
        }
        made["label"] = (draw.random(self.rows) < RATE).astype(np.int64)
        for side in ("head", "tail"):
            made[f"{side}_exposures"] = draw.integers(0, 50, self.rows)
            made[f"{side}_outcomes"] = draw.binomial(made[f"{side}_exposures"], RATE)
        return made


def _field(draw: np.random.Generator, size: int, rows: int) -> NDArray[np.int64]:
    cumulative = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -POWER)
    drawn = draw.random(rows - size) * cumulative[-1]
    ranks = np.searchsorted(cumulative, drawn, side="right").clip(max=size - 1)
    # Who is popular is not told by the number.
    named = draw.permutation(size)
    return draw.permutation(named[np.concatenate([np.arange(size), ranks])])
