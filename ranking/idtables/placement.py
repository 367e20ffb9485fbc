"""Which rows of a table belong to an id.

Takes ids and how often each was seen, gives row numbers; never holds a weight. Frequent ids get a
row of their own, by falling frequency; all others share hashed rows. The hash is a fixed function
of the id's bytes, so slots are the same in every process and version.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from ranking.config import IdTableConfig


def rank_by_frequency(ids: Iterable[str], config: IdTableConfig) -> tuple[str, ...]:
    """The ids that get a row of their own, the most frequent first, ties in order of the id.

    `ids` names an id once per TRAIN row.
    """
    counts: dict[str, int] = {}
    for name in ids:
        counts[name] = counts.get(name, 0) + 1
    ranked = sorted((-n, name) for name, n in counts.items() if n >= config.min_rows)
    return tuple(name for _, name in ranked[: config.max_exclusive])


@dataclass(frozen=True)
class Placement:
    """Rows of ids: exclusive ones first, then `buckets` hashed ones.

    An exclusive id has the pair (i, i), any other id two hashed rows; a table gives the mean of
    the two. Two hashes make a full collision of two ids as rare as 1 / buckets^2.
    """

    exclusive: tuple[str, ...]
    buckets: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "_row_of", {name: i for i, name in enumerate(self.exclusive)})

    @property
    def row_count(self) -> int:
        return len(self.exclusive) + self.buckets

    def rows(self, ids: Sequence[str] | np.ndarray) -> Int64[np.ndarray, "n 2"]:
        """Two row numbers per id."""
        row_of: dict[str, int] = self._row_of  # type: ignore[attr-defined]
        return np.array(
            [
                (row, row) if (row := row_of.get(name)) is not None else self._hashed(name)
                for name in ids
            ],
            dtype=np.int64,
        ).reshape(-1, 2)

    def _hashed(self, name: str) -> tuple[int, int]:
        # Two halves of one digest; two salted CRCs would collide together, being linear.
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        first = len(self.exclusive)
        return (
            first + int.from_bytes(digest[:8], "little") % self.buckets,
            first + int.from_bytes(digest[8:], "little") % self.buckets,
        )
