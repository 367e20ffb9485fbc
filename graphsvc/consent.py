"""What persons say of offsite events: a state with a time, and what it leaves in the log.

Takes persons, keeps their consent rows and deletes what they refused; never decides about other
events. All of it follows from the set of a person's opt-outs and opt-ins, in whatever order they
come. Our design.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from graphsvc.builtin import OPT_IN, OPT_OUT
from graphsvc.bulk import Insert, rows_among
from graphsvc.dedupe import NEVER
from graphsvc.logread import aliases
from graphsvc.projection import Pair
from graphsvc.removal import delete_events, lower
from graphsvc.retraction import sum_anew
from graphsvc.schema import Schema

_CONSENTS = Insert(
    table="consents",
    columns={"entity": "bigint", "state": "text", "time": "bigint", "barrier": "bigint"},
    otherwise="""
        ON CONFLICT (entity) DO UPDATE SET
            state = excluded.state, time = excluded.time, barrier = excluded.barrier""",
)


class Consent(NamedTuple):
    """What a person said last, when, and from what event time on offsite events are kept."""

    state: str
    time: int
    barrier: int


def consent_of(said: Iterable[tuple[int, str]]) -> Consent | None:
    """The state after some (time, opt_in or opt_out); of the same second, the refusal counts.

    Nothing that happened up to the last refusal is kept, and after it only what happened from the
    first agreement on.
    """
    outs: list[int] = []
    ins: list[int] = []
    for time, name in said:
        (outs if name == OPT_OUT else ins).append(time)
    if not outs:
        return Consent("in", max(ins), 0) if ins else None
    refused = max(outs)
    since = [time for time in ins if time > refused]
    return Consent("in", max(since), min(since)) if since else Consent("out", refused, NEVER)


def barriers(
    connection: Connection, persons: Iterable[tuple[str, str]]
) -> Mapping[tuple[str, str], int]:
    """(type, id) -> the earliest time of an offsite event that may be kept, where there is one."""
    ids_by_type: dict[str, set[str]] = defaultdict(set)
    for type_, id_ in persons:
        ids_by_type[type_].add(id_)
    query = (
        "SELECT e.id, (SELECT c.barrier FROM consents c "
        "WHERE c.entity = coalesce(e.merged_into, e.key)) FROM entities e "
        "WHERE e.type = {value} AND e.id {among}"
    )
    return {
        (type_, row[0]): row[1]
        for type_, ids in ids_by_type.items()
        for row in rows_among(connection, query, sorted(ids), where=(type_,))
        if row[1]
    }


def apply_consents(connection: Connection, schema: Schema, persons: Iterable[int]) -> None:
    """Set the consent rows of some persons from the log, and delete what they refused."""
    keys = aliases(connection, persons)
    query = (
        f"SELECT actor, event_time, event_name FROM events "  # noqa: S608  (our own names)
        f"WHERE event_name IN ('{OPT_IN}', '{OPT_OUT}') AND actor {{among_numbers}}"
    )
    said: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for actor, time, name in rows_among(connection, query, sorted(keys)):
        said[keys[actor]].append((time, name))
    found = {person: consent_of(events) for person, events in sorted(said.items())}
    _CONSENTS.run(connection, [(person, *held) for person, held in found.items() if held])
    for person, held in found.items():
        if held and held.barrier:
            own = [key for key, canonical in keys.items() if canonical == person]
            _delete_refused(connection, schema, own, held.barrier)


def _delete_refused(
    connection: Connection, schema: Schema, person: Sequence[int], barrier: int
) -> None:
    """Delete a person's offsite events of before `barrier`, and what they left behind."""
    columns = "seq, event_name, actor, object, relation"
    # What was said of consent stays, wherever it was said.
    before = (
        f"SELECT {columns} FROM events WHERE action_source = 'offsite' "  # noqa: S608
        f"AND event_name NOT IN ('{OPT_IN}', '{OPT_OUT}') AND event_time < "
    )
    rows = rows_among(
        connection, before + "{value} AND actor {among_numbers}", person, where=(barrier,)
    )
    if any(schema.entities[kind.tail].person for kind in _offsite(schema)):
        rows += rows_among(
            connection, before + "{value} AND object {among_numbers}", person, where=(barrier,)
        )
    refused = {row[0]: row for row in rows}
    if not refused:
        return
    ends = {end for row in rows for end in (row[2], row[3])}
    query = "SELECT key, coalesce(merged_into, key) FROM entities WHERE key {among_numbers}"
    canonical = {row[0]: row[1] for row in rows_among(connection, query, sorted(ends))}
    counted: Counter[tuple[int, str]] = Counter()
    pairs: set[Pair] = set()
    for _, name, actor, target, relation in refused.values():
        head, tail = canonical[actor], canonical[target]
        counted.update({(end, name) for end in (head, tail)})
        declared = schema.events.get(relation or name)
        if declared and declared.edge:
            pairs |= {(head, declared.name, tail)}
            if not declared.directed:
                pairs |= {(tail, declared.name, head)}
    delete_events(connection, sorted(refused))
    lower(connection, counted)
    sum_anew(connection, schema, pairs)


def _offsite(schema: Schema) -> list[Any]:
    return [kind for kind in schema.events.values() if kind.source == "offsite"]
