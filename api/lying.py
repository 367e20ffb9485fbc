"""Where candidates lie now: where training put them, where the overlay has, or nowhere.

Takes a trio and rows of its bundle, gives vectors; never asks the database.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.live import Trio
from graphsvc.ids import EntityId


class Lying(NamedTuple):
    """Of n candidates."""

    vectors: NDArray[np.float32]  # [n, d], zero where there is none
    known: NDArray[np.bool_]  # [n], whether there is one
    learned: NDArray[np.bool_]  # [n], whether it is that of training
    edges: NDArray[np.int64]  # [n], that one was folded in from

    def take(self, rows: NDArray[np.int64]) -> "Lying":
        """Those at some rows, in that order."""
        return Lying(self.vectors[rows], self.known[rows], self.learned[rows], self.edges[rows])


def lying_at(
    trio: Trio, ids: Sequence[str], places: NDArray[np.int32], keys: NDArray[np.int64]
) -> Lying:
    """Of the ranker's candidates. `places`: rows of the bundle, or -1; `keys`: 0 of nobody.

    Who has no vector, although there is such an entity, is asked for, and has one a step later.
    """
    type_ = trio.ranker.tail_type
    learned = places >= 0
    hidden = trio.overlay.hidden(type_)
    if hidden is not None:
        learned &= ~hidden[np.where(learned, places - trio.bundle.types[type_].start, 0)]
    known, edges = learned.copy(), np.zeros(len(ids), dtype=np.int64)
    vectors = trio.bundle.vectors[np.where(learned, places, 0)]
    missing = []
    for n in np.flatnonzero(~learned).tolist():
        vectors[n] = 0.0
        folded = trio.overlay.get(EntityId(type_, ids[n]))
        if folded is not None:
            vectors[n], known[n], edges[n] = folded.vector, True, folded.edges
        elif keys[n] > 0:
            missing.append(int(keys[n]))
    trio.tail.want(missing)
    return Lying(vectors, known, learned, edges)
