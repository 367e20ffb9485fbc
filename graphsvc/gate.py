"""What the graph as it is now forbids, though the event by itself is well.

Takes entries that were admitted, gives rejections; never writes. Called while nobody else writes.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from graphsvc import erasures
from graphsvc.barred import Said, barred
from graphsvc.builtin import CONSENTS
from graphsvc.consent import barriers
from graphsvc.entry import Entry
from graphsvc.ids import EntityId
from graphsvc.merging import circular
from graphsvc.schema import Schema
from graphsvc.verdict import Verdict

_EXPECTED = "absent: the person has opted out of offsite events"


def refused(connection: Connection, schema: Schema, entries: Sequence[Entry]) -> dict[int, Verdict]:
    """The verdicts on the entries that may not be logged, by their place in the batch."""
    wrong = _opted_out(connection, schema, entries) | circular(connection, entries)
    if not erasures.last(connection):  # as a rule: then nobody has to be asked about
        return wrong
    return wrong | barred(connection, schema, {entry.n: _said_in(entry) for entry in entries})


def _said_in(entry: Entry) -> Said:
    ends = {"actor": EntityId(entry.actor_type, entry.actor_id)}
    if entry.object_type and entry.object_id:
        ends["object"] = EntityId(entry.object_type, entry.object_id)
    return Said(entry.event_id, entry.event_name, entry.event_time, ends)


def _opted_out(
    connection: Connection, schema: Schema, entries: Sequence[Entry]
) -> dict[int, Verdict]:
    persons = {kind.name for kind in schema.entities.values() if kind.person}
    asked: list[tuple[Entry, list[tuple[str, str]]]] = []
    for entry in entries:
        # What a person says of consent is heard wherever it was said.
        if entry.action_source == "offsite" and entry.event_name not in CONSENTS:
            ends = [(entry.actor_type, entry.actor_id)]
            if entry.object_type and entry.object_id:
                ends.append((entry.object_type, entry.object_id))
            asked.append((entry, [end for end in ends if end[0] in persons]))
    if not asked:
        return {}
    held = barriers(connection, {end for _, ends in asked for end in ends})
    return {
        entry.n: Verdict(
            entry.event_id,
            "rejected",
            "opted_out",
            "event",
            f"event should be {_EXPECTED}, or has since agreed again",
        )
        for entry, ends in asked
        if any(entry.event_time < held.get(end, 0) for end in ends)
    }
