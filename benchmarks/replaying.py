"""What a change of the schema costs that has to replay the log.

Takes the kind of database, gives events per second: a half-life is changed, so every edge is summed
anew in the transaction of the change.
"""

import time
from collections.abc import Iterator
from typing import Any

from market import Market
from places import place

from graphsvc import versions
from graphsvc.db import Database
from graphsvc.evolution import change
from graphsvc.ingest import ingest
from graphsvc.schema import load_schema, parse_schema, to_document
from migrations import upgrade

EVENTS = 200_000
ROUNDS = 3


def measure_replay(kind: str) -> dict[str, Any]:
    """The slowest and the fastest of some replays of one log."""
    now = int(time.time())
    with place(kind) as (folder, given):
        url = given or f"sqlite:///{folder}/graph.sqlite"
        upgrade(url)
        database = Database(url)
        ads = load_schema("ads")
        with database.transaction() as connection:
            versions.seed(connection, ads, now=now)
        for batch in _mixed(now - 30 * 3600):
            with database.transaction() as connection:
                ingest(connection, ads, batch, now=now)
        rates = sorted(_replayed(database, half_life=20.0 + n, now=now) for n in range(ROUNDS))
        database.dispose()
    return {"slowest_per_second": rates[0], "fastest_per_second": rates[-1], "events": EVENTS}


def _mixed(start: int) -> Iterator[list[dict[str, Any]]]:
    """The market, where some events are taken back: a replay does not just add these."""
    for batch in Market().events(EVENTS, start=start):
        for event in batch[::100]:
            if event["event_name"] == "click":
                event |= {"event_name": "retract", "relation": "click"}
        yield batch


def _replayed(database: Database, *, half_life: float, now: int) -> float:
    with database.transaction() as connection:
        document = to_document(versions.current(connection))
        document["relations"]["click"]["half_life_days"] = half_life
        began = time.perf_counter()
        made = change(connection, parse_schema(document), reason="measured", now=now, patient=True)
    return made.replayed / (time.perf_counter() - began)
