"""Taking an entity out of every table, as if no event had ever named it; and a look again.

Takes ids that stand for one entity, gives how many rows went; never commits, so all of it happens
or none. What others have of it goes too: its edges, its part of their counters, its place in
answers. The projections are what a replay of the rest of the log gives. Who looks again later
knows digests alone, and gets counts.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, select, update

from graphsvc.builtin import MERGE
from graphsvc.bulk import fetch, rows_among
from graphsvc.db import wait_for_writers
from graphsvc.dedupe import digest_of
from graphsvc.gone import Gone
from graphsvc.logread import canonical
from graphsvc.removal import delete_events, lower
from graphsvc.schema import Schema
from graphsvc.tables import answers, seen

#: What hangs on an entity by its key: table -> columns.
_HELD: Mapping[str, tuple[str, ...]] = {
    "edges": ("head", "tail"),
    "retractions": ("head", "tail"),
    "attributes": ("entity",),
    "counters": ("entity",),
    "consents": ("entity",),
    "entities": ("key",),
}
#: Where else a key stands, and leads to nobody once its entity is gone; see also `_keys`.
_LEADING: Mapping[str, tuple[str, ...]] = {"entities": ("merged_into",), "events": ("actor",)}
#: The ids in answers, each once; where persons can be no tails there are none to be looked at.
_ITEMS = {
    "sqlite": "json_extract(item.value, '$[0]') FROM answers, json_each(answers.items) item",
    "postgresql": "item.value ->> 0 FROM answers, json_array_elements(answers.items::json) item",
}


def erase(
    connection: Connection, schema: Schema, type_: str, ids: Collection[str]
) -> dict[str, int]:
    """Take out all that is of some ids of one type: rows that went, by table.

    Harmless to repeat. Of copies that SQLite leaves in unused parts of its file see `compact` in
    `db.py`.
    """
    wait_for_writers(connection)
    names = sorted(ids)
    query = "SELECT key FROM entities WHERE type = {value} AND id {among}"
    keys = sorted(row[0] for row in rows_among(connection, query, names, where=(type_,)))
    removed = Counter(_erase_events(connection, schema, type_, keys))
    for table, columns in _HELD.items():
        for column in columns:
            statement = f"DELETE FROM {table} WHERE {column} {{among_numbers}} RETURNING 1"  # noqa: S608
            removed[table] += len(rows_among(connection, statement, keys))
    removed["answers"] = _erase_answers(connection, type_, names)
    return {table: n for table, n in sorted(removed.items()) if n}


def left(connection: Connection, gone: Gone) -> dict[str, tuple[int, int]]:
    """Where ids stand: how many of some people are there, and of how many ids."""
    found = {}
    for name, query in {
        "entities": "id FROM entities WHERE type = ?",
        "answers": "DISTINCT head_id FROM answers WHERE head_type = ?",
        "answers, items": f"DISTINCT {_ITEMS[connection.dialect.name]} WHERE tail_type = ?",
    }.items():
        there = of = 0
        for type_ in gone.types:
            ids = [row[0] for row in fetch(connection, f"SELECT {query}", (type_,))]
            there, of = there + len(gone.among(type_, ids)), of + len(ids)
        found[name] = there, of
    return found


def keys_of_nobody(connection: Connection, schema: Schema, gone: Gone) -> dict[str, int]:
    """Of each column that holds keys: how many rows have one that no entity has.

    A person's row of `entities` may be gone while others that hang on it are there: no foreign key
    forbids it (see `tables/graph.py`). Whose they were nobody can tell, so there may be none. The
    database looks at each row, through an index but for objects in the log, which has none.
    """
    found = {}
    for table, column in _keys(schema, gone):
        nobody = f"NOT EXISTS (SELECT 1 FROM entities e WHERE e.key = t.{column})"  # noqa: S608
        query = f"SELECT count(*) FROM {table} t WHERE t.{column} IS NOT NULL AND {nobody}"  # noqa: S608
        found[f"{table}.{column}"] = fetch(connection, query)[0][0]
    return found


def _keys(schema: Schema, gone: Gone) -> list[tuple[str, str]]:
    """The columns that may have keys of some people; objects only where these may be tails."""
    held = [(table, names) for table, names in _HELD.items() if table != "entities"]
    pairs = [(table, name) for table, names in (*held, *_LEADING.items()) for name in names]
    if any(event.tail in gone.types for event in schema.events.values()):
        pairs.append(("events", "object"))
    return pairs


def _erase_events(
    connection: Connection, schema: Schema, type_: str, keys: Sequence[int]
) -> dict[str, int]:
    """Their events, what makes these known, and their part of others' counters."""
    columns = "seq, event_name, event_id, actor, object"
    query = f"SELECT {columns} FROM events WHERE actor {{among_numbers}}"  # noqa: S608
    rows = rows_among(connection, query, keys)
    # There is no index by object, so all of the log is looked at; only where that may help.
    if any(event.tail == type_ for event in schema.events.values()):
        query = f"SELECT {columns} FROM events WHERE object {{among_numbers}}"  # noqa: S608
        rows += rows_among(connection, query, keys)
    found = {row[0]: row for row in rows}
    own = set(keys)
    others = {end for row in found.values() for end in row[3:] if end not in own} - {None}
    held = canonical(connection, others)
    counted: Counter[tuple[int, str]] = Counter()
    for _, name, _, *ends in found.values():
        if name != MERGE:
            counted.update({(held[end], name) for end in ends if end in held})
    delete_events(connection, sorted(found))
    lower(connection, counted)
    digests = [{"known": digest_of(row[1], row[2])} for row in found.values()]
    known = 0
    if digests:
        forgotten = delete(seen).where(seen.c.digest == bindparam("known"))
        known = connection.execute(forgotten, digests).rowcount
    return {"events": len(found), "seen": known}


def _erase_answers(connection: Connection, type_: str, ids: Sequence[str]) -> int:
    """Answers about them; and their place in answers about others."""
    table, gone = answers.c, set(ids)
    about = (table.head_type == type_) & table.head_id.in_(ids)
    count = connection.execute(delete(answers).where(about)).rowcount
    for id_ in ids:
        named = table["items"].contains(json.dumps(id_, ensure_ascii=False), autoescape=True)
        query = select(table.request_id, table["items"]).where(table.tail_type == type_, named)
        for request_id, text in connection.execute(query).all():
            kept = [item for item in json.loads(text) if item[0] not in gone]
            told = json.dumps(kept, separators=(",", ":"), ensure_ascii=False)
            row = update(answers).where(table.request_id == request_id)
            count += connection.execute(row.values({"items": told})).rowcount
    return count
