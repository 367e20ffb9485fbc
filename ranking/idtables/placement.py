"""Which rows of a table belong to an id.

Takes ids, when and how often each was seen, gives row numbers; never holds a weight. Frequent ids
get a row of their own, by falling frequency; all others share hashed rows. The hash is a fixed
function of the id's bytes, so slots are the same in every process and version; how rows of their
own stay where they are from version to version says `succession.py`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from ranking.columns import distinct
from ranking.idtables.dials import IdTableConfig

_DAY = 24 * 3600


def rank_by_frequency(
    ids: Sequence[str] | NDArray[np.object_],
    config: IdTableConfig,
    *,
    times: Int64[np.ndarray, "n"] | None = None,
) -> tuple[str, ...]:
    """The ids that get a row of their own, the most frequent first, ties in order of the id.

    `ids` names an id once per TRAIN row, `times` has that row's second. An id is admitted from
    `min_rows` rows on, and with `max_age_days` only while its last row is not older than that, by
    the last row of all: this room has no clock.
    """
    column = distinct(ids)
    counts = np.bincount(column.codes, minlength=len(column.values))
    admitted = counts >= config.min_rows
    if config.max_age_days and times is not None and len(times):
        last = np.full(len(column.values), times.min(), dtype=np.int64)
        np.maximum.at(last, column.codes, times)
        admitted &= last >= times.max() - config.max_age_days * _DAY
    named = zip(column.values[admitted], counts[admitted].tolist(), strict=True)
    ranked = sorted((-n, name) for name, n in named)
    return tuple(name for _, name in ranked[: config.max_exclusive])


@dataclass(frozen=True)
class Placement:
    """Rows of ids: exclusive ones first, then `buckets` hashed ones.

    An exclusive id has the pair (i, i), any other id two hashed rows; a table gives the mean of
    the two. Two hashes make a full collision of two ids as rare as 1 / buckets^2. `None` among the
    exclusive ones is a slot that was given up, and that no id has.
    """

    exclusive: tuple[str | None, ...]
    buckets: int

    def __post_init__(self) -> None:
        row_of = {name: i for i, name in enumerate(self.exclusive) if name is not None}
        object.__setattr__(self, "_row_of", row_of)

    @property
    def row_count(self) -> int:
        return len(self.exclusive) + self.buckets

    def rows(self, ids: Sequence[str] | NDArray[np.object_]) -> Int64[np.ndarray, "n 2"]:
        """Two row numbers per id; each distinct id is looked up, or hashed, once."""
        row_of: dict[str, int] = self._row_of  # type: ignore[attr-defined]
        column = distinct(ids)
        own = np.array([row_of.get(name, -1) for name in column.values], dtype=np.int64)
        pairs = np.stack([own, own], axis=1)
        strangers = np.flatnonzero(own < 0)
        hashed = [self._hashed(name) for name in column.values[strangers]]
        pairs[strangers] = np.array(hashed, dtype=np.int64).reshape(-1, 2)
        return pairs[column.codes]

    def _hashed(self, name: str) -> tuple[int, int]:
        # Two halves of one digest; two salted CRCs would collide together, being linear.
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        first = len(self.exclusive)
        return (
            first + int.from_bytes(digest[:8], "little") % self.buckets,
            first + int.from_bytes(digest[8:], "little") % self.buckets,
        )
