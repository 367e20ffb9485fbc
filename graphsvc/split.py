"""Cutting time into five spans: GRAPH, TRAIN, VALID, CALIBRATE, TEST.

Takes the exposures in the log, gives the last moment of each span but the last, for all
alike or per user; never holds more than one row per user, but for persons who have several ids.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, case, func, select
from sqlalchemy.sql import ColumnElement

from graphsvc.columns import columns_of
from graphsvc.errors import GraphError, NotEnoughData
from graphsvc.snapshot import Span
from graphsvc.tables import events

# Shares are cut in whole billionths, so that both databases find exactly the same rank.
_UNITS = 10**9
#: Moments that part the spans.
_CUTS = len(Span) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """How interactions are cut into spans.

    An exposure at t is past a cumulative share c if c <= (exposures before t) / (exposures):
    equal times stay on one side. `global_time` counts all exposures together, as a service sees
    them; `per_user_time` counts each user's own, for data whose users live briefly.
    """

    protocol: Literal["global_time", "per_user_time"] = "global_time"
    #: Shares of exposures in GRAPH, TRAIN, VALID, CALIBRATE, TEST; their sum is 1. A larger GRAPH
    #: helps the embedding, a smaller one leaves more rows to the ranker; between .4 and .5 by
    #: judgment, with TEST figures of both in sight (docs/demo.md).
    shares: tuple[float, float, float, float, float] = (0.45, 0.15, 0.1, 0.1, 0.2)

    def __post_init__(self) -> None:
        if self.protocol not in ("global_time", "per_user_time"):
            raise GraphError(
                f"protocol should be global_time or per_user_time, received {self.protocol!r}"
            )
        if (
            len(self.shares) != len(Span)
            or not all(share > 0 for share in self.shares)
            or abs(sum(self.shares) - 1) > 1e-6
        ):
            raise GraphError(
                "shares should be five numbers above 0 whose sum is 1 (graph, train, valid, "
                f"calibrate, test), received {self.shares!r}"
            )

    @property
    def cumulated(self) -> tuple[int, ...]:
        """The cumulated shares of all spans but the last, in billionths."""
        return tuple(round(share * _UNITS) for share in accumulate(self.shares[:_CUTS]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cuts:
    """The last exposure time of every span but TEST: what happens later is in a later span.

    `user` are rows of the snapshot, sorted; None: the one row of `last` holds for everybody.
    """

    user: NDArray[np.int64] | None
    last: NDArray[np.int64]  # [users or 1, spans - 1]

    @property
    def as_of(self) -> int:
        """The last exposure time of GRAPH, over all users."""
        return int(self.last[:, 0].max())

    def spans(self, users: NDArray[np.int32], times: NDArray[np.int64]) -> NDArray[np.int8]:
        """The span of each (user row, time). A user without exposures is all GRAPH."""
        past = times[:, None] > self._last_of(users)
        return past.sum(axis=1, dtype=np.int8)

    def in_graph(self, users: NDArray[np.int32], times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each (user row, time) lies in GRAPH."""
        return times <= self._last_of(users)[:, 0]

    def _last_of(self, users: NDArray[np.int32]) -> NDArray[np.int64]:
        if self.user is None:
            return np.broadcast_to(self.last, (len(users), _CUTS))
        place = np.searchsorted(self.user, users).clip(max=len(self.user) - 1)
        known = self.user[place] == users
        return np.where(known[:, None], self.last[place], np.iinfo(np.int64).max)


def cut(
    connection: Connection,
    exposure: str,
    split: Split,
    *,
    seq: int,
    row_of: NDArray[np.int32],
    merged: Sequence[int] = (),
) -> Cuts:
    """The cuts of the log up to `seq`. Raises `NotEnoughData` where nothing can be cut.

    `row_of`: entity key -> row in the snapshot; keys in `merged` share theirs with others.
    """
    exposed = (events.c.event_name == exposure) & (events.c.seq <= seq)
    n = connection.scalar(select(func.count()).select_from(events).where(exposed)) or 0
    if n < len(Span):
        raise NotEnoughData(
            f"five spans need at least {len(Span)} {exposure} events, the log holds {n}"
        )
    if split.protocol == "per_user_time":
        return _per_user(connection, exposed, split, row_of=row_of, merged=merged)
    ordered = select(events.c.event_time).where(exposed).order_by(events.c.event_time)
    last = [
        connection.scalar(ordered.limit(1).offset(-(-n * share // _UNITS) - 1))
        for share in split.cumulated
    ]
    return Cuts(user=None, last=np.array([last], dtype=np.int64))


def _per_user(
    connection: Connection,
    exposed: ColumnElement[bool],
    split: Split,
    *,
    row_of: NDArray[np.int32],
    merged: Sequence[int],
) -> Cuts:
    user = events.c.actor
    ranked = (
        select(
            user.label("user"),
            events.c.event_time.label("time"),
            func.row_number().over(partition_by=user, order_by=events.c.event_time).label("rank"),
            func.count().over(partition_by=user).label("n"),
        )
        .where(exposed)
        .subquery()
    )
    # The rank of the last exposure before the cut: ceil(n * share).
    last = [
        func.max(
            case((ranked.c.rank == (ranked.c.n * share + (_UNITS - 1)) // _UNITS, ranked.c.time))
        )
        for share in split.cumulated
    ]
    query = select(ranked.c.user, *last).group_by(ranked.c.user)
    blocks = [block.astype(np.int64) for block in columns_of(connection, query)]
    key, *times = np.concatenate(blocks, axis=1)
    alone = ~np.isin(key, np.array(merged, dtype=np.int64))
    rows, cuts = [row_of[key[alone]]], [np.stack(times, axis=1)[alone]]
    if not alone.all():  # of several ids that are one person, the times together
        found = _together(connection, exposed, split, row_of=row_of, merged=key[~alone])
        rows.append(np.array(list(found), dtype=np.int32))
        cuts.append(np.array(list(found.values()), dtype=np.int64))
    row, cut_times = np.concatenate(rows), np.concatenate(cuts)
    order = np.argsort(row)
    return Cuts(user=row[order].astype(np.int64), last=cut_times[order])


def _together(
    connection: Connection,
    exposed: ColumnElement[bool],
    split: Split,
    *,
    row_of: NDArray[np.int32],
    merged: NDArray[np.int64],
) -> dict[int, list[int]]:
    """The cuts of those persons who have several ids, by row: the same rank, found in memory."""
    times: dict[int, list[int]] = defaultdict(list)
    for key in merged.tolist():
        query = select(events.c.event_time).where(exposed, events.c.actor == key)
        times[int(row_of[key])] += connection.scalars(query)
    found = {}
    for row, seen in times.items():
        seen.sort()
        ranks = [-(-len(seen) * share // _UNITS) for share in split.cumulated]
        found[row] = [seen[rank - 1] for rank in ranks]
    return found
