"""Retiring and restoring catalog entities: the last word by time counts, in any order."""

from itertools import permutations
from typing import Any

import pytest
from semantics import NOW, SMALL_SCHEMA, event, post, statuses, tables

from graphsvc.db import Database
from graphsvc.ingest import rebuild


def state(database: Database, name: str = "item/1") -> tuple[bool, int | None]:
    """(retired, when it was last said)."""
    retired, when, _ = tables(database)["entities"][name]
    return bool(retired), when


def said(name: str, after: int) -> dict[str, Any]:
    return event(name, f"{name}{after}", "item/1", event_time=NOW + after)


def test_a_retired_entity_keeps_its_edges_and_can_be_restored(database: Database) -> None:
    post(database, event("click", "c", "user/1", "item/1"))
    assert state(database) == (False, None)
    assert statuses(post(database, said("retire", 1))) == ["accepted"]
    assert state(database) == (True, NOW + 1)
    assert list(tables(database)["edges"]) == [("user/1", "click", "item/1")]
    assert statuses(post(database, said("restore", 2))) == ["accepted"]
    assert state(database) == (False, NOW + 2)


@pytest.mark.parametrize("names", [*permutations([("retire", 1), ("restore", 3), ("retire", 2)])])
def test_the_last_word_by_time_counts(database: Database, names: list[tuple[str, int]]) -> None:
    for name, after in names:
        post(database, said(name, after))
    assert state(database) == (False, NOW + 3)
    post(database, said("retire", 3))  # of the same second, retiring counts
    assert state(database) == (True, NOW + 3)
    with database.transaction() as connection:
        rebuild(connection, SMALL_SCHEMA)
    assert state(database) == (True, NOW + 3)


def test_one_that_is_retired_before_anything_else_is_said_of_it(database: Database) -> None:
    post(database, said("retire", 0))
    post(database, event("click", "c", "user/1", "item/1"))
    assert state(database) == (True, NOW)
    assert state(database, "user/1") == (False, None)
