"""Writing what the projection sums up: edges, counters, attributes.

Takes changes, gives three statements; never reads an event, but for the edges that have to be
summed anew.
"""

from functools import lru_cache

from sqlalchemy import Connection

from graphsvc.bulk import Insert
from graphsvc.ids import canonical_json
from graphsvc.projection import Changes, decay_rate
from graphsvc.retraction import retracted_before, sum_anew
from graphsvc.schema import Schema

_COUNTERS = Insert(
    table="counters",
    columns={"entity": "bigint", "event_name": "text", "n": "bigint"},
    otherwise="ON CONFLICT (entity, event_name) DO UPDATE SET n = counters.n + excluded.n",
)
_ATTRIBUTES = Insert(
    table="attributes",
    columns={
        "entity": "bigint",
        "name": "text",
        "value": "text",
        "event_time": "bigint",
        "event_id": "text",
    },
    otherwise="""
        ON CONFLICT (entity, name) DO UPDATE SET
            value = excluded.value, event_time = excluded.event_time, event_id = excluded.event_id
        WHERE (excluded.event_time, excluded.event_id COLLATE {code_point})
            > (attributes.event_time, attributes.event_id)""",
)


def apply_changes(connection: Connection, schema: Schema, changes: Changes) -> None:
    """Add changes to the projected tables."""
    anew = changes.retracted | retracted_before(connection, changes.edges)
    _edges(_rates(schema), schema.single).run(
        connection,
        [
            (*name, edge.decayed, edge.count, edge.first_time, edge.last_time)
            for name, edge in changes.edges.items()
            if name not in anew
        ],
    )
    if anew:
        sum_anew(connection, schema, anew)
    _COUNTERS.run(connection, [(*name, n) for name, n in changes.counters.items()])
    _ATTRIBUTES.run(
        connection,
        [
            (*name, canonical_json(change.value).decode(), change.event_time, change.event_id)
            for name, change in changes.attributes.items()
        ],
    )


def _rates(schema: Schema) -> tuple[tuple[str, float], ...]:
    return tuple((relation.name, decay_rate(relation)) for relation in schema.relations)


@lru_cache(maxsize=8)
def _edges(rates: tuple[tuple[str, float], ...], single: frozenset[str]) -> Insert:
    """Adding to edges: the sum with the older `last_time` is decayed to the newer one.

    The exponent is bounded, because PostgreSQL calls 2^-1100 an error rather than 0.
    """
    cases = " ".join(
        f"WHEN '{name}' THEN CAST('{rate!r}' AS double precision)" for name, rate in rates if rate
    )
    rate = f"(CASE excluded.relation {cases} ELSE 0 END)" if cases else "0"
    decay = "power(2.0, greatest(-1000.0, least(0.0, ({older} - {newer}) * {rate})))"
    kept = decay.format(older="edges.last_time", newer="excluded.last_time", rate=rate)
    added = decay.format(older="excluded.last_time", newer="edges.last_time", rate=rate)
    sums = (
        f"edges.decayed * {kept} + excluded.decayed * {added}",
        "edges.count + excluded.count",
    )
    if single:
        names = ", ".join(f"'{name}'" for name in sorted(single))
        alone = "CASE WHEN excluded.relation IN ({names}) THEN 1 ELSE {sum} END"
        sums = (alone.format(names=names, sum=sums[0]), alone.format(names=names, sum=sums[1]))
    return Insert(
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
        otherwise=f"""
            ON CONFLICT (head, relation, tail) DO UPDATE SET
                decayed = {sums[0]},
                count = {sums[1]},
                first_time = least(edges.first_time, excluded.first_time),
                last_time = greatest(edges.last_time, excluded.last_time)""",
    )
