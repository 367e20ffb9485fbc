"""How a database goes about the questions that a test makes the code ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from graphsvc.db import Database


@contextmanager
def plans_of(database: Database, table: str) -> Iterator[list[str]]:
    """The plan of each SELECT of a table that the block runs; known when the block has ended.

    PostgreSQL would rather read a small table as a whole; here it says which index it takes of a
    large one.
    """
    asked: dict[str, Any] = {}
    found: list[str] = []

    def keep(_c: Any, _cursor: Any, statement: str, values: Any, _x: Any, many: bool) -> None:
        if not many and statement.startswith("SELECT") and f"FROM {table}" in statement:
            asked[statement] = values

    engine = database._engine
    event.listen(engine, "before_cursor_execute", keep)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", keep)
    if database.is_postgresql:
        with database.transaction() as connection:
            connection.exec_driver_sql("ANALYZE")
    explain = "EXPLAIN " if database.is_postgresql else "EXPLAIN QUERY PLAN "
    with database.reading() as connection:
        if database.is_postgresql:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, values in asked.items():
            rows = connection.exec_driver_sql(explain + statement, values)
            found.append("\n".join(str(row[-1]) for row in rows))
