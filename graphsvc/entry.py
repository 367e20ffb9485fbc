"""An event on its way into the log, and what became of it.

Takes nothing, gives the shapes that ingest and the two ways of writing share.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """An event as a row, its entities still by name. The order is that of the staged columns."""

    #: Place in the batch.
    n: int
    digest: bytes
    body: int
    expires_at: int
    event_id: str
    event_name: str
    event_time: int
    action_source: str
    actor_type: str
    actor_id: str
    object_type: str | None
    object_id: str | None
    relation: str | None
    value: float | None
    currency: str | None
    properties: str | None
    consent: bool | None
    request_id: str | None
    position: int | None
    sampling_rate: float | None


class Written(NamedTuple):
    """A new row of the log: its number, and the canonical keys of its ends."""

    seq: int
    actor: int
    object: int | None


class Known(NamedTuple):
    """An event that was seen before; what it said then, if that is still known."""

    body: int | None
