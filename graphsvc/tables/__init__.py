"""Every table and index of the house, and the naming convention; nothing else.

Takes nothing, gives `metadata`; never runs a statement. Times are whole seconds since 1970. JSON
is kept as text in its canonical form, so both databases give back the bytes that came in.
"""

from graphsvc.tables.graph import (
    attributes,
    consents,
    counters,
    edges,
    entities,
    events,
    retractions,
    schemas,
    seen,
    sequences,
)
from graphsvc.tables.ledger import artifacts, decisions, promotions, successors
from graphsvc.tables.naming import metadata
from graphsvc.tables.people import api_keys, audit, erasures, job_log, job_progress, salts
from graphsvc.tables.served import answers, idempotency

__all__ = [
    "answers",
    "api_keys",
    "artifacts",
    "attributes",
    "audit",
    "consents",
    "counters",
    "decisions",
    "edges",
    "entities",
    "erasures",
    "events",
    "idempotency",
    "job_log",
    "job_progress",
    "metadata",
    "promotions",
    "retractions",
    "salts",
    "schemas",
    "seen",
    "sequences",
    "successors",
]
