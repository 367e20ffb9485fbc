"""What built-in events do beyond the sums of the projection.

Takes the events of a batch that were just logged, calls who is in charge; holds no rule itself.
Everything is done again from the log, so that a replay and the first time through give the same.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from graphsvc.builtin import CONSENTS, MERGE, OPT_IN, RESTORE, RETIRE
from graphsvc.consent import apply_consents
from graphsvc.erasures import came_back
from graphsvc.lifecycle import apply_lifecycle
from graphsvc.merging import apply_merges
from graphsvc.projection import Logged
from graphsvc.schema import Schema


def apply_effects(connection: Connection, schema: Schema, logged: Sequence[Logged]) -> None:
    """Do what consents, retirements, restorations and merges ask for."""
    lives = [event for event in logged if event.event_name in (RETIRE, RESTORE)]
    if lives:
        apply_lifecycle(connection, lives)
    merges = [event for event in logged if event.event_name == MERGE]
    if merges:
        apply_merges(connection, schema, merges)
    persons = {event.actor for event in logged if event.event_name in CONSENTS}
    if persons:
        apply_consents(connection, schema, persons)
        agreed = [event for event in logged if event.event_name == OPT_IN]
        came_back(connection, ((event.actor, event.event_time, event.seq) for event in agreed))
