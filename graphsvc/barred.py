"""What may not come in because it names somebody who was erased.

Takes what is said and of whom, gives verdicts; never writes. Called while nobody else writes.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from graphsvc.builtin import OPT_IN
from graphsvc.erasures import barriers
from graphsvc.events import Event
from graphsvc.ids import EntityId
from graphsvc.schema import Schema
from graphsvc.verdict import Verdict

_EXPECTED = "somebody who was not erased, or who has agreed again by an earlier opt_in event"


class Said(NamedTuple):
    """An event as far as it counts here."""

    event_id: str
    name: str
    time: int
    #: `actor`, and `object` where there is one.
    ends: Mapping[str, EntityId]


def said_in(event: Event) -> Said:
    """What an event says."""
    ends = {"actor": EntityId(event.actor.type, event.actor.id)}
    if event.object:
        ends["object"] = EntityId(event.object.type, event.object.id)
    return Said(event.event_id, event.event_name, event.event_time, ends)


def barred(connection: Connection, schema: Schema, said: Mapping[int, Said]) -> dict[int, Verdict]:
    """The verdicts on those that name somebody who is not to come in, by place."""
    persons = {kind.name for kind in schema.entities.values() if kind.person}
    named = {end for one in said.values() for end in one.ends.values() if end.type in persons}
    held = barriers(connection, named)
    found: dict[int, Verdict] = {}
    for place, one in said.items() if held else ():
        for field, end in one.ends.items():
            if end in held and held[end].refuses(one.time, agrees=one.name == OPT_IN):
                # Without the value: verdicts are kept, and the id is not to be.
                says = f"{field} should be {_EXPECTED}"
                found[place] = Verdict(one.event_id, "rejected", "erased", field, says)
    return found
