"""Several batches as one: what is written together is what would have been written in turn."""

import tomllib
from collections.abc import Sequence
from random import Random

import pytest
from semantics import NOW, SMALL_SCHEMA, event, tables
from world import SCHEMA, World

from graphsvc.batches import Batch, together
from graphsvc.db import Database
from graphsvc.ingest import Rules, Verdict, append, prepare
from graphsvc.schema import Schema, parse_schema


def apart(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Runs of batches that share no event, as long as they can be."""
    runs: list[list[Batch]] = []
    named: set[bytes] = set()
    for batch in batches:
        if not runs or not named.isdisjoint(batch.digests()):
            runs.append([])
            named = set()
        runs[-1].append(batch)
        named |= batch.digests()
    return runs


def write(database: Database, schema: Schema, batch: Batch) -> list[Verdict]:
    with database.transaction() as connection:
        return append(connection, schema, batch, now=NOW)


@pytest.mark.parametrize("seed", range(6))
def test_together_or_in_turn(both_databases: tuple[Database, Database], seed: int) -> None:
    schema = parse_schema(tomllib.loads(SCHEMA))
    chance = Random(seed)
    world = World(chance, NOW)
    raw = [world.batch(NOW, chance.randint(1, 12)) for _ in range(60)]

    def prepared() -> list[Batch]:
        rules = [Rules(backfill=n % 9 == 0) for n in range(len(raw))]
        return [prepare(schema, some, now=NOW, rules=r) for some, r in zip(raw, rules, strict=True)]

    first, second = both_databases if seed % 2 else reversed(both_databases)
    in_turn = [verdict for batch in prepared() for verdict in write(first, schema, batch)]
    runs = apart(prepared())
    at_once = [verdict for run in runs for verdict in write(second, schema, together(run))]
    assert at_once == in_turn
    assert tables(second) == tables(first)
    assert len(runs) < len(raw), "some were together"
    assert {"accepted", "duplicate", "conflict", "rejected"} <= {v.status for v in in_turn}


def test_places_count_on() -> None:
    click = event("click", "c1", "user/1", "item/1")
    told = event("set_attributes", "a1", "user/1", properties={"age": 1})
    old = event("click", "c2", "user/1", "item/1", event_time=0)
    bad = {"event_id": "b"}
    batches = [
        prepare(SMALL_SCHEMA, events, now=NOW) for events in ([bad, click, click], [old, told])
    ]
    whole = together(batches)
    assert [verdict is None for verdict in whole.verdicts] == [False, True, True, True, True]
    assert [entry.n for entry in whole.entries] == [1, 4]
    assert [repeat[:2] for repeat in whole.repeats] == [(2, 1)]
    assert [late[0] for late in whole.late] == [3]
    assert whole.properties == {4: {"age": 1}}
    assert together(batches[:1]) is batches[0]
