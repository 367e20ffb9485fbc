"""The versions of the schema in the database: the first, the one that holds, and outdated ones."""

import pytest
from semantics import NOW, SMALL_SCHEMA, event, post

from graphsvc import versions
from graphsvc.db import Database
from graphsvc.errors import SchemaMismatch, SchemaMissing, SchemaOutdated
from graphsvc.ingest import append, prepare
from graphsvc.schema import load_schema

ADS = load_schema("ads")


def test_the_first_one_counts(database: Database) -> None:
    with database.reading() as connection:
        assert versions.version(connection) == 0
        with pytest.raises(SchemaMissing):
            versions.current(connection)
    with database.transaction() as connection:
        first = versions.seed(connection, SMALL_SCHEMA, now=NOW)
        assert (first.version, first.events) == (1, SMALL_SCHEMA.events)
    with database.transaction() as connection:
        assert versions.seed(connection, ADS, now=NOW) == first
    with database.reading() as connection:
        held = versions.current(connection)
        assert held == first
        assert held.relations == SMALL_SCHEMA.relations, "in the same order"


def test_a_graph_that_was_filled_under_another_schema_is_noticed(database: Database) -> None:
    post(database, event("click", "c", "user/1", "item/1"))
    with database.transaction() as connection:
        with pytest.raises(SchemaMismatch, match=r"type item, and.*'ads'"):
            versions.seed(connection, ADS, now=NOW)
        assert versions.version(connection) == 0


def test_events_that_the_first_schema_lacks_are_noticed(database: Database) -> None:
    post(database, event("friend", "f", "user/1", "user/2"))
    with (
        database.transaction() as connection,
        pytest.raises(SchemaMismatch, match="events named friend"),
    ):
        versions.seed(connection, ADS, now=NOW)


def test_nothing_is_logged_under_an_outdated_version(database: Database) -> None:
    with database.transaction() as connection:
        first = versions.seed(connection, SMALL_SCHEMA, now=NOW)
        batch = prepare(first, [event("click", "c", "user/1", "item/1")], now=NOW)
    with database.transaction() as connection:
        second = versions.store(connection, SMALL_SCHEMA, 2, reason="test", now=NOW)
    with database.transaction() as connection, pytest.raises(SchemaOutdated):
        append(connection, first, batch, now=NOW)
    with database.transaction() as connection:
        versions.require_current(connection, second)
        with pytest.raises(SchemaOutdated, match=r"version 1.*version 2"):
            versions.require_current(connection, first)
        [verdict] = append(connection, second, batch, now=NOW)
        assert verdict.status == "accepted"
