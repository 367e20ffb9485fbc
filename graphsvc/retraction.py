"""Edges of which something was taken back: summed anew from the log, in order of time.

Takes the edges' names, gives their rows as the log has them; never touches any other edge.
"""

import json
from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import Connection

from graphsvc.builtin import RETRACT
from graphsvc.bulk import Insert, rows_among
from graphsvc.logread import aliases, straightened
from graphsvc.projection import Logged, Pair, empty_edge, standing
from graphsvc.schema import Schema

_RETRACTIONS = Insert(
    table="retractions",
    columns={"head": "bigint", "relation": "text", "tail": "bigint"},
    otherwise="ON CONFLICT DO NOTHING",
)
_REPLACED = Insert(
    table="edges",
    columns={
        "head": "bigint",
        "relation": "text",
        "tail": "bigint",
        "decayed": "double precision",
        "count": "bigint",
        "first_time": "bigint",
        "last_time": "bigint",
    },
)


def retracted_before(connection: Connection, pairs: Iterable[Pair]) -> set[Pair]:
    """Those of some edges of which something was taken back at any time."""
    if connection.exec_driver_sql("SELECT 1 FROM retractions LIMIT 1").fetchone() is None:
        return set()
    asked = set(pairs)
    query = "SELECT head, relation, tail FROM retractions WHERE head {among_numbers}"
    heads = sorted({head for head, _, _ in asked})
    return asked & {(row[0], row[1], row[2]) for row in rows_among(connection, query, heads)}


def sum_anew(connection: Connection, schema: Schema, pairs: Iterable[Pair]) -> None:
    """Replace the rows of some edges by what the whole log says of them.

    Edges without a standing event are gone. Costs a look at all that their heads ever did.
    """
    by_relation: dict[str, set[Pair]] = defaultdict(set)
    for pair in pairs:
        by_relation[pair[1]].add(pair)
    for relation, wanted in sorted(by_relation.items()):
        _sum_relation(connection, schema, relation, wanted)


def _sum_relation(connection: Connection, schema: Schema, relation: str, wanted: set[Pair]) -> None:
    declared = schema.events[relation]
    told: dict[Pair, list[tuple[int, bool, str]]] = defaultdict(list)
    for event, event_id in _events_of(connection, schema, relation, wanted):
        pair = (event.actor, relation, event.object or 0)
        if pair in wanted and (declared.self_loops or event.actor != event.object):
            told[pair].append((event.event_time, event.event_name == RETRACT, event_id))
    _forget(connection, wanted)
    rows = []
    for pair in sorted(wanted):
        edge = empty_edge(declared)
        for time in standing(told[pair], adds_up=declared.parallel):
            edge.add(time)
        if edge.count:
            rows.append((*pair, edge.decayed, edge.count, edge.first_time, edge.last_time))
    _REPLACED.run(connection, rows)
    taken_back = [pair for pair in sorted(wanted) if any(is_it for _, is_it, _ in told[pair])]
    _RETRACTIONS.run(connection, taken_back)


def _events_of(
    connection: Connection, schema: Schema, relation: str, wanted: set[Pair]
) -> list[tuple[Logged, str]]:
    """Of what the heads ever did, the events of the relation with one of the tails."""
    heads, tails = {head for head, _, _ in wanted}, {tail for _, _, tail in wanted}
    if relation in schema.undirected:  # merges may have turned them round
        heads = tails = heads | tails
    actors, objects = aliases(connection, heads), aliases(connection, tails)
    # The concatenation keeps the names from choosing the index: of a name there may be millions
    # of events, of an actor as a rule some hundred.
    query = (
        "SELECT seq, event_name, event_time, actor, object, relation, event_id FROM events WHERE "
        "(event_name || '' = {value} OR (event_name || '' = 'retract' AND relation = {value})) "
        "AND object {among_numbers} AND actor {among_numbers}"
    )
    where = (relation, relation, json.dumps(sorted(objects)))
    rows = rows_among(connection, query, sorted(actors), where=where)
    logged = [
        Logged(row[0], row[1], row[2], actors[row[3]], objects[row[4]], row[5]) for row in rows
    ]
    straight = straightened(connection, schema, logged)
    return list(zip(straight, (row[6] for row in rows), strict=True))


def _forget(connection: Connection, pairs: set[Pair]) -> None:
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    where = f"WHERE head = {mark} AND relation = {mark} AND tail = {mark}"
    for table in ("edges", "retractions"):
        connection.exec_driver_sql(f"DELETE FROM {table} {where}", sorted(pairs))  # noqa: S608
