"""The edges of a snapshot: what the events of each relation add up to by the cut.

Takes a connection and what an export shares, writes triples; holds the edges of one relation at a
time, and the events of those edges of which something was taken back.
"""

from collections.abc import Iterator
from math import isinf

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, select

from graphsvc.aggregate import EdgeSums
from graphsvc.builtin import RETRACT
from graphsvc.columns import columns_of
from graphsvc.exporting import Export
from graphsvc.projection import decay_rate
from graphsvc.schema import EventType
from graphsvc.standing import stands
from graphsvc.tables import events

#: Most recent tails of a (head, relation) that become triples; structure is not cut.
MOST_TAILS = 200
_DAY_SECONDS = 86_400

#: head row, tail row, time
Columns = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]


def write_triples(work: Export, code: int, relation: EventType) -> None:
    """The edges of one relation, sorted by head and tail."""
    timeless = relation.source == "structure"
    sums = EdgeSums(
        rate=0.0 if timeless else decay_rate(relation),
        as_of=work.cuts.as_of,
        adds_up=relation.parallel,
    )
    taken_back = _columns(work, relation, of_retractions=True)
    touched = np.unique(_pair(taken_back))
    held: list[Columns] = []
    for columns in _blocks(work, relation, unbounded=bool(len(touched))):
        apart = np.isin(_pair(columns), touched)
        held.append(_chosen(columns, apart))
        _add(sums, work, relation, _chosen(columns, ~apart))
    if held and len(touched):
        _add(sums, work, relation, _left(_joined(held), taken_back, adds_up=relation.parallel))
    edges = sums.edges() if timeless else sums.edges(most_tails=MOST_TAILS)
    if relation.name in work.tying:
        work.ties.append((edges.head, edges.tail))
    work.draft.write(
        "triples",
        {
            "head": edges.head,
            "relation": np.full(len(edges.head), code, dtype=np.int16),
            "tail": edges.tail,
            "weight": (relation.weight * np.log2(1.0 + edges.decayed)).astype(np.float32),
            "time": edges.time,
        },
    )


def _add(sums: EdgeSums, work: Export, relation: EventType, columns: Columns) -> None:
    head, tail, time = columns
    if relation.source != "structure" and not isinf(relation.window_days):
        recent = time >= work.cuts.as_of - round(relation.window_days * _DAY_SECONDS)
        head, tail, time = head[recent], tail[recent], time[recent]
    sums.add(head, tail, time)


def _left(held: Columns, taken_back: Columns, *, adds_up: bool) -> Columns:
    """Those of some events that stand after some retractions."""
    both = _joined([held, taken_back])
    is_retraction = np.arange(len(both[0])) >= len(held[0])
    return _chosen(both, stands(_pair(both), both[2], taken_back=is_retraction, adds_up=adds_up))


def _columns(work: Export, relation: EventType, *, of_retractions: bool) -> Columns:
    return _joined(list(_blocks(work, relation, of_retractions=of_retractions)))


def _blocks(
    work: Export, relation: EventType, *, unbounded: bool = True, of_retractions: bool = False
) -> Iterator[Columns]:
    """The events of a relation, or their retractions, that the graph may know."""
    log = events.c
    wanted = [log.seq <= work.seq]
    if of_retractions:
        wanted += [log.event_name == RETRACT, log.relation == relation.name]
    else:
        wanted.append(log.event_name == relation.name)
    timeless = relation.source == "structure"
    if not timeless and work.cuts.user is None:
        wanted.append(log.event_time <= work.cuts.as_of)
    if not (timeless or unbounded or isinf(relation.window_days)):
        since = work.cuts.as_of - round(relation.window_days * _DAY_SECONDS)
        wanted.append(log.event_time >= since)
    query = select(log.actor, log.object, log.event_time).where(and_(*wanted))
    shown_to = work.schema.events[work.schema.label.exposure].head
    for block in columns_of(work.connection, query):
        head, tail = (work.row_of[keys] for keys in block[:2].astype(np.int64))
        time = block[2].astype(np.int64)
        if not of_retractions:
            work.tell(len(time))
        if not relation.directed:  # rows of one type are in the order of ids
            head, tail = np.minimum(head, tail), np.maximum(head, tail)
        kept = np.ones(len(time), dtype=bool)
        if not relation.self_loops:
            kept &= head != tail  # two ids that were merged
        if not timeless:
            # By the clock of whichever end is a shown-to person.
            person = tail if relation.head != shown_to == relation.tail else head
            kept &= work.cuts.in_graph(person, time)
        yield head[kept], tail[kept], time[kept]


def _pair(columns: Columns) -> NDArray[np.int64]:
    return (columns[0].astype(np.int64) << 32) | columns[1]


def _chosen(columns: Columns, rows: NDArray[np.bool_]) -> Columns:
    return columns[0][rows], columns[1][rows], columns[2][rows]


def _joined(blocks: list[Columns]) -> Columns:
    none = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))
    head, tail, time = zip(none, *blocks, strict=True)
    return np.concatenate(head), np.concatenate(tail), np.concatenate(time)
