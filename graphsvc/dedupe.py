"""What makes an event the same event: its name and id; and what makes it the same content.

Takes events, gives digests; and forgets, in the table `seen`, what can no longer be asked for.
Never looks at the log. Our design: 128 bits identify an event, 64 bits its content, so a row is
some 40 bytes however long ids are.
"""

from hashlib import blake2b
from typing import Final

from sqlalchemy import Connection, delete

from graphsvc.builtin import CONSENTS
from graphsvc.events import EntityRef, Event
from graphsvc.tables import seen

#: An id is remembered for the late window and this long after it: a repetition that comes later is
#: refused as late in any case.
SLACK_SECONDS: Final = 7 * 86_400
#: The ids of events without a late rule are remembered for ever.
NEVER: Final = 2**62
#: The table is cleaned up in so many parts, by the first byte of the digest.
PARTS: Final = 256

#: event_id, event_name, event_time, action_source, actor, object
_USUAL_FIELDS = 6
_NOTHING = (None,) * 8
_NOBODY = EntityRef.model_construct(type="", id="")


def digest_of(event_name: str, event_id: str) -> bytes:
    """16 bytes that stand for the name and id of an event."""
    return blake2b(f"{event_name}\n{event_id}".encode(), digest_size=16).digest()


def body_of(event: Event, properties: str | None) -> int:
    """A signed 64-bit number that stands for all else that an event says.

    `properties` is their canonical JSON, so neither the order of fields nor 1 for 1.0 matters.
    """
    actor, target = event.actor, event.object or _NOBODY
    # No id and no JSON text holds a line break, and none of these is an empty text.
    content = (
        f"{event.event_time}\n{event.action_source}\n{actor.type}\n{actor.id}\n"
        f"{target.type}\n{target.id}\n"
    )
    if len(event.model_fields_set) > _USUAL_FIELDS - (event.object is None):
        rest = (
            event.relation,
            event.value,
            event.currency,
            properties,
            event.consent,
            event.request_id,
            event.position,
            event.sampling_rate,
        )
        if rest != _NOTHING:
            content += "\n".join("" if value is None else str(value) for value in rest)
    return int.from_bytes(blake2b(content.encode(), digest_size=8).digest(), "big", signed=True)


def expiry_of(event: Event, *, now: int, late_seconds: int) -> int:
    """From when on an event that arrives `now` counts as never seen."""
    # Consent has no late rule either: an old opt-in must not come back to life.
    if event.action_source == "structure" or event.event_name in CONSENTS:
        return NEVER
    return now + late_seconds + SLACK_SECONDS


def forget(connection: Connection, *, now: int, part: int) -> int:
    """Delete what has expired in one of `PARTS` parts, and give how many rows that was.

    In parts, because the table may be large and nobody else writes meanwhile on SQLite. An expired
    row counts as never seen whether it has been deleted or not.
    """
    first, behind = bytes([part]), bytes([part + 1]) if part + 1 < PARTS else None
    expired = (seen.c.expires_at <= now) & (seen.c.digest >= first)
    if behind:
        expired &= seen.c.digest < behind
    return connection.execute(delete(seen).where(expired)).rowcount
