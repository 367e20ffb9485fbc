"""What built-in events do beyond the sums of the projection.

Takes the events of a batch that were just logged, calls who is in charge; holds no rule itself.
Everything is done again from the log, so that a replay and the first time through give the same.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from graphsvc.builtin import CONSENTS
from graphsvc.consent import apply_consents
from graphsvc.projection import Logged
from graphsvc.schema import Schema


def apply_effects(connection: Connection, schema: Schema, logged: Sequence[Logged]) -> None:
    """Do what consents ask for."""
    persons = {event.actor for event in logged if event.event_name in CONSENTS}
    if persons:
        apply_consents(connection, schema, persons)
