"""Many rows in one statement, on either database.

Takes rows as tuples, gives one round trip; never decides what is written. SQLite runs a prepared
statement per row in C; PostgreSQL takes them as one JSON document. Both are several times as
fast as rows that go through the query builder.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

# As an array the values are looked up in the index one by one; as a subquery they would be joined.
_AMONG_POSTGRESQL = "= ANY(ARRAY(SELECT json_array_elements_text(%s::json)))"

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Insert:
    """Where rows go, and what happens to one that is there already."""

    table: str
    #: Column -> PostgreSQL's type of it, in the order of the rows' values.
    columns: dict[str, str]
    #: An `ON CONFLICT` clause, or nothing.
    otherwise: str = ""

    def run(self, connection: Connection, rows: Rows) -> None:
        """Write the rows. A conflict clause sees them as `excluded`."""
        if not rows:
            return
        head = f"INSERT INTO {self.table} ({', '.join(self.columns)})"
        if connection.dialect.name == "postgresql":
            typed = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
            source = f"json_to_recordset(%s::json) AS row({typed})"
            statement = f"{head} SELECT * FROM {source} {self.otherwise}"  # noqa: S608
            document = json.dumps([dict(zip(self.columns, row, strict=True)) for row in rows])
            connection.exec_driver_sql(statement, (document,))
        else:
            marks = ", ".join("?" for _ in self.columns)
            statement = f"{head} VALUES ({marks}) {self.otherwise}"
            connection.exec_driver_sql(statement, list(rows))


def rows_among(
    connection: Connection, query: str, values: Sequence[str], *, where: tuple[str, ...] = ()
) -> list[Any]:
    """Run `query` with its `{among}` meaning: is one of `values`.

    `where` are values of `=` comparisons before it, written `{value}`. However many values there
    are, it is one statement with one variable for them.
    """
    if connection.dialect.name == "postgresql":
        statement = query.format(among=_AMONG_POSTGRESQL, value="%s")
    else:
        statement = query.format(among="IN (SELECT value FROM json_each(?))", value="?")
    return list(connection.exec_driver_sql(statement, (*where, json.dumps(values))).fetchall())
