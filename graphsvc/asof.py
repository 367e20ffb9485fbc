"""Who was who at a moment: which ids were merged, what was retired.

Takes a connection and the last row of the log that counts, gives keys; never looks at the tables
that say how things are now, since they know what came later.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, select

from graphsvc.builtin import MERGE, RESTORE, RETIRE
from graphsvc.tables import events


def merges_at(connection: Connection, seq: int) -> dict[int, int]:
    """The key of every entity that was merged by row `seq` -> the key that stands for it."""
    into: dict[int, int] = {}

    def root(key: int) -> int:
        while key in into:
            key = into[key]
        return key

    query = select(events.c.actor, events.c.object).where(
        events.c.event_name == MERGE, events.c.seq <= seq
    )
    for row in connection.execute(query.order_by(events.c.seq)):
        duplicate, kept = root(row.actor), root(row.object)
        if duplicate != kept:
            into[duplicate] = kept
    return {key: root(key) for key in into}


def retired_at(connection: Connection, seq: int, merges: Mapping[int, int]) -> set[int]:
    """The keys of what was out of answers: the last word by event time, `retire` in a tie."""
    last: dict[int, tuple[int, bool]] = {}
    query = select(events.c.actor, events.c.event_time, events.c.event_name).where(
        events.c.event_name.in_((RETIRE, RESTORE)), events.c.seq <= seq
    )
    for row in connection.execute(query):
        key = merges.get(row.actor, row.actor)
        said = (row.event_time, row.event_name == RETIRE)
        last[key] = max(last.get(key, said), said)
    return {key for key, (_, retired) in last.items() if retired}
