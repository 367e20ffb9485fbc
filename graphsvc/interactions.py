"""The labelled rows of a snapshot: exposures, outcomes and negatives in the order of time.

Takes a connection and what an export shares, writes interactions; holds a few blocks, and the acts
of three label windows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import func, select

from graphsvc.columns import columns_of
from graphsvc.errors import NotEnoughData
from graphsvc.exporting import Export
from graphsvc.labels import ACT, END, EXPOSURE, NEGATIVE, OUTCOME, UNKNOWN, Acts, Labeler, acts
from graphsvc.snapshot import Span
from graphsvc.tables import events


def write_interactions(work: Export) -> None:
    """Every exposure with its label, every outcome, and negatives without an exposure.

    Raises `NotEnoughData` where a span has no exposure whose label is known.
    """
    label = work.schema.label
    names = {EXPOSURE: label.exposure, OUTCOME: label.outcome, NEGATIVE: label.negative}
    labeler = Labeler(
        window=round(label.window_minutes * 60),
        observed=work.at.as_of,
        either_way=not work.schema.events[label.outcome].directed,
    )
    known = np.zeros(len(Span), dtype=np.int64)
    young = 0
    streams = [_acts(work, kind, name) for kind, name in names.items() if name]
    for rows, before in in_time(streams):
        labelled = labeler.add(rows, before)
        span = work.cuts.spans(labelled["head"], labelled["time"])
        exposed = labelled["event"] == EXPOSURE
        decided = exposed & (labelled["label"] != UNKNOWN)
        known += np.bincount(span[decided], minlength=len(Span))
        young += int(exposed.sum() - decided.sum())
        work.draft.write(
            "interactions", {"span": span, **{name: labelled[name] for name in ACT.names or ()}}
        )
        work.tell(len(rows))
    if not known.all():
        found = ", ".join(f"{span.name} {known[span]}" for span in Span)
        waiting = f" ({young} more are younger than the label's window)" if young else ""
        raise NotEnoughData(
            f"each span needs a {label.exposure} event; the cut leaves {found}{waiting}: "
            "post more events, or choose other shares"
        )


def in_time(streams: list[Iterator[Acts]]) -> Iterator[tuple[Acts, int]]:
    """Streams that go forward in time, as one: (acts, second before which all have come).

    Of each stream at most a block is held, and what else has its last second.
    """
    ahead = [np.empty(0, dtype=ACT) for _ in streams]
    live = set(range(len(streams)))
    frontier = -1
    while live:
        for n in sorted(live):
            # Behind its last second more may come of the same second.
            while not len(ahead[n]) or ahead[n]["time"][-1] <= frontier:
                block = next(streams[n], None)
                if block is None:
                    live.discard(n)
                    break
                ahead[n] = np.concatenate([ahead[n], block])
        frontier = min((int(ahead[n]["time"][-1]) for n in live), default=END)
        ready = [rows[rows["time"] < frontier] for rows in ahead]
        ahead = [rows[rows["time"] >= frontier] for rows in ahead]
        yield np.concatenate(ready), frontier


def _acts(work: Export, kind: int, name: str) -> Iterator[Acts]:
    """The events of one name by time, without what ids that became one did to one another."""
    log = events.c
    columns: list[Any] = [log.event_time, log.actor, log.object]
    if kind == EXPOSURE:
        columns += [func.coalesce(log.position, -1), func.coalesce(log.sampling_rate, 1.0)]
    query = select(*columns).where(log.event_name == name, log.seq <= work.seq)
    loops = work.schema.events[name].self_loops
    for block in columns_of(work.connection, query.order_by(log.event_time)):
        head, tail = (work.row_of[keys] for keys in block[1:3].astype(np.int64))
        said = {}
        if kind == EXPOSURE:
            said = {"position": block[3].astype(np.int32), "sampling_rate": block[4]}
        rows = acts(kind, (head, tail), block[0].astype(np.int64), **said)
        yield rows if loops else rows[head != tail]
