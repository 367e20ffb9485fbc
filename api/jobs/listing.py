"""Jobs in pages, newest first, which new jobs do not shift.

Takes the job library's client and where the page before ended, gives rows of the library; never
counts, since a count moves with every job that is added.

The library orders by the time of creation alone, on SQLite in whole seconds, and leaves open in
which order the jobs of the same moment come. So those of a moment are always read together, and put
in order here, by their ids: later ids are greater, so nothing new gets in between.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from dbos._sys_db import WorkflowStatus

from api.errors import Invalid

_POSITION = re.compile(r"(\d{1,14}):([A-Za-z0-9_-]{1,200})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Lister(Protocol):
    """What is needed of the library's client."""

    def list_workflows(
        self,
        *,
        start_time: str | None = None,
        end_time: str | None = None,
        limit: int | None = None,
        sort_desc: bool = False,
    ) -> list[WorkflowStatus]: ...


@dataclass(frozen=True, slots=True)
class Listed:
    """Some rows, newest first; `next` continues, None at the end."""

    rows: Sequence[WorkflowStatus]
    next: str | None


def listed(client: Lister, *, limit: int, after: str | None) -> Listed:
    """A page. `after` is the `next` of the page before. Raises `Invalid`."""
    if after is None:
        found = _newest(client, limit + 1)
    else:
        moment, job_id = _read(after)
        found = [row for row in _at(client, moment) if row.workflow_id < job_id]
        if len(found) <= limit:
            found += _newest(client, limit + 1, until=moment - 1)
    if len(found) <= limit:
        return Listed(found, None)
    last = found[limit - 1]
    return Listed(found[:limit], f"{_moment(last)}:{last.workflow_id}")


def _newest(client: Lister, least: int, until: int | None = None) -> list[WorkflowStatus]:
    """At least so many rows, if there are, without a part of a moment."""
    bound: dict[str, Any] = {} if until is None else {"end_time": _text(until)}
    found = client.list_workflows(limit=least, sort_desc=True, **bound)
    if len(found) < least:
        return sorted(found, key=_key, reverse=True)
    last = _moment(found[-1])  # the limit may have cut it
    whole = [row for row in found if _moment(row) > last]
    return sorted(whole, key=_key, reverse=True) + _at(client, last)


def _at(client: Lister, moment: int) -> list[WorkflowStatus]:
    found = client.list_workflows(start_time=_text(moment), end_time=_text(moment))
    return sorted(found, key=_key, reverse=True)


def _key(row: WorkflowStatus) -> tuple[int, str]:
    return _moment(row), row.workflow_id


def _moment(row: WorkflowStatus) -> int:
    return row.created_at or 0


def _text(moment: int) -> str:
    """A moment, in milliseconds, as the library takes it.

    From its middle: the library cuts a fraction off, and most milliseconds are none in binary.
    """
    return (_EPOCH + timedelta(milliseconds=moment, microseconds=500)).isoformat()


def _read(position: str) -> tuple[int, str]:
    match = _POSITION.fullmatch(position)
    if match is None:
        raise Invalid(f"cursor should be the `next` of a page, received {position[:80]!r}")
    return int(match[1]), match[2]
