"""The ID tables that a ranker gets: who has which row, and what they take.

Takes examples and dials, gives placements and a plan; never makes a table. It can be asked before a
training, so that somebody reads the plan, and is part of each.
"""

from dataclasses import replace
from typing import NamedTuple

from graphsvc.snapshot import Span
from ranking.config import ARMS, RankerConfig
from ranking.examples import Examples
from ranking.idtables.known import KnownRows
from ranking.idtables.placement import Placement, rank_by_frequency
from ranking.idtables.plan import TablePlan, Wanted, evicted, plan
from ranking.idtables.succession import next_placement
from ranking.optimizer import LARGE


class Tables(NamedTuple):
    """Placements of both sides, the plan that they fit, and what rows begin with."""

    heads: Placement
    tails: Placement
    plan: TablePlan
    #: Rows of heads and of tails that are known from elsewhere.
    known: tuple[KnownRows | None, KnownRows | None] = (None, None)

    def dials(self, config: RankerConfig) -> RankerConfig:
        """The dials of a ranker with what the plan made of those of its tables."""
        return replace(config, ids=self.plan.config)


def plan_tables(
    examples: Examples,
    config: RankerConfig,
    *,
    known: tuple[KnownRows | None, KnownRows | None] = (None, None),
) -> Tables:
    """Who gets a row of their own in TRAIN, as far as memory allows.

    `known`: rows of heads and of tails, of a ranker of before or pretrained; ids keep the slots
    that they have there, unless some are evicted for memory, and begin with those rows. Raises
    `TableMemory`, and `BackendMissing`.
    """
    rows, dials, arm = examples.rows[Span.TRAIN], config.ids, ARMS[config.arm]
    types = (examples.head_type, examples.tail_type)
    ranked = [
        rank_by_frequency(states.ids, dials, times=rows.time) for states in (rows.heads, rows.tails)
    ]
    placed = [_placed(names, dials.buckets, of) for names, of in zip(ranked, known, strict=True)]
    vector = examples.maps.projections.shape[2]
    width = vector if arm.begins else 0
    wanted = [
        Wanted(f"ids of {type_}", len(placement.exclusive), dials.buckets, width)
        for type_, placement in zip(types, placed, strict=True)
    ]
    if arm.vectors:
        wanted += [
            table._replace(name=f"trained vectors of {type_}", width=vector, exact=True)
            for type_, table in zip(types, wanted, strict=True)
        ]
    found = plan(wanted, dials, whole=LARGE * config.training.batch)
    if found.kept < 1.0:
        placed = [Placement(evicted(names, found.kept), dials.buckets) for names in ranked]
    return Tables(placed[0], placed[1], found, known)


def _placed(ranked: tuple[str, ...], buckets: int, known: KnownRows | None) -> Placement:
    if known is None:
        return Placement(ranked, buckets)
    return next_placement(known.placement, ranked, buckets)
