"""The audit log is only appended to, and names nobody."""

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import DBAPIError

from graphsvc import audit as log
from graphsvc.db import Database
from graphsvc.errors import CursorInvalid
from graphsvc.ids import EntityId
from graphsvc.tables import audit


def test_what_became_of_a_request_is_a_row_of_its_own(database: Database) -> None:
    with database.transaction() as connection:
        first = log.asked(connection, "k1", "POST /x", {"b": 1, "a": 2}, now=7, trace_id="r")
        second = log.asked(connection, log.COMMAND_LINE, "graphsvc x", {}, now=8)
        log.became(connection, first, 202, now=9)
    with database.reading() as connection:
        rows = log.page(connection).items
        own = log.page(connection, actor=log.COMMAND_LINE).items
    assert [(row.number, row.of, row.status, row.at) for row in rows] == [
        (3, first, 202, 9),
        (second, None, None, 8),
        (first, None, None, 7),
    ]
    assert {(row.actor, row.action, row.trace_id) for row in rows[::2]} == {("k1", "POST /x", "r")}
    assert rows[0].about == {"a": 2, "b": 1}
    assert [row.number for row in own] == [second]


def test_pages_lead_from_the_newest_to_the_first(database: Database) -> None:
    with database.transaction() as connection:
        for number in range(5):
            log.asked(connection, "k", f"act {number}", {}, now=number)
    seen, after = [], None
    with database.reading() as connection:
        while True:
            page = log.page(connection, limit=2, after=after)
            seen += [row.action for row in page.items]
            if page.next is None:
                break
            after = page.next
        with pytest.raises(CursorInvalid):
            log.page(connection, after="x")
    assert seen == [f"act {number}" for number in (4, 3, 2, 1, 0)]


def test_a_write_is_whole_wherever_its_outcome_stands(database: Database) -> None:
    with database.transaction() as connection:
        first = log.asked(connection, "k1", "POST /a", {"x": 1}, now=1)
        second = log.asked(connection, "k2", "POST /b", {}, now=2)
        third = log.asked(connection, log.COMMAND_LINE, "graphsvc x", {}, now=3)
        log.became(connection, second, 403, now=4)
        log.became(connection, first, 202, now=9, told={"y": 2})
    with database.reading() as connection:
        page = log.writes(connection, limit=2)
        rest = log.writes(connection, limit=2, after=page.next)
    said = [
        (one.asked.number, one.became and (one.became.status, one.became.about))
        for one in (*page.items, *rest.items)
    ]
    assert said == [(third, None), (second, (403, {})), (first, (202, {"x": 1, "y": 2}))]
    assert (page.next, rest.next) == (str(second), None)


@pytest.mark.parametrize("change", [update(audit).values(actor="nobody"), delete(audit)])
def test_the_database_refuses_to_change_a_row(database: Database, change) -> None:
    with database.transaction() as connection:
        log.asked(connection, "k", "act", {}, now=7)
    with (
        pytest.raises(DBAPIError, match="the audit log is only appended to"),
        database.transaction() as connection,
    ):
        connection.execute(change)
    with database.reading() as connection:
        assert [row.actor for row in log.page(connection).items] == ["k"]


def test_a_row_is_not_replaced_either(database: Database) -> None:
    with database.transaction() as connection:
        log.asked(connection, "k", "act", {}, now=7)
    change = insert(audit).values(number=1, at=1, actor="nobody", action="x", about="{}")
    if not database.is_postgresql:
        change = change.prefix_with("OR REPLACE")
    with pytest.raises(DBAPIError), database.transaction() as connection:
        connection.execute(change)
    with database.reading() as connection:
        assert [row.actor for row in log.page(connection).items] == ["k"]


def test_a_subject_is_the_same_here_and_another_elsewhere(
    both_databases: tuple[Database, Database],
) -> None:
    here, there = both_databases
    one, other = EntityId("user", "anna"), EntityId("user", "bob")
    with here.transaction() as connection:
        digests = [log.subject(connection, entity) for entity in (one, other, one)]
    with there.transaction() as connection:
        elsewhere = log.subject(connection, one)
    assert digests[0] == digests[2] != digests[1]
    assert elsewhere not in digests
    assert all(len(digest) == 64 for digest in digests)
