"""Pretrained tables as features: what a ranker reads of an id, in training and in serving.

Takes ids, gives numbers; never trains. A ranker that reads frozen tables holds no row of them: the
look-up lies before its network, and its digests say which tables it belongs to.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from ranking.columns import distinct
from ranking.errors import FacetUnavailable
from ranking.pretraining.tables import FacetTable, SideTable

_EPSILON = 1e-5


class FacetReader:
    """y = [LN(W_1[i]) ; ... ; LN(W_F[i])] of heads and of tails.

    Zero for whom a facet does not know. `fields.py` is the same for tables that a ranker trains.
    """

    def __init__(self, tables: Sequence[FacetTable] = ()) -> None:
        self.digests = tuple(table.digest for table in tables)
        #: Numbers of one side.
        self.width = sum(table.dim for table in tables)
        self._sides = [
            [_Side(table.heads) for table in tables],
            [_Side(table.tails) for table in tables],
        ]

    def vectors(self, side: int, ids: NDArray[np.object_]) -> Float32[np.ndarray, "n w"]:
        """Of heads (side 0) or tails (side 1); each distinct id is looked up once."""
        column = distinct(ids)
        found = [one.vectors(column.values) for one in self._sides[side]]
        if not found:
            return np.zeros((len(ids), 0), dtype=np.float32)
        return np.concatenate(found, axis=1)[column.codes]


def check_sides(tables: Sequence[FacetTable], head_type: str, tail_type: str) -> None:
    """Raise `FacetUnavailable` for tables of other types than those that meet in rows."""
    for table in tables:
        if (table.head_type, table.tail_type) != (head_type, tail_type):
            raise FacetUnavailable(
                f"table {table.name} should be of {head_type} and {tail_type}, received one of "
                f"{table.head_type} and {table.tail_type}"
            )


class _Side:
    """One side of one table. What is read is normalized, so that the file may stay where it is."""

    def __init__(self, table: SideTable) -> None:
        self._rows = table.vectors
        self._row_of = {key: row for row, key in enumerate(table.ids.tolist())}

    def vectors(self, ids: NDArray[np.object_]) -> Float32[np.ndarray, "m d"]:
        place = self._places(ids)
        found = np.zeros((len(ids), self._rows.shape[1]), dtype=np.float32)
        known = place >= 0
        rows = self._rows[place[known]]
        centered = rows - rows.mean(axis=1, keepdims=True)
        found[known] = centered / np.sqrt(
            np.square(centered).mean(axis=1, keepdims=True) + _EPSILON
        )
        return found

    def _places(self, ids: NDArray[np.object_]) -> Int64[np.ndarray, "m"]:
        found = (self._row_of.get(key, -1) for key in ids.tolist())
        return np.fromiter(found, dtype=np.int64, count=len(ids))


#: For rankers that read no table.
NO_TABLES = FacetReader()
