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

    People agree by an opt-in, or by an event that says so (`consent: true`); before the first such
    word nothing offsite is taken, whatever they do. Of who opted out nothing is left from before a
    barrier, and so it is for a snapshot of an earlier moment, too. Of several ids that became one,
    the first word is all of theirs. It is 0 for rows that are no people.
    """
    log, known = events.c, entities.c
    since = np.zeros(int(work.row_of.max(initial=-1)) + 1, dtype=np.int64)
    people = [kind.name for kind in work.schema.entities.values() if kind.person]
    for rows, _ in _rows(work, select(known.key, literal(0)).where(known.type.in_(people))):
        since[rows] = NEVER
    first, logged, said = func.min(log.event_time), log.seq <= work.seq, log.consent.is_(True)
    agreed = select(log.actor, first).where(or_(said, log.event_name == OPT_IN), logged)
    # An offsite event that was taken is one that both of its ends agreed to.
    both = select(log.object, first).where(
        said, log.action_source == "offsite", log.object.is_not(None), logged
    )
    for query in (agreed.group_by(log.actor), both.group_by(log.object)):
        for rows, time in _rows(work, query):
            np.minimum.at(since, rows, time)
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
