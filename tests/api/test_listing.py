"""Pages of jobs, over a library that leaves the order within a millisecond open."""

import random
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from dbos._sys_db import WorkflowStatus
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Invalid
from api.jobs.listing import listed
from graphsvc.ids import id_by_time

#: A millisecond whose fraction of a second is none in binary: cut off, it is the one before.
NOW = 1_433_221_332_117


class Library:
    """Jobs as the library lists them: by time alone, and a bound read as the library reads it."""

    def __init__(self, jobs: list[tuple[int, str]], seed: int) -> None:
        self.jobs = jobs
        self.random = random.Random(seed)

    def list_workflows(
        self,
        *,
        start_time: str | None = None,
        end_time: str | None = None,
        limit: int | None = None,
        sort_desc: bool = False,
    ) -> list[WorkflowStatus]:
        first = read(start_time) if start_time else 0
        last = read(end_time) if end_time else 2**62
        found = [row(*job) for job in self.jobs if first <= job[0] <= last]
        self.random.shuffle(found)
        found.sort(key=lambda status: status.created_at or 0, reverse=sort_desc)
        return found[:limit]


def read(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def row(created_at: int, job_id: str) -> WorkflowStatus:
    status = WorkflowStatus()
    status.created_at, status.workflow_id = created_at, job_id
    return status


times = st.lists(st.integers(NOW, NOW + 4), max_size=25)


@given(times, st.integers(1, 7), st.integers(0, 99))
def test_each_job_once_though_jobs_are_added(moments: list[int], limit: int, seed: int) -> None:
    jobs = [(moment, f"job-{n * 7 % 25:02}") for n, moment in enumerate(moments)]
    library = Library(list(jobs), seed)
    seen: list[Any] = []
    after: str | None = None
    while True:
        page = listed(library, limit=limit, after=after)
        assert len(page.rows) <= limit
        seen += [(status.created_at, status.workflow_id) for status in page.rows]
        after = page.next
        if after is None:
            break
        assert len(page.rows) == limit
        # A clock of whole seconds: what is new may have the moment of what is old.
        library.jobs.append((max(moments), f"new-{len(seen):02}"))
    assert seen == sorted(jobs, reverse=True)


@pytest.mark.parametrize("odd", ["", "5", "x:y", "5:", ":a", "5:a b", "9" * 15 + ":a", "\u0663:a"])
def test_a_position_that_no_page_named(odd: str) -> None:
    with pytest.raises(Invalid, match="should be the `next` of a page"):
        listed(Library([], 0), limit=1, after=odd)


def test_later_ids_are_greater() -> None:
    moments = [NOW * 1_000_000 + step for step in (0, 245, 999_999, 1_000_000, 10**15)]
    ids = [id_by_time(moment) for moment in moments]
    assert ids == sorted(ids)
    assert [UUID(made).version for made in ids] == [7] * len(ids)
    assert id_by_time(NOW * 1_000_000) != ids[0]


def test_the_latest_position_is_one() -> None:
    assert not listed(Library([], 0), limit=1, after="9" * 14 + ":a").rows
    assert not listed(Library([], 0), limit=1, after="0:a").rows
