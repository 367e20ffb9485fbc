"""The ID tables that a ranker gets: who has which row, and what they take.

Takes examples and dials, gives placements and a plan; never makes a table. It can be asked before a
training, so that somebody reads the plan, and is part of each.
"""

from dataclasses import replace
from typing import NamedTuple

from graphsvc.snapshot import Span
from ranking.config import ARMS, RankerConfig
from ranking.examples import Examples
from ranking.idtables.placement import Placement, rank_by_frequency
from ranking.idtables.plan import TablePlan, Wanted, evicted, plan
from ranking.optimizer import LARGE


class Tables(NamedTuple):
    """Placements of both sides, and the plan that they fit."""

    heads: Placement
    tails: Placement
    plan: TablePlan

    def dials(self, config: RankerConfig) -> RankerConfig:
        """The dials of a ranker with what the plan made of those of its tables."""
        return replace(config, ids=self.plan.config)


def plan_tables(examples: Examples, config: RankerConfig) -> Tables:
    """Who gets a row of their own in TRAIN, as far as memory allows.

    Raises `TableMemory` where it does not, and `BackendMissing`.
    """
    rows, dials, arm = examples.rows[Span.TRAIN], config.ids, ARMS[config.arm]
    ranked = [
        rank_by_frequency(states.ids, dials, times=rows.time) for states in (rows.heads, rows.tails)
    ]
    vector = examples.maps.projections.shape[2]
    wanted = [
        Wanted(f"ids of {type_}", len(names), dials.buckets, vector if arm.begins else 0)
        for type_, names in zip((examples.head_type, examples.tail_type), ranked, strict=True)
    ]
    if arm.vectors:
        wanted += [
            table._replace(name=f"trained vectors of {type_}", width=vector, exact=True)
            for type_, table in zip((examples.head_type, examples.tail_type), wanted, strict=True)
        ]
    found = plan(wanted, dials, whole=LARGE * config.training.batch)
    if found.kept < 1.0:
        ranked = [evicted(names, found.kept) for names in ranked]
    heads, tails = (Placement(names, dials.buckets) for names in ranked)
    return Tables(heads, tails, found)
