"""Whether a catalog entity is retired: out of answers, kept for labels.

Takes keys, sets `entities.retired` from the log; never deletes anything. What was said last, by the
time of the event, holds; of the same second, retiring does. So no order of arrival matters. Merged
ids are one entity: what was said of any of them was said of it.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from graphsvc.builtin import RESTORE, RETIRE
from graphsvc.bulk import rows_among
from graphsvc.logread import aliases
from graphsvc.projection import Logged

_SAID = (
    "SELECT actor, event_time, event_name FROM events "  # noqa: S608  (our own names)
    f"WHERE event_name IN ('{RETIRE}', '{RESTORE}') AND actor {{among_numbers}}"
)


def apply_lifecycle(connection: Connection, logged: Sequence[Logged]) -> None:
    """Do what logged `retire` and `restore` events ask for."""
    settle(connection, {event.actor for event in logged})


def settle(connection: Connection, keys: Iterable[int]) -> None:
    """Set the state of some canonical entities to what the log says last."""
    names = aliases(connection, keys)
    last: dict[int, tuple[int, bool]] = {}
    for row in rows_among(connection, _SAID, sorted(names)):
        said = (row[1], row[2] == RETIRE)
        last[names[row[0]]] = max(said, last.get(names[row[0]], said))
    if last:
        mark = "%s" if connection.dialect.name == "postgresql" else "?"
        connection.exec_driver_sql(
            f"UPDATE entities SET retired = {mark}, retired_time = {mark} WHERE key = {mark}",  # noqa: S608
            [(retired, time, key) for key, (time, retired) in sorted(last.items())],
        )
