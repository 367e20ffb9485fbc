"""Appending to the log on PostgreSQL: one COPY, and one statement for all the rest.

Takes entries, gives for each the new row or what was known of it; never projects.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from graphsvc.bulk import Staging, fetch
from graphsvc.entry import Entry, Known, Written

_INCOMING = Staging(
    table="incoming",
    columns={
        "n": "integer",
        "digest": "bytea",
        "body": "bigint",
        "expires_at": "bigint",
        "event_id": "text",
        "event_name": "text",
        "event_time": "bigint",
        "action_source": "text",
        "actor_type": "text",
        "actor_id": "text",
        "object_type": "text",
        "object_id": "text",
        "relation": "text",
        "value": "double precision",
        "currency": "text",
        "properties": "text",
        "consent": "boolean",
        "request_id": "text",
        "position": "integer",
        "sampling_rate": "double precision",
    },
)

# Read top down: what was seen, what is new, the entities that it names, the keys that they have or
# get, the rows of the log. Everything in it sees the tables as they were before it.
#
# The large tables are asked by a subquery per row, which looks into an index whatever the planner
# thinks; the parts are joined by hashing, since it takes them for tiny (see `_PLANS`).
_APPEND = """
WITH start AS MATERIALIZED (
    SELECT (SELECT last FROM sequences WHERE name = 'event') AS seq,
           (SELECT last FROM sequences WHERE name = 'entity') AS key,
           greatest(%(now)s, (SELECT received_at FROM events ORDER BY seq DESC LIMIT 1)) AS now
), asked AS MATERIALIZED (
    SELECT i.*, (
        SELECT ARRAY[s.expires_at, s.body] FROM seen s WHERE s.digest = i.digest
    ) AS before FROM incoming i
), fresh AS MATERIALIZED (
    SELECT asked.*, row_number() OVER (ORDER BY n) AS rank FROM asked
    WHERE coalesce(before[1] <= %(now)s, true)
), noted AS (
    INSERT INTO seen SELECT digest, body, expires_at FROM fresh WHERE before IS NULL
), noted_again AS (
    INSERT INTO seen SELECT digest, body, expires_at FROM fresh WHERE before IS NOT NULL
    ON CONFLICT (digest) DO UPDATE SET body = excluded.body, expires_at = excluded.expires_at
), held AS MATERIALIZED (
    SELECT names.*, (
        SELECT ARRAY[e.key, coalesce(e.merged_into, e.key)] FROM entities e
        WHERE e.type = names.type AND e.id = names.id
    ) AS keys FROM (
        SELECT type, id, min(rank) AS rank, min(place) AS place FROM (
            SELECT actor_type AS type, actor_id AS id, rank, 2 * rank AS place FROM fresh
            UNION ALL
            SELECT object_type, object_id, rank, 2 * rank + 1 FROM fresh
            WHERE object_id IS NOT NULL
        ) ends GROUP BY type, id
    ) names
), made AS (
    INSERT INTO entities (key, type, id, first_seq)
    SELECT (SELECT key FROM start) + row_number() OVER (ORDER BY place), type, id,
           (SELECT seq FROM start) + rank
    FROM held WHERE keys IS NULL
    RETURNING key, type, id
), keyed_names AS MATERIALIZED (
    SELECT type, id, keys[1] AS key, keys[2] AS canonical FROM held WHERE keys IS NOT NULL
    UNION ALL SELECT type, id, key, key FROM made
), keyed AS MATERIALIZED (
    SELECT f.*, (SELECT seq FROM start) + f.rank AS seq, a.key AS actor, a.canonical AS head,
           o.key AS object, o.canonical AS tail
    FROM fresh f
    JOIN keyed_names a ON a.type = f.actor_type AND a.id = f.actor_id
    LEFT JOIN keyed_names o ON o.type = f.object_type AND o.id = f.object_id
), logged AS (
    INSERT INTO events (seq, event_id, event_name, event_time, action_source, actor, object,
        relation, value, currency, properties, consent, request_id, position, sampling_rate,
        received_at)
    SELECT seq, event_id, event_name, event_time, action_source, actor, object,
        relation, value, currency, properties, consent, request_id, position, sampling_rate,
        (SELECT now FROM start)
    FROM keyed ORDER BY seq
), counted AS (
    UPDATE sequences SET last = last + CASE name
        WHEN 'event' THEN (SELECT count(*) FROM fresh)
        ELSE (SELECT count(*) FROM held WHERE keys IS NULL) END
)
SELECT n, NULL AS body, seq, head, tail FROM keyed
UNION ALL
SELECT n, before[2], NULL, NULL, NULL FROM asked WHERE before[1] > %(now)s"""

#: For the rest of the transaction: rows are found by key, and parts of a statement by hashing. A
#: plan that was made and kept while a table was empty must not go on reading all of it when it is
#: full.
_PLANS = "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off"


def plan(connection: Connection) -> None:
    """Have the statements of this transaction planned for large tables."""
    connection.exec_driver_sql(_PLANS)


def stage(connection: Connection, entries: Sequence[Entry]) -> None:
    """Send entries to the database; needs no lock, so it comes before one is taken."""
    _INCOMING.fill(connection, entries)


def append(connection: Connection, *, now: int) -> dict[int, Written | Known]:
    """Write what is staged; by place in the batch, what became of each entry."""
    rows = fetch(connection, _APPEND, {"now": now})
    return {
        n: Known(body) if seq is None else Written(seq, head, tail)
        for n, body, seq, head, tail in rows
    }


def bodies(
    connection: Connection, digests: Sequence[bytes], *, now: int
) -> dict[bytes, int | None]:
    """What is known of some digests."""
    query = "SELECT digest, body FROM seen WHERE digest = ANY(%s) AND expires_at > %s"
    rows = fetch(connection, query, (list(digests), now))
    return {bytes(digest): body for digest, body in rows}
