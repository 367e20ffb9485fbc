"""A small schema that has every kind of relation, events of it, and the tables by natural names."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from graphsvc.db import Database
from graphsvc.ingest import Rules, Verdict, ingest
from graphsvc.schema import parse_schema
from graphsvc.tables import attributes, consents, counters, edges, entities, retractions

NOW = 1_767_225_600
DAY = 86_400

SMALL_SCHEMA = parse_schema(
    {
        "name": "small",
        "entities": {
            "user": {"person": True, "attributes": {"country": "category", "age": "number"}},
            "item": {"attributes": {"title": "text"}},
        },
        "relations": {
            "click": {"head": "user", "tail": "item", "source": "onsite"},
            "buy": {"head": "user", "tail": "item", "source": "offsite"},
            "told": {"head": "item", "tail": "user", "source": "offsite"},
            "part_of": {
                "head": "item",
                "tail": "item",
                "source": "structure",
                "parallel": False,
                "self_loops": False,
            },
            "friend": {"head": "user", "tail": "user", "source": "onsite", "directed": False},
        },
        "observations": {"shown": {"head": "user", "tail": "item", "source": "onsite"}},
        "label": {"exposure": "shown", "outcome": "click"},
    }
)


def event(
    name: str, event_id: str, actor: str, target: str | None = None, **more: Any
) -> dict[str, Any]:
    """An event of the small schema. Ends are written `type/id`; the source follows the name."""
    relation = more.get("relation", name)
    declared = SMALL_SCHEMA.events.get(relation)
    ends = [
        dict(zip(("type", "id"), end.split("/"), strict=True)) for end in (actor, target) if end
    ]
    made: dict[str, Any] = {
        "event_id": event_id,
        "event_name": name,
        "event_time": NOW,
        "action_source": declared.source if declared else "structure",
        "actor": ends[0],
        **more,
    }
    if target:
        made["object"] = ends[1]
    if made["action_source"] == "offsite":
        made.setdefault("consent", True)
    return made


def post(database: Database, *raw: Any, backfill: bool = False, now: int = NOW) -> list[Verdict]:
    """Ingest events of the small schema in one transaction."""
    with database.transaction() as connection:
        return ingest(connection, SMALL_SCHEMA, raw, now=now, rules=Rules(backfill=backfill))


def statuses(verdicts: Sequence[Verdict]) -> list[str]:
    """The status of each verdict, or its code if it was rejected."""
    return [verdict.code or verdict.status for verdict in verdicts]


def tables(database: Database) -> dict[str, dict[Any, Any]]:
    """The projections by natural names; numbers that were rounded have nine digits."""
    with database.reading() as connection:
        names = {row.key: f"{row.type}/{row.id}" for row in connection.execute(select(entities))}
        return {
            "edges": {
                (names[row.head], row.relation, names[row.tail]): (
                    row.count,
                    row.first_time,
                    row.last_time,
                    float(f"{row.decayed:.9g}"),
                )
                for row in connection.execute(select(edges))
            },
            "counters": {
                (names[row.entity], row.event_name): row.n
                for row in connection.execute(select(counters))
            },
            "attributes": {
                (names[row.entity], row.name): (row.value, row.event_time, row.event_id)
                for row in connection.execute(select(attributes))
            },
            "retractions": {
                (names[row.head], row.relation, names[row.tail]): True
                for row in connection.execute(select(retractions))
            },
            "consents": {
                names[row.entity]: (row.state, row.time, row.barrier)
                for row in connection.execute(select(consents))
            },
            "entities": {
                names[row.key]: (row.retired, row.retired_time, names.get(row.merged_into))
                for row in connection.execute(select(entities))
            },
        }
