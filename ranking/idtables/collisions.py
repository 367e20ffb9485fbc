"""How many ids share rows, and with how many others.

Takes ids as often as they were seen, and their placement, gives numbers by how frequent an id is;
never changes who has which row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from ranking.columns import distinct
from ranking.idtables.placement import Placement

#: Least rows of each class of ids; a class ends where the next one begins.
CLASSES = (1, 2, 5, 20, 100)


class Collisions(NamedTuple):
    """Of the ids of one class of frequency."""

    #: Least and most rows of an id of the class; the most is None in the last one.
    least: int
    most: int | None
    ids: int
    #: Rows of examples that name an id of the class.
    rows: int
    #: Ids with a row of their own.
    own: int
    #: Ids of which at least one row is another id's as well; of which both are the same other id's.
    shared: int
    twins: int
    #: Mean number of other ids per hashed row of the class; 0 where all have their own.
    others: float


def collisions(
    ids: Sequence[str] | NDArray[np.object_], placement: Placement
) -> tuple[Collisions, ...]:
    """What shares rows, by how often an id is seen; `ids` names an id once per row.

    Of k ids in m buckets the others in a row are 2 (k - 1) / m on average, two rows each, and k^2
    / m^2 pairs of ids are twins, whatever the order of their two rows.
    """
    column = distinct(ids)
    counts = np.bincount(column.codes, minlength=len(column.values))
    pairs = np.sort(placement.rows(column.values), axis=1)
    hashed = pairs[:, 0] >= len(placement.exclusive)
    load = _load(pairs[hashed], placement.row_count)
    twins = np.zeros(len(pairs), dtype=np.bool_)
    twins[hashed] = _repeated(pairs[hashed])
    around = load[pairs] - 1
    around[~hashed] = 0
    ends = [*(start - 1 for start in CLASSES[1:]), None]
    found = []
    for least, most in zip(CLASSES, ends, strict=True):
        of = counts >= least
        if most is not None:
            of &= counts <= most
        mine = of & hashed
        found.append(
            Collisions(
                least=least,
                most=most,
                ids=int(of.sum()),
                rows=int(counts[of].sum()),
                own=int((of & ~hashed).sum()),
                shared=int((around[mine] > 0).any(axis=1).sum()),
                twins=int(twins[mine].sum()),
                others=float(around[mine].mean()) if mine.any() else 0.0,
            )
        )
    return tuple(found)


def _load(pairs: Int64[np.ndarray, "n 2"], count: int) -> Int64[np.ndarray, "rows"]:
    """How many ids have each row; one whose two rows are the same counts once."""
    once = np.concatenate([pairs[:, 0], pairs[pairs[:, 0] != pairs[:, 1], 1]])
    return np.bincount(once, minlength=count).astype(np.int64)


def _repeated(pairs: Int64[np.ndarray, "n 2"]) -> NDArray[np.bool_]:
    """Which pairs there are more than once."""
    if not len(pairs):
        return np.zeros(0, dtype=np.bool_)
    _, place, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    return (counts > 1)[place.reshape(-1)]
