"""The rows of a query as numpy columns, block by block.

Takes a query whose values are all numbers, gives arrays; never holds more than one block. The
database keeps the cursor; rows go into an array without a loop here.
"""

from collections.abc import Iterator
from contextlib import closing
from itertools import chain, count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.sql import Select

from graphsvc.db import reported

#: Rows in a block.
BLOCK = 50_000
#: Names of cursors differ, as several are open at once.
_NUMBERS = count()


def tuples_of(connection: Connection, query: Select[Any]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a query as the driver gives them, `BLOCK` at a time.

    The driver's own cursor: SQLAlchemy's rows take as long as reading them. Raises what `reported`
    raises.
    """
    compiled = query.compile(connection, compile_kwargs={"render_postcompile": True})
    driver: Any = connection.connection.driver_connection
    size = BLOCK
    with reported(), closing(_cursor(driver, connection.dialect.name)) as cursor:
        if compiled.positional:
            names = compiled.positiontup or ()
            cursor.execute(compiled.string, [compiled.params[name] for name in names])
        else:
            cursor.execute(compiled.string, compiled.params, binary=True)
        while rows := cursor.fetchmany(size):
            yield rows


def _cursor(driver: Any, dialect: str) -> Any:
    """A cursor that leaves the rows with the database until they are fetched."""
    if dialect == "postgresql":
        return driver.cursor(name=f"blocks_{next(_NUMBERS)}")
    return driver.cursor()


def columns_of(connection: Connection, query: Select[Any]) -> Iterator[NDArray[np.float64]]:
    """The rows of a query as arrays [columns, rows]; whole numbers below 2^53 are exact."""
    width = len(query.selected_columns)
    for rows in tuples_of(connection, query):
        flat = np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=len(rows) * width)
        yield np.ascontiguousarray(flat.reshape(-1, width).T)
