"""The moment of the log that a request stands for, as far as it is known before a job chooses it.

Takes a request's `as_of`, refuses what no job could use, and says whether a job that has chosen
already is of the moment that a new one would choose; never reads a snapshot's rows.
"""

from collections.abc import Mapping
from typing import Any

from graphsvc import versions
from graphsvc.db import Database
from graphsvc.errors import NotEnoughData
from graphsvc.export import moment_at_time, present_moment


def would_choose(database: Database, chosen: Mapping[str, Any], as_of: int | str | None) -> bool:
    """Whether a new job would choose what the step `moment` of another one has chosen."""
    with database.reading() as connection:
        if chosen["schema"] != versions.version(connection):
            return False
        if isinstance(as_of, str):
            return True  # what is sealed does not move
        try:
            found = (
                present_moment(connection) if as_of is None else moment_at_time(connection, as_of)
            )
        except NotEnoughData:
            return False
        return bool(found.seq == chosen["seq"])
