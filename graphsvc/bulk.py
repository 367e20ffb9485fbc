"""Many rows in few statements, on either database.

Takes rows as tuples, gives as many round trips however many there are; never decides what is
written. SQLite runs a prepared statement per row in C; PostgreSQL gets them by COPY into a
temporary table, from where one statement takes them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

# As an array the values are looked up in the index one by one; as a subquery they would be joined.
_AMONG_POSTGRESQL = "= ANY(ARRAY(SELECT json_array_elements_text(%s::json)))"
_CODE_POINT = '"C"'
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Staging:
    """A temporary table of PostgreSQL that holds rows until the transaction ends."""

    table: str
    #: Column -> type.
    columns: dict[str, str]

    @cached_property
    def _make(self) -> str:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in self.columns.items())
        return (
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {self.table} ({columns}) ON COMMIT DELETE ROWS"
        )

    @cached_property
    def _copy(self) -> str:
        return f"COPY {self.table} FROM STDIN"

    def fill(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Replace what it holds. The values of a row are in the order of the columns."""
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            # A table that was made in a transaction that failed is gone, so this asks each time.
            made = cursor.execute("SELECT to_regclass(%s)", (f"pg_temp.{self.table}",)).fetchone()
            cursor.execute(self._make if made[0] is None else f"DELETE FROM {self.table}")  # noqa: S608
            with cursor.copy(self._copy) as copy:
                copy.write("".join(map(as_line, rows)))


def as_line(row: tuple[Any, ...]) -> str:
    """A row in the text form of PostgreSQL's COPY."""
    return "\t".join(map(_as_field, row)) + "\n"


def _as_field(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        # A text with nothing to escape, which is nearly every one, is its own form.
        return value if value.isalnum() else value.translate(_ESCAPES)
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    return repr(value)


@dataclass(frozen=True, kw_only=True)
class Insert:
    """Where rows go, and what happens to one that is there already."""

    table: str
    #: Column -> PostgreSQL's type of it, in the order of the rows' values.
    columns: dict[str, str]
    #: An `ON CONFLICT` clause, or nothing; `{code_point}` is the order that does not depend on the
    #: database's language.
    otherwise: str = ""

    @cached_property
    def _staging(self) -> Staging:
        return Staging(table=f"staged_{self.table}", columns=self.columns)

    @cached_property
    def statements(self) -> tuple[str, str]:
        """What PostgreSQL runs once the rows are staged, and what SQLite runs for each row."""
        names = ", ".join(self.columns)
        head = f"INSERT INTO {self.table} ({names})"
        marks = ", ".join("?" for _ in self.columns)
        source = f"SELECT {names} FROM {self._staging.table}"  # noqa: S608
        return (
            f"{head} {source} {self.otherwise.replace('{code_point}', _CODE_POINT)}",
            f"{head} VALUES ({marks}) {self.otherwise.replace('{code_point}', 'BINARY')}",
        )

    def run(self, connection: Connection, rows: Rows) -> None:
        """Write the rows. A conflict clause sees them as `excluded`."""
        if not rows:
            return
        if connection.dialect.name == "postgresql":
            self._staging.fill(connection, rows)
            connection.exec_driver_sql(self.statements[0])
        else:
            connection.exec_driver_sql(self.statements[1], list(rows))


def rows_among(
    connection: Connection, query: str, values: Sequence[Any], *, where: tuple[Any, ...] = ()
) -> list[Any]:
    """Run `query` with its `{among}` meaning: is one of `values`.

    `where` are values of `=` comparisons before it, written `{value}`. However many values there
    are, it is one statement with one variable for them. For numbers, `{among_numbers}`.
    """
    if connection.dialect.name == "postgresql":
        numbers = "= ANY(ARRAY(SELECT json_array_elements_text(%s::json)::bigint))"
        statement = query.format(among=_AMONG_POSTGRESQL, among_numbers=numbers, value="%s")
    else:
        among = "IN (SELECT value FROM json_each(?))"
        statement = query.format(among=among, among_numbers=among, value="?")
    return list(connection.exec_driver_sql(statement, (*where, json.dumps(values))).fetchall())
