"""The graph at a watermark, as a sealed snapshot.

Takes a connection that sees one moment, gives a `Snapshot`; never holds the log in memory. Rows
are streamed in blocks; what is held is one number per entity, and one more where conversions are
offsite, four per user, the edges of one relation at a time, the acts of a few label windows,
outcomes and conversions, and which item is of which product or the like. The same events give the
same bytes, on either database, in whatever order they came: everything is read from the log up to
the watermark, and nothing from the tables that say how things are now but what has been taken out
of the log since.
"""

from itertools import groupby
from math import isinf
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from graphsvc.artifact import ArtifactStore
from graphsvc.asof import merges_at, retired_at
from graphsvc.attributelog import write_attributes
from graphsvc.columns import tuples_of
from graphsvc.conversions import Conversions, ties
from graphsvc.exporting import Export, ProgressOf
from graphsvc.interactions import write_interactions
from graphsvc.moment import Moment, moment_at_time, moment_of_seq, present_moment
from graphsvc.schema import Schema
from graphsvc.snapshot import (
    InteractionInfo,
    Layout,
    RelationInfo,
    Snapshot,
    TypeRange,
    draft_snapshot,
    seal_snapshot,
)
from graphsvc.split import Split, cut
from graphsvc.tables import entities, events
from graphsvc.triples import MOST_TAILS, write_triples

__all__ = [
    "Conversions",
    "Moment",
    "Split",
    "export_snapshot",
    "moment_at_time",
    "moment_of_seq",
    "present_moment",
]


def export_snapshot(
    connection: Connection,
    store: ArtifactStore,
    schema: Schema,
    split: Split,
    *,
    at: Moment | None = None,
    conversions: Conversions | None = None,
    progress: ProgressOf | None = None,
) -> Snapshot:
    """Seal the graph and its interactions as of a moment; by default the log's present end.

    A past moment gives the bytes that were sealed then, under the same schema and split, but for
    rows that have since been taken out of the log (opt-outs). Edges of people's events come from
    the span GRAPH only; structure is timeless. weight = relation weight * log2(1 + sum over
    standing events at t of 2^((t - as_of) / half-life)), as_of = the last exposure of GRAPH; our
    design. `conversions`: what counts as one; by default what the schema says, for a week.
    `progress` is told rows done and rows in all. Use `Database.reading()`. Raises `NotEnoughData`
    and `ConversionUnknown`.
    """
    moment = at or present_moment(connection)
    counted = conversions or Conversions()
    told = progress or (lambda _done, _total: None)
    with draft_snapshot(store) as draft:
        work = Export(connection, schema, draft, moment, told, _total(connection, schema, moment))
        work.conversions = counted.named(schema)
        work.conversion_seconds = counted.seconds
        work.tying = ties(schema, work.conversions)
        work.merges = merges_at(connection, work.seq)
        types = _write_entities(work)
        work.cuts = cut(
            connection,
            schema.label.exposure,
            split,
            seq=work.seq,
            row_of=work.row_of,
            merged=sorted({*work.merges, *work.merges.values()}),
        )
        _write_retired(work)
        write_attributes(work)
        for code, relation in enumerate(schema.relations):
            write_triples(work, code, relation)
        write_interactions(work)
        told(work.total, work.total)
        return seal_snapshot(store, draft, _layout(work, split, types), _dials(schema))


def _total(connection: Connection, schema: Schema, at: Moment) -> int:
    query = select(events.c.event_name, func.count()).where(events.c.seq <= at.seq)
    n = {row[0]: row[1] for row in connection.execute(query.group_by(events.c.event_name))}
    read = [relation.name for relation in schema.relations]
    read += [schema.label.exposure, schema.label.outcome, schema.label.negative or ""]
    return sum(n.get(name, 0) for name in read)


def _write_entities(work: Export) -> list[TypeRange]:
    """Entities by (type, id), by code point: PostgreSQL's own order depends on its locale."""
    connection = work.connection
    known = entities.c.first_seq <= work.seq
    size = (connection.scalar(select(func.max(entities.c.key)).where(known)) or 0) + 1
    work.row_of = np.full(size, -1, dtype=np.int32)
    counts = dict.fromkeys(work.schema.entities, 0)
    query = select(entities.c.key, entities.c.type, entities.c.id).where(known)
    query = query.order_by(
        _by_code_point(connection, entities.c.type), _by_code_point(connection, entities.c.id)
    )
    start = 0
    for block in tuples_of(connection, query):
        kept = [row for row in block if row[0] not in work.merges] if work.merges else block
        if not kept:
            continue
        keys, types, ids = zip(*kept, strict=True)
        work.row_of[np.array(keys)] = np.arange(start, start + len(keys))
        work.draft.write("entities", {"type": types, "id": ids})
        start += len(keys)
        for type_, group in groupby(types):
            counts[type_] = counts.get(type_, 0) + len(list(group))
    for duplicate, kept_key in work.merges.items():
        work.row_of[duplicate] = work.row_of[kept_key]
    ranges, start = [], 0
    for name in sorted(counts):  # ASCII: by code point here as well
        ranges.append(TypeRange(name, start, start + counts[name]))
        start += counts[name]
    return ranges


def _write_retired(work: Export) -> None:
    rows = [int(work.row_of[key]) for key in retired_at(work.connection, work.seq, work.merges)]
    work.draft.write("retired", {"row": sorted(rows)})


def _layout(work: Export, split: Split, types: list[TypeRange]) -> Layout:
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
            head=exposure.head,
            tail=exposure.tail,
            exposure=label.exposure,
            outcome=label.outcome,
            negative=label.negative,
            conversions=work.conversions,
            conversion_seconds=work.conversion_seconds,
            unseen=work.unseen,
        ),
        attributes={name: dict(kind.attributes) for name, kind in schema.entities.items()},
        watermark={"seq": work.seq, "as_of": work.cuts.as_of, "observed": work.at.as_of},
        split={"protocol": split.protocol, "shares": list(split.shares), "last_times": times},
    )


def _dials(schema: Schema) -> dict[str, Any]:
    def days(value: float) -> float | None:
        return None if isinf(value) else value

    return {
        "schema": schema.name,
        "most_tails": MOST_TAILS,
        "label_window_minutes": schema.label.window_minutes,
        "relations": {
            r.name: {
                "weight": r.weight,
                "half_life_days": days(r.half_life_days),
                "window_days": days(r.window_days),
                "parallel": r.parallel,
                "directed": r.directed,
                "self_loops": r.self_loops,
            }
            for r in schema.relations
        },
    }


def _by_code_point(connection: Connection, column: Any) -> Any:
    return column.collate("C") if connection.dialect.name == "postgresql" else column
