"""The graph at a watermark, as a sealed snapshot.

Takes a connection that sees one moment, gives a `Snapshot`; never holds the log in memory. Rows
are streamed in blocks; what is held is one number per entity, three per user, and the edges of one
relation at a time. The same log gives the same bytes, on either database.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from math import isinf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, case, exists, func, literal, or_, select
from sqlalchemy.sql import Select

from graphsvc.aggregate import EdgeSums
from graphsvc.artifact import ArtifactStore
from graphsvc.errors import NotEnoughData
from graphsvc.projection import decay_rate
from graphsvc.schema import EventType, Schema
from graphsvc.snapshot import (
    InteractionInfo,
    Layout,
    RelationInfo,
    Snapshot,
    SnapshotDraft,
    Span,
    TypeRange,
    draft_snapshot,
    seal_snapshot,
)
from graphsvc.split import Cuts, Split, cut
from graphsvc.tables import attributes, entities, events

__all__ = ["Split", "export_snapshot"]

#: Rows in a block.
_BLOCK = 50_000
#: Most recent tails of a (head, relation) that become triples; structure is not cut.
_MOST_TAILS = 200
_DAY_SECONDS = 86_400

ProgressOf = Callable[[int, int], None]


@dataclass(slots=True)
class _Export:
    """What the passes of one export share."""

    connection: Connection
    schema: Schema
    draft: SnapshotDraft
    cuts: Cuts
    #: The watermark: events up to here.
    seq: int
    told: ProgressOf
    total: int
    done: int = 0
    #: Entity key -> row in the snapshot.
    row_of: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    def tell(self, rows: int) -> None:
        self.done += rows
        self.told(min(self.done, self.total), self.total)


def export_snapshot(
    connection: Connection,
    store: ArtifactStore,
    schema: Schema,
    split: Split,
    *,
    progress: ProgressOf | None = None,
) -> Snapshot:
    """Seal the graph and its interactions as of the log's present end.

    Edges of people's events come from the span GRAPH only; structure is timeless. weight =
    relation weight * log2(1 + sum over events at t of 2^((t - as_of) / half-life)), as_of = the
    last exposure of GRAPH; our design. `progress` is told rows done and rows in all. Use
    `Database.reading()`. Raises `NotEnoughData`.
    """
    seq = connection.scalar(select(func.max(events.c.seq))) or 0
    cuts = cut(connection, schema, split, seq=seq)
    told = progress or (lambda _done, _total: None)
    with draft_snapshot(store) as draft:
        work = _Export(connection, schema, draft, cuts, seq, told, _total(connection, schema, seq))
        types = _write_entities(work)
        _write_attributes(work)
        for code, relation in enumerate(schema.relations):
            _write_triples(work, code, relation)
        _write_interactions(work)
        return seal_snapshot(store, draft, _layout(work, split, types), _dials(schema))


def _total(connection: Connection, schema: Schema, seq: int) -> int:
    query = select(events.c.event_name, func.count()).where(events.c.seq <= seq)
    n = {row[0]: row[1] for row in connection.execute(query.group_by(events.c.event_name))}
    read = [relation.name for relation in schema.relations]
    read += [schema.label.exposure, schema.label.outcome]
    return sum(n.get(name, 0) for name in read)


def _write_entities(work: _Export) -> list[TypeRange]:
    """Entities by (type, id), by code point: PostgreSQL's own order depends on its locale."""
    connection = work.connection
    size = (connection.scalar(select(func.max(entities.c.key))) or 0) + 1
    work.row_of = np.full(size, -1, dtype=np.int32)
    counts = dict.fromkeys(work.schema.entities, 0)
    query = select(entities.c.key, entities.c.type, entities.c.id).order_by(
        _by_code_point(connection, entities.c.type), _by_code_point(connection, entities.c.id)
    )
    start = 0
    for block in _blocks(connection, query):
        keys, types, ids = zip(*block, strict=True)
        work.row_of[np.array(keys)] = np.arange(start, start + len(keys))
        work.draft.write("entities", {"type": types, "id": ids})
        start += len(keys)
        for type_, group in groupby(types):
            counts[type_] = counts.get(type_, 0) + len(list(group))
    ranges, start = [], 0
    for name in sorted(counts):  # ASCII: by code point here as well
        ranges.append(TypeRange(name, start, start + counts[name]))
        start += counts[name]
    return ranges


def _write_attributes(work: _Export) -> None:
    connection = work.connection
    query = (
        select(attributes.c.entity, attributes.c.name, attributes.c.value)
        .join(entities, entities.c.key == attributes.c.entity)
        .where(attributes.c.value != "null")
        .order_by(
            _by_code_point(connection, entities.c.type),
            _by_code_point(connection, entities.c.id),
            _by_code_point(connection, attributes.c.name),
        )
    )
    for block in _blocks(connection, query):
        keys, names, values = zip(*block, strict=True)
        rows = work.row_of[np.array(keys)]
        work.draft.write("attributes", {"row": rows, "name": names, "value": values})


def _write_triples(work: _Export, code: int, relation: EventType) -> None:
    """The edges of one relation, sorted by head and tail."""
    timeless = relation.source == "structure"
    as_of = work.cuts.as_of
    conditions = [events.c.event_name == relation.name, events.c.seq <= work.seq]
    if not isinf(relation.window_days):
        conditions.append(events.c.event_time >= as_of - round(relation.window_days * _DAY_SECONDS))
    query = (
        select(events.c.actor, events.c.object, events.c.event_time)
        .where(and_(*conditions))
        .order_by(events.c.event_time, events.c.seq)  # sums must not depend on the plan
    )
    sums = EdgeSums(rate=decay_rate(relation), as_of=as_of)
    for block in _blocks(work.connection, query):
        head, tail, time = np.array([tuple(row) for row in block], dtype=np.int64).T
        work.tell(len(time))
        if not timeless:
            kept = _in_graph(work, relation, head, tail, time)
            head, tail, time = head[kept], tail[kept], time[kept]
        sums.add(work.row_of[head], work.row_of[tail], time)
    edges = sums.edges() if timeless else sums.edges(most_tails=_MOST_TAILS)
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


def _in_graph(
    work: _Export,
    relation: EventType,
    head: NDArray[np.int64],
    tail: NDArray[np.int64],
    time: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether each event lies in GRAPH, by the clock of whichever end is a shown-to person."""
    shown_to = work.schema.events[work.schema.label.exposure].head
    return work.cuts.in_graph(tail if relation.head != shown_to == relation.tail else head, time)


def _write_interactions(work: _Export) -> None:
    """Every exposure, with its label, and every outcome, in the order of the log."""
    label = work.schema.label
    in_spans = np.zeros(len(Span), dtype=np.int64)
    for block in _blocks(work.connection, _interactions(work)):
        columns = np.array([tuple(row) for row in block], dtype=np.int64).T
        head, tail, time, outcome, followed = columns
        span = work.cuts.spans(head, time)
        in_spans += np.bincount(span[outcome == 0], minlength=len(Span))
        work.draft.write(
            "interactions",
            {
                "head": work.row_of[head],
                "tail": work.row_of[tail],
                "event": outcome.astype(np.int8),
                "time": time,
                "label": np.where(outcome == 0, followed, -1).astype(np.int8),
                "span": span,
            },
        )
        work.tell(len(time))
    if not in_spans.all():
        found = ", ".join(f"{span.name} {in_spans[span]}" for span in Span)
        raise NotEnoughData(
            f"each span needs a {label.exposure} event; the cut leaves {found}: "
            "post more events, or choose other shares"
        )


def _interactions(work: _Export) -> Select[Any]:
    label = work.schema.label
    window = round(label.window_minutes * 60)
    later = events.alias("later")
    followed = exists().where(
        later.c.actor == events.c.actor,
        later.c.object == events.c.object,
        later.c.event_time.between(events.c.event_time, events.c.event_time + window),
        later.c.event_name == label.outcome,
        later.c.seq <= work.seq,
        events.c.event_name == label.exposure,
    )
    is_outcome = events.c.event_name == label.outcome
    one, zero = literal(1), literal(0)
    return (
        select(
            events.c.actor,
            events.c.object,
            events.c.event_time,
            case((is_outcome, one), else_=zero),
            case((followed, one), else_=zero),
        )
        .where(or_(is_outcome, events.c.event_name == label.exposure), events.c.seq <= work.seq)
        .order_by(events.c.seq)
    )


def _layout(work: _Export, split: Split, types: list[TypeRange]) -> Layout:
    schema, label = work.schema, work.schema.label
    exposure = schema.events[label.exposure]
    times = work.cuts.last[0].tolist() if work.cuts.user is None else []
    return Layout(
        types=types,
        relations=[
            RelationInfo(name=r.name, head=r.head, tail=r.tail, source=r.source)
            for r in schema.relations
        ],
        interaction=InteractionInfo(
            head=exposure.head, tail=exposure.tail, exposure=label.exposure, outcome=label.outcome
        ),
        attributes={name: dict(kind.attributes) for name, kind in schema.entities.items()},
        watermark={"seq": work.seq, "as_of": work.cuts.as_of},
        split={"protocol": split.protocol, "shares": list(split.shares), "last_times": times},
    )


def _dials(schema: Schema) -> dict[str, Any]:
    def days(value: float) -> float | None:
        return None if isinf(value) else value

    return {
        "schema": schema.name,
        "most_tails": _MOST_TAILS,
        "label_window_minutes": schema.label.window_minutes,
        "relations": {
            r.name: {
                "weight": r.weight,
                "half_life_days": days(r.half_life_days),
                "window_days": days(r.window_days),
            }
            for r in schema.relations
        },
    }


def _blocks(connection: Connection, query: Select[Any]) -> Iterator[list[Any]]:
    """The rows of a query in blocks, through a cursor that the database keeps open."""
    result = connection.execution_options(yield_per=_BLOCK).execute(query)
    yield from (list(block) for block in result.partitions())


def _by_code_point(connection: Connection, column: Any) -> Any:
    return column.collate("C") if connection.dialect.name == "postgresql" else column
