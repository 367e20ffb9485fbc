"""What the database can do: the statements of an ingest, with everything made ready beforehand.

Takes batches of events, gives events per second. The ingest runs once into a database that is
thrown away, while every statement, its values and its COPY buffers are written down; then they are
run again in an empty one, and only that is timed.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from places import place
from sqlalchemy import event

from graphsvc.bulk import Staging, as_line
from graphsvc.db import Database
from graphsvc.ingest import append, prepare
from graphsvc.schema import load_schema
from migrations import upgrade

#: Lines of a bulk stream that make one transaction.
CHUNK = 3000

#: ("copy", statement, text) or ("run", statement, values); a list of them is a transaction.
Step = tuple[str, str, Any]


def measure_raw(kind: str, batches: Sequence[Sequence[Any]]) -> float:
    """Events per second of the bare statements."""
    events = [event for batch in batches for event in batch]
    with place(kind) as (folder, url):
        steps = _record(_url(folder, url), events)
    with place(kind) as (folder, url):
        return len(events) / _replay(_url(folder, url), steps)


def _url(folder: Path, url: str) -> str:
    return url or f"sqlite:///{folder}/graph.sqlite"


def _record(url: str, events: Sequence[Any]) -> list[list[Step]]:
    schema, now = load_schema("ads"), int(time.time())
    upgrade(url)
    database = Database(url)
    steps: list[list[Step]] = []
    fill = Staging.fill

    def noted_fill(self: Staging, connection: Any, rows: Iterable[tuple[Any, ...]]) -> None:
        rows = list(rows)
        steps[-1].append(("make", self.make, None))
        steps[-1].append(("copy", self.copy, "".join(map(as_line, rows))))
        fill(self, connection, rows)

    def noted(_c: Any, _cursor: Any, statement: str, values: Any, _x: Any, _many: bool) -> None:
        if steps and not statement.startswith(("PRAGMA", "BEGIN")):
            steps[-1].append(("run", statement, values))

    event.listen(database._engine, "before_cursor_execute", noted)  # noqa: SLF001
    Staging.fill = noted_fill  # type: ignore[method-assign]
    try:
        for start in range(0, len(events), CHUNK):
            batch = prepare(schema, events[start : start + CHUNK], now=now)
            with database.transaction() as connection:
                steps.append([])
                append(connection, schema, batch, now=now)
    finally:
        Staging.fill = fill  # type: ignore[method-assign]
        database.dispose()
    return steps


def _replay(url: str, steps: list[list[Step]]) -> float:
    upgrade(url)
    database = Database(url)
    with database.transaction() as connection:
        driver: Any = connection.connection.driver_connection
        replay = _postgresql if database.is_postgresql else _sqlite
        seconds = replay(driver, steps)
    database.dispose()
    return seconds


def _sqlite(driver: Any, steps: list[list[Step]]) -> float:
    driver.rollback()
    start = time.perf_counter()
    for transaction in steps:
        driver.execute("BEGIN IMMEDIATE")
        for _, statement, values in transaction:
            driver.execute(statement, values or ()).fetchall()
        driver.execute("COMMIT")
    return time.perf_counter() - start


def _postgresql(driver: Any, steps: list[list[Step]]) -> float:
    driver.rollback()
    start = time.perf_counter()
    for transaction in steps:
        with driver.cursor() as cursor:
            for kind, statement, values in transaction:
                if kind == "copy":
                    with cursor.copy(statement) as copy:
                        copy.write(values)
                else:
                    cursor.execute(statement, values or None)
        driver.commit()
    return time.perf_counter() - start
