"""The labelled rows of a snapshot: exposures, outcomes and negatives in the order of time.

Takes a connection and what an export shares, writes interactions; holds a few blocks, the acts of
three label windows, and, where something counts as a conversion, all outcomes and conversions, and
since when each row's are known.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from graphsvc.agreement import known_since
from graphsvc.columns import columns_of
from graphsvc.conversions import Deeds, Led, Ties, converted
from graphsvc.errors import NotEnoughData
from graphsvc.exporting import Export
from graphsvc.hearing import heard_until
from graphsvc.labels import ACT, END, EXPOSURE, NEGATIVE, OUTCOME, UNKNOWN, Acts, Labeler, acts
from graphsvc.snapshot import Span
from graphsvc.tables import events


class _Led(NamedTuple):
    """What is known of conversions."""

    #: The clicks that led to one.
    clicks: Led
    #: [rows] from when on one would be in the log.
    since: NDArray[np.int64]
    #: Up to when one would be.
    until: int


def write_interactions(work: Export) -> None:
    """Every exposure with its labels, every outcome, and negatives without an exposure.

    Raises `NotEnoughData` where a span has no exposure whose label is known.
    """
    label = work.schema.label
    names = {EXPOSURE: label.exposure, OUTCOME: label.outcome, NEGATIVE: label.negative}
    labeler = Labeler(
        window=round(label.window_minutes * 60),
        observed=work.at.as_of,
        either_way=not work.schema.events[label.outcome].directed,
    )
    led = _led(work)
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
            "interactions",
            {
                "span": span,
                "conversion": _conversions(work, labelled, led),
                **{name: labelled[name] for name in ACT.names or ()},
            },
        )
        work.tell(len(rows))
    if not known.all():
        found = ", ".join(f"{span.name} {known[span]}" for span in Span)
        waiting = f" ({young} more are younger than the label's window)" if young else ""
        raise NotEnoughData(
            f"each span needs a {label.exposure} event; the cut leaves {found}{waiting}: "
            "post more events, or choose other shares"
        )


def _conversions(work: Export, labelled: Acts, led: _Led | None) -> NDArray[np.int8]:
    """Of exposures that were clicked: whether that led to a conversion, as far as it is known.

    It is not before the window of the last click that may belong to it is over, by the clock and
    by the log, nor where a conversion would have been kept from the log, whatever is there: to keep
    only the quick ones would teach that the new is good, and to call the unseen ones 0 that who
    does not agree never buys.
    """
    found = np.full(len(labelled), UNKNOWN, dtype=np.int8)
    if led is None:
        return found
    window = round(work.schema.label.window_minutes * 60)
    clicked = (labelled["event"] == EXPOSURE) & (labelled["label"] == 1)
    ends = labelled["time"] + window + work.conversion_seconds
    since = np.maximum(led.since[labelled["head"]], led.since[labelled["tail"]])
    seen = since <= labelled["time"]
    work.unseen += int((clicked & (ends <= work.at.as_of) & ~seen).sum())
    asked = np.flatnonzero(clicked & (ends <= led.until) & seen)
    head, tail = (labelled[name][asked].astype(np.int64) for name in ("head", "tail"))
    found[asked] = led.clicks.within(Deeds(head, tail, labelled["time"][asked]), window)
    return found


def _led(work: Export) -> _Led | None:
    """The outcomes that a conversion belongs to; None where nothing counts as one."""
    if not work.conversions:
        return None
    outcome = work.schema.label.outcome
    either_way = not work.schema.events[outcome].directed
    clicks = _deeds(work, [outcome]).in_order()
    deeds = _deeds(work, work.conversions)
    pairs = [np.stack(tie) for tie in work.ties]
    item, target = np.concatenate([np.empty((2, 0), np.int64), *pairs], axis=1)
    order = np.argsort(item, kind="stable")
    owed = converted(clicks, deeds, Ties(item[order], target[order]), work.conversion_seconds)
    # Another click would take the conversion away from this one.
    until = heard_until(work, [outcome, *work.conversions])
    return _Led(Led(clicks.take(owed), either_way=either_way), _since(work), until)


def _since(work: Export) -> NDArray[np.int64]:
    """[rows] the first second from which a conversion of theirs would be in the log."""
    offsite = any(work.schema.events[name].source == "offsite" for name in work.conversions)
    return known_since(work) if offsite else np.zeros(len(work.row_of), dtype=np.int64)


def _deeds(work: Export, names: Iterable[str]) -> Deeds:
    """All events of some names; those without a direction both ways."""
    log = events.c
    found: list[Deeds] = []
    for name in names:
        kind = work.schema.events[name]
        query = select(log.actor, log.object, log.event_time).where(
            log.event_name == name, log.seq <= work.seq
        )
        for block in columns_of(work.connection, query):
            head, tail = (work.row_of[keys].astype(np.int64) for keys in block[:2].astype(np.int64))
            deeds = Deeds(head, tail, block[2].astype(np.int64))
            if not kind.self_loops:
                deeds = deeds.take(head != tail)
            found.append(deeds if kind.directed else deeds.turned_too())
    none = np.empty(0, np.int64)
    columns = zip(Deeds(none, none, none), *found, strict=True)
    return Deeds(*(np.concatenate(column) for column in columns))


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
