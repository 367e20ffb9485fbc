"""What is near a vector: the index of the bundle and the overlay beside it, as one list.

Takes a vector, gives entities of one type, nearest first; never gives one that is retired, merged
into another or opted out, even where the overlay has not heard of it yet.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.live import Trio
from graphsvc import tail
from graphsvc.db import Connection
from graphsvc.ids import EntityId

#: So many more are looked at than are asked for: some may have gone since the last step.
_SPARE = 16


@dataclass(frozen=True, slots=True)
class Found:
    """An entity near a vector, folded in from `edges` edges unless these are 0.

    cold: it has no learned vector. One that is not cold and has edges has changed since training.
    """

    id: str
    distance: float
    cold: bool
    edges: int


def nearest(
    trio: Trio,
    connection: Connection,
    type_: str,
    vector: NDArray[np.float32],
    *,
    leave_out: EntityId,
    k: int,
) -> list[Found]:
    """The k nearest entities of a type, itself left out; a learned one goes before a cold one.

    One that has changed since training is where it is now, and nowhere else.

    `leave_out`: the entity whose vector it is.
    """
    done = trio.tail.done  # before the search, so that what came since is looked up
    wanted = k + 1 + _SPARE
    near, passed_over = trio.overlay.search(type_, vector, wanted)
    distances, rows = trio.index.search(type_, vector[None, :], wanted, leave_out=passed_over)
    found = [
        Found(str(trio.bundle.ids[row]), float(distance), cold=False, edges=0)
        for distance, row in zip(distances[0], rows[0], strict=True)
        if row >= 0
    ]
    found += [Found(one.id, one.distance, cold=not one.changed, edges=one.edges) for one in near]
    found.sort(key=lambda one: (one.distance, one.cold))
    unfit = tail.unfit(
        connection, type_, list({one.id for one in found}), since=trio.tail.watermark
    )
    kept = []
    for one in found:
        if one.id in unfit:
            opted_out = unfit[one.id]
            # A cold vector that the tail has solved behind the opt-out may stay.
            if opted_out is None or not one.cold or opted_out > done:
                continue
        if one.id != leave_out.id or type_ != leave_out.type:
            kept.append(one)
    return kept[:k]
