"""How far each step of a job is.

Takes what the worker reports, gives it to whoever watches; never starts or ends a job.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select, text

from graphsvc.ids import canonical_json, is_storable
from graphsvc.tables import job_progress

_WRITE = text("""
    INSERT INTO job_progress
        (job_id, step, position, state, done, total, note, detail, updated_at)
    VALUES (:job_id, :step, :position, :state, :done, :total, :note, :detail, :updated_at)
    ON CONFLICT (job_id, step) DO UPDATE SET
        position = excluded.position, state = excluded.state, done = excluded.done,
        total = excluded.total, note = excluded.note, detail = excluded.detail,
        updated_at = excluded.updated_at
""")


@dataclass(frozen=True, slots=True)
class StepProgress:
    """One step of a job: `done` of `total` units of work, and a note for people."""

    step: str
    #: Place among the job's steps, from 0.
    position: int
    state: str
    done: int
    total: int
    note: str
    detail: Mapping[str, Any]
    updated_at: int


def write(  # noqa: PLR0913  (one row, one value per column)
    connection: Connection,
    job_id: str,
    step: str,
    *,
    position: int,
    state: str,
    done: int,
    total: int,
    note: str,
    detail: Mapping[str, Any],
    now: int,
) -> None:
    """Replace what is known of a step."""
    row = {
        "job_id": job_id,
        "step": step,
        "position": position,
        "state": state,
        "done": done,
        "total": total,
        "note": note,
        "detail": canonical_json(dict(detail)).decode(),
        "updated_at": now,
    }
    connection.execute(_WRITE, row)


def forget(
    connection: Connection, job_id: str, *, from_position: int, before: int | None = None
) -> None:
    """Drop what is known of the steps from a place on, up to another: they will run again."""
    place = job_progress.c.position
    query = delete(job_progress).where(job_progress.c.job_id == job_id, place >= from_position)
    connection.execute(query if before is None else query.where(place < before))


def in_state(connection: Connection, step: str, state: str) -> list[str]:
    """The jobs whose step is in a state, in the order of their ids."""
    query = select(job_progress.c.job_id).where(
        job_progress.c.step == step, job_progress.c.state == state
    )
    return [row.job_id for row in connection.execute(query.order_by(job_progress.c.job_id))]


def read(connection: Connection, job_id: str) -> list[StepProgress]:
    """The steps of a job in their order; none if it has not begun."""
    if not is_storable(job_id):
        return []
    rows = connection.execute(
        select(job_progress)
        .where(job_progress.c.job_id == job_id)
        .order_by(job_progress.c.position, job_progress.c.step)
    )
    return [
        StepProgress(
            step=row.step,
            position=row.position,
            state=row.state,
            done=row.done,
            total=row.total,
            note=row.note,
            detail=json.loads(row.detail),
            updated_at=row.updated_at,
        )
        for row in rows
    ]
