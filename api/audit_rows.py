"""Rows of the audit log around a write: of a verb of the command line, and of what became of any.

Takes a database, appends rows in transactions of their own; never does what it writes down.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import time
from typing import Any

from graphsvc import audit
from graphsvc.db import Database
from graphsvc.errors import GraphError

_log = logging.getLogger("graphsvc.audit")
#: Of what was done, and of what ended as nobody foresaw.
DONE, BROKEN = 200, 500


@contextmanager
def by_command(database: Database, verb: str, about: Mapping[str, Any]) -> Iterator[None]:
    """Write down a verb of the command line before the block does it, and what became of it."""
    with database.transaction() as connection:
        number = audit.by_command(connection, verb, about, now=int(time()))
    status = BROKEN
    try:
        yield
        status = DONE
    except Exception as error:
        # Only here: statuses come with the libraries of the server, and verbs begin without them.
        from api.problems import status_of

        status = status_of(error) or BROKEN
        raise
    finally:
        became(database, number, status, {})


def became(database: Database, number: int, status: int, told: Mapping[str, Any]) -> None:
    """Write down what became of it. It is done by now, so nothing is raised where that fails."""
    try:
        with database.transaction() as connection:
            audit.became(connection, number, status, now=int(time()), told=told)
    except GraphError as error:
        _log.error("the outcome %d of row %d is not written: %s", status, number, error)
