"""Every version of every attribute, as a snapshot keeps them.

Takes a connection and what an export shares, writes attributes; holds a block, and what was said of
entities that were merged.
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, select

from graphsvc.builtin import SET_ATTRIBUTES
from graphsvc.columns import tuples_of
from graphsvc.exporting import Export
from graphsvc.ids import canonical_json
from graphsvc.tables import entities, events

#: event_time, event_id, JSON text
Said = tuple[int, str, str]


def write_attributes(work: Export) -> None:
    """By entity, name and time. Of the same second the greatest event id counts, as everywhere."""
    columns: dict[str, list[Any]] = {"row": [], "name": [], "value": [], "time": []}
    for row, said in _by_row(work):
        versions: dict[tuple[str, int], tuple[str, Any]] = {}
        for time, event_id, text in said:
            for name, value in json.loads(text).items():
                version = versions.get((name, time))
                if version is None or version[0] < event_id:
                    versions[name, time] = (event_id, value)
        for (name, time), (_, value) in sorted(versions.items(), key=lambda item: item[0]):
            columns["row"].append(row)
            columns["name"].append(name)
            columns["value"].append(canonical_json(value).decode())
            columns["time"].append(time)
        if len(columns["row"]) >= 10_000:
            work.draft.write("attributes", columns)
            columns = {name: [] for name in columns}
    work.draft.write("attributes", columns)


def _by_row(work: Export) -> Iterator[tuple[int, list[Said]]]:
    """What was said of each entity, in the order of rows."""
    apart = _of_merged(work)
    others = deque(sorted(apart))
    row, said = -1, list[Said]()
    for block in tuples_of(work.connection, _query(work)):
        for key, *rest in block:
            if key in work.merges:
                continue
            here = int(work.row_of[key])
            if here != row:
                if said:
                    yield row, said + apart.pop(row, [])
                yield from _before(here, others, apart)
                row, said = here, []
            said.append((rest[0], rest[1], rest[2]))
    if said:
        yield row, said + apart.pop(row, [])
    yield from _before(len(work.row_of), others, apart)


def _before(
    row: int, others: deque[int], apart: dict[int, list[Said]]
) -> Iterator[tuple[int, list[Said]]]:
    """What is left of merged entities that lie before a row."""
    while others and others[0] < row:
        other = others.popleft()
        if other in apart:
            yield other, apart.pop(other)


def _of_merged(work: Export) -> dict[int, list[Said]]:
    """What was said of ids that were merged, by the row of the entity that they are part of."""
    found: dict[int, list[Said]] = defaultdict(list)
    for key in sorted(work.merges):
        query = _query(work, ordered=False).where(events.c.actor == key)
        for _, time, event_id, text in work.connection.execute(query):
            found[int(work.row_of[key])].append((time, event_id, text))
    return dict(found)


def _query(work: Export, *, ordered: bool = True) -> Select[Any]:
    log = events.c
    query = select(log.actor, log.event_time, log.event_id, log.properties).where(
        log.event_name == SET_ATTRIBUTES, log.seq <= work.seq
    )
    if not ordered:
        return query
    # By code point, as the snapshot's rows are.
    names: list[Any] = [entities.c.type, entities.c.id]
    if work.connection.dialect.name == "postgresql":
        names = [name.collate("C") for name in names]
    return query.join(entities, entities.c.key == log.actor).order_by(*names)
