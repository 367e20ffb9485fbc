"""Many rows in few statements, on either database.

Takes rows as tuples, never decides what is written. SQLite gets a few statements of many rows: it
runs each of them without Python's lock, so that other requests go on meanwhile. PostgreSQL gets
them by COPY into a temporary table, from where one statement takes them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from graphsvc.db import reported

# As an array the values are looked up in the index one by one; as a subquery they would be joined.
_AMONG_POSTGRESQL = "= ANY(ARRAY(SELECT json_array_elements_text(?::json)))"
#: Rows of a statement; times 20 columns that is well below SQLite's 32,766 variables.
_PART_SIZES = (256, 32, 4, 1)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Staging:
    """A temporary table of PostgreSQL that holds rows until the transaction ends."""

    table: str
    #: Column -> type.
    columns: dict[str, str]

    @cached_property
    def make(self) -> str:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in self.columns.items())
        return (
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {self.table} ({columns}) ON COMMIT DELETE ROWS"
        )

    @cached_property
    def copy(self) -> str:
        return f"COPY {self.table} FROM STDIN"

    def fill(self, connection: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        """Replace what it holds. The values of a row are in the order of the columns.

        Raises what `reported` raises.
        """
        driver: Any = connection.connection.driver_connection
        with reported(), driver.cursor() as cursor:
            # Before COPY begins: if it were broken off, PostgreSQL's words would quote a row.
            lines = "".join(map(as_line, rows)).encode(driver.info.encoding)
            # A table that was made in a transaction that failed is gone, so this asks each time.
            made = cursor.execute("SELECT to_regclass(%s)", (f"pg_temp.{self.table}",)).fetchone()
            cursor.execute(self.make if made[0] is None else f"DELETE FROM {self.table}")  # noqa: S608
            with cursor.copy(self.copy) as copy:
                copy.write(lines)


def as_line(row: tuple[Any, ...]) -> str:
    """A row in the text form of PostgreSQL's COPY."""
    line = "\t".join(["\\N" if value is None else _FORMS[type(value)](value) for value in row])
    return line + "\n"


def _text(value: str) -> str:
    # A text with nothing to escape, which is nearly every one, is its own form.
    return value if value.isalnum() else value.translate(_ESCAPES)


_FORMS: dict[type, Callable[[Any], str]] = {
    str: _text,
    int: str,
    float: repr,
    bool: str,
    bytes: lambda value: f"\\\\x{value.hex()}",
}


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
    def statement(self) -> str:
        """What PostgreSQL runs once the rows are staged."""
        names = ", ".join(self.columns)
        otherwise = self.otherwise.replace("{code_point}", '"C"')
        source = f"SELECT {names} FROM {self._staging.table}"  # noqa: S608  (our own names)
        return f"INSERT INTO {self.table} ({names}) {source} {otherwise}"

    def of_rows(self, number: int) -> str:
        """What SQLite runs for so many rows."""
        row = f"({','.join('?' * len(self.columns))})"
        otherwise = self.otherwise.replace("{code_point}", "BINARY")
        values = ",".join([row] * number)
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) VALUES {values} {otherwise}"  # noqa: S608

    def run(self, connection: Connection, rows: Rows) -> None:
        """Write the rows. A conflict clause sees them as `excluded`."""
        if not rows:
            return
        if connection.dialect.name == "postgresql":
            self._staging.fill(connection, rows)
            connection.exec_driver_sql(self.statement)
        else:
            for some in parts(rows):
                values = tuple(chain.from_iterable(some))
                connection.exec_driver_sql(self.of_rows(len(some)), values)


def parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut rows into parts of few sizes: each size is a statement that is prepared once."""
    start = 0
    for size in _PART_SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def rows_among(
    connection: Connection, query: str, values: Sequence[Any], *, where: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    """Run `query` with its `{among}` meaning: is one of `values`.

    `where` are values of `=` comparisons before it, written `{value}`. However many values there
    are, it is one statement with one variable for them. For numbers, `{among_numbers}`. A second
    one of these before it takes a JSON array from `where`.
    """
    if connection.dialect.name == "postgresql":
        numbers = "= ANY(ARRAY(SELECT json_array_elements_text(?::json)::bigint))"
        statement = query.format(among=_AMONG_POSTGRESQL, among_numbers=numbers, value="?")
    else:
        among = "IN (SELECT value FROM json_each(?))"
        statement = query.format(among=among, among_numbers=among, value="?")
    return fetch(connection, statement, (*where, json.dumps(values)))


def fetch(connection: Connection, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement as the driver has them: plain tuples, several times as fast.

    A value's place is written `?` for both databases.
    """
    if connection.dialect.name == "postgresql":
        statement = statement.replace("?", "%s")
    cursor: Any = connection.exec_driver_sql(statement, values).cursor
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
