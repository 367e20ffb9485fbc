"""What became of each job, a line each: steps begun and ended, failures, waits, what people asked.

Takes sentences of ours, gives them to whoever looks back; never the text of an error that nobody
foresaw, and never more lines than may be, of one job and in all.
"""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, func, insert, select

from graphsvc.ids import is_storable
from graphsvc.tables import job_log

Level = Literal["info", "warning", "error"]
#: Lines of one job, and of all jobs; the oldest go first.
MOST_OF_ONE, MOST = 500, 20_000
_LONGEST = 500
#: Most rows that one pruning deletes, so that it is short.
_PRUNED = 2000


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `step`: that it is about, None where it is about the whole job."""

    at: int
    level: str
    step: str | None
    message: str


def add(connection: Connection, job_id: str, line: Line) -> None:
    """Write a line; beyond what one job may have its oldest one goes."""
    row = {"job_id": job_id, "at": line.at, "level": line.level, "step": line.step}
    connection.execute(insert(job_log).values(**row, message=line.message[:_LONGEST]))
    own = select(job_log.c.number).where(job_log.c.job_id == job_id)
    beyond = own.order_by(job_log.c.number.desc()).offset(MOST_OF_ONE).limit(1)
    last = connection.scalar(beyond)
    if last is not None:
        connection.execute(
            delete(job_log).where(job_log.c.job_id == job_id, job_log.c.number <= last)
        )


def read(connection: Connection, job_id: str) -> list[Line]:
    """The lines of a job, oldest first; none if nothing is known of it any more."""
    if not is_storable(job_id):
        return []
    rows = select(job_log).where(job_log.c.job_id == job_id).order_by(job_log.c.number)
    return [Line(row.at, row.level, row.step, row.message) for row in connection.execute(rows)]


def prune(connection: Connection, *, most: int) -> int:
    """Remove the oldest lines beyond a number of all: how many went.

    At most some thousand at once; call again, in a new transaction, until it says 0.
    """
    surplus = (connection.scalar(select(func.count()).select_from(job_log)) or 0) - most
    if surplus <= 0:
        return 0
    oldest = select(job_log.c.number).order_by(job_log.c.number).limit(min(surplus, _PRUNED))
    chosen = list(connection.scalars(oldest))
    connection.execute(delete(job_log).where(job_log.c.number.in_(chosen)))
    return len(chosen)
