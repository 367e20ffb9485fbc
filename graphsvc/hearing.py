"""Up to when a lack of events says anything: where the log of each source ends.

Takes an export, gives a second; never looks at who did what. Our design.
"""

from collections.abc import Iterable

from sqlalchemy import func, select

from graphsvc.exporting import Export
from graphsvc.tables import events


def heard_until(work: Export, names: Iterable[str]) -> int:
    """The second up to which events of these names would be in the log, had they happened.

    That is the last event of their source (onsite, offsite), and of several sources the one that
    ends first: a log may be posted long after it happened, and a feed may lag behind the others. It
    is never later than the moment that the export is of, and 0 where a source has said nothing.
    All events of a source are taken to come by one feed: that of a rare event is not to be told
    from nothing having happened.
    """
    log, schema = events.c, work.schema
    until = work.at.as_of
    for source in {schema.events[name].source for name in names}:
        # One name at a time: each is a step into the index of (event_name, event_time), and for a
        # moment that is past a walk over what has come since.
        last = [
            work.connection.scalar(
                select(func.max(log.event_time)).where(
                    log.event_name == event.name, log.seq <= work.seq
                )
            )
            for event in schema.events.values()
            if event.source == source
        ]
        until = min(until, max((time for time in last if time is not None), default=0))
    return until
