"""Since when what people do offsite is in the log: whose lack of a conversion says anything.

Takes an export, gives a second for each row of the snapshot; never looks at what was done. Our
design.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, literal, or_, select
from sqlalchemy.sql import Select

from graphsvc.builtin import OPT_IN
from graphsvc.columns import columns_of
from graphsvc.dedupe import NEVER
from graphsvc.exporting import Export
from graphsvc.tables import consents, entities, events

Numbers = NDArray[np.int64]


def known_since(work: Export) -> Numbers:
    """[rows] the first second from which somebody's offsite events are kept; `NEVER`: none are.

    People agree by an opt-in, or by an event that says so (`consent: true`): of others nothing
    offsite is taken, whatever they do. Of who took it back nothing is left from before a barrier,
    and so it is for a snapshot of an earlier moment, too. It is 0 for rows that are no people.
    """
    log, known = events.c, entities.c
    since = np.zeros(int(work.row_of.max(initial=-1)) + 1, dtype=np.int64)
    people = [kind.name for kind in work.schema.entities.values() if kind.person]
    for rows, _ in _rows(work, select(known.key, literal(0)).where(known.type.in_(people))):
        since[rows] = NEVER
    said = log.consent.is_(True)
    logged = log.seq <= work.seq
    agreed = select(log.actor, literal(0)).where(or_(said, log.event_name == OPT_IN), logged)
    # An offsite event that was taken is one that both of its ends agreed to.
    both = select(log.object, literal(0)).where(
        said, log.action_source == "offsite", log.object.is_not(None), logged
    )
    for query in (agreed, both):
        for rows, _ in _rows(work, query.distinct()):
            since[rows] = 0
    canonical = func.coalesce(known.merged_into, known.key)
    barred = select(known.key, consents.c.barrier).join(consents, consents.c.entity == canonical)
    for rows, barrier in _rows(work, barred.where(consents.c.barrier > 0)):
        np.maximum.at(since, rows, barrier)
    return since


def _rows(work: Export, query: Select[Any]) -> Iterator[tuple[Numbers, Numbers]]:
    """(row, number) of a query's keys and numbers; not of ids that came after the snapshot."""
    for block in columns_of(work.connection, query):
        key, number = block.astype(np.int64)
        known = key < len(work.row_of)
        rows = work.row_of[key[known]].astype(np.int64)
        yield rows[rows >= 0], number[known][rows >= 0]
