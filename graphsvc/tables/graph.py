"""Entities, the log, and what is projected from it; and what was seen."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from graphsvc.tables.naming import ApplicationId, Key, Name, metadata

# The projections (edges, counters, attributes, retractions, consents) can be rebuilt from the log
# at any time, so they do without foreign keys, which would double the work of a write; so does the
# log, whose keys ingest hands out itself. A row may therefore be there without its entity: whoever
# certifies an erasure looks for such (`erase.py`). On SQLite they are stored in their primary key.

#: The last number given to an event and to an entity. Only ever grows: rows of the log may go.
sequences = Table(
    "sequences",
    metadata,
    #: event | entity
    Column("name", Name, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

#: Every entity that an event has named. `key` is this database's own short name for it.
entities = Table(
    "entities",
    metadata,
    # Keys are handed out by ingest, which is alone while it writes.
    Column("key", Key, primary_key=True, autoincrement=False),
    Column("type", Name, nullable=False),
    Column("id", ApplicationId, nullable=False),
    #: The log row that named it first: at an earlier watermark it was not there.
    Column("first_seq", BigInteger, nullable=False),
    #: Out of answers, kept for labels; `retired_time` is when it was last retired or restored.
    Column("retired", Boolean, nullable=False, server_default=false()),
    Column("retired_time", BigInteger),
    #: The key of the entity that this id was merged into; never one that is merged itself.
    Column("merged_into", Key),
    UniqueConstraint("type", "id"),
)
Index(
    "ix_entities_merged_into",
    entities.c.merged_into,
    postgresql_where=entities.c.merged_into.is_not(None),
    sqlite_where=entities.c.merged_into.is_not(None),
)
Index(
    "ix_entities_retired",
    entities.c.type,
    postgresql_where=entities.c.retired,
    sqlite_where=entities.c.retired,
)

#: The log. Rows are appended, and taken out when a person opts out; `seq` is their order, and the
#: order of commits. A number is never given twice.
events = Table(
    "events",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=False),
    Column("event_id", ApplicationId, nullable=False),
    Column("event_name", Name, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("action_source", String(16), nullable=False),
    #: Keys of entities as the event named them; merges are applied when the log is read.
    Column("actor", Key, nullable=False),
    #: Empty for events about one entity, e.g. `set_attributes`.
    Column("object", Key),
    #: For `retract`: the relation of which an event is taken back.
    Column("relation", Name),
    Column("value", Double),
    Column("currency", String(3)),
    Column("properties", Text),
    Column("consent", Boolean),
    #: Of an exposure: the answer that it was shown for, where in it, and how likely it was logged.
    Column("request_id", String(64)),
    Column("position", Integer),
    Column("sampling_rate", Double),
    Column("received_at", BigInteger, nullable=False),
    Index(None, "event_name", "event_time"),
    Index(None, "actor", "event_time"),
)
Index(
    "ix_events_request_id",
    events.c.request_id,
    postgresql_where=events.c.request_id.is_not(None),
    sqlite_where=events.c.request_id.is_not(None),
)

#: Which events were seen: what makes one a duplicate, and the same id with other content a
#: conflict. Narrow, since every batch asks it for every event.
seen = Table(
    "seen",
    metadata,
    #: The first 16 bytes of a digest of (event_name, event_id).
    Column("digest", LargeBinary(16), primary_key=True),
    #: 8 bytes of a digest of the rest of the event; empty where it is not known.
    Column("body", BigInteger),
    #: From here on the event counts as never seen, and the row may go.
    Column("expires_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: The graph: one row per (head, relation, tail), a projection of the log.
edges = Table(
    "edges",
    metadata,
    Column("head", Key, primary_key=True, autoincrement=False),
    Column("relation", Name, primary_key=True),
    Column("tail", Key, primary_key=True, autoincrement=False),
    #: Sum of 2^-((last_time - t) / half-life) over the events' times t.
    Column("decayed", Double, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_time", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    Index(None, "tail", "relation", "head"),
    sqlite_with_rowid=False,
)

#: The edges of which something was ever retracted: they are summed anew from the log, in order of
#: time, whenever an event touches them. A projection of the log.
retractions = Table(
    "retractions",
    metadata,
    Column("head", Key, primary_key=True, autoincrement=False),
    Column("relation", Name, primary_key=True),
    Column("tail", Key, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

#: What a person has said of offsite events, last; a projection of the log.
consents = Table(
    "consents",
    metadata,
    Column("entity", Key, primary_key=True, autoincrement=False),
    #: in | out
    Column("state", String(8), nullable=False),
    #: When the person said so.
    Column("time", BigInteger, nullable=False),
    #: Offsite events of an earlier time are not kept.
    Column("barrier", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: How often an entity was the actor or the object of each event; a projection of the log.
counters = Table(
    "counters",
    metadata,
    Column("entity", Key, primary_key=True, autoincrement=False),
    Column("event_name", Name, primary_key=True),
    Column("n", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What is known of an entity: the last writer by (event_time, event_id) wins; a projection of the
#: log.
attributes = Table(
    "attributes",
    metadata,
    Column("entity", Key, primary_key=True, autoincrement=False),
    Column("name", Name, primary_key=True),
    Column("value", Text, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("event_id", ApplicationId, nullable=False),
    sqlite_with_rowid=False,
)

#: The versions of the schema; the last one holds.
schemas = Table(
    "schemas",
    metadata,
    Column("version", Key, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
