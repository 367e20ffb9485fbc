"""Every table and index of the house, and the naming convention; nothing else.

Takes nothing, gives `metadata`; never runs a statement. Times are whole seconds since 1970. JSON
is kept as text in its canonical form, so both databases give back the bytes that came in.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes only INTEGER columns its row number; there it is 64 bits wide anyway.
_Key = BigInteger().with_variant(Integer, "sqlite")
_Name = String(64)
_ApplicationId = String(256)
_Digest = String(64)

# The projections (edges, counters, attributes) can be rebuilt from the log at any time, so they do
# without foreign keys, which would double the work of a write. On SQLite
# they are stored in their primary key.

#: Every entity that an event has named. `key` is this database's own short name for it.
entities = Table(
    "entities",
    metadata,
    # Keys are handed out by ingest, which is alone while it writes.
    Column("key", _Key, primary_key=True, autoincrement=False),
    Column("type", _Name, nullable=False),
    Column("id", _ApplicationId, nullable=False),
    UniqueConstraint("type", "id"),
)

#: The log. Rows are only ever appended; `seq` is their order, and the order of commits.
events = Table(
    "events",
    metadata,
    Column("seq", _Key, primary_key=True, autoincrement=False),
    Column("event_id", _ApplicationId, nullable=False),
    Column("event_name", _Name, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("action_source", String(16), nullable=False),
    Column("actor", _Key, ForeignKey("entities.key"), nullable=False),
    #: Empty for `set_attributes` only.
    Column("object", _Key, ForeignKey("entities.key")),
    Column("value", Double),
    Column("currency", String(3)),
    Column("properties", Text),
    Column("consent", Boolean),
    Column("received_at", BigInteger, nullable=False),
    # The id comes first: ingest asks for a batch of ids, whatever their names.
    UniqueConstraint("event_id", "event_name"),
    Index(None, "event_name", "event_time"),
    Index(None, "actor", "object", "event_time"),
)

#: The graph: one row per (head, relation, tail), a projection of the log.
edges = Table(
    "edges",
    metadata,
    Column("head", _Key, primary_key=True, autoincrement=False),
    Column("relation", _Name, primary_key=True),
    Column("tail", _Key, primary_key=True, autoincrement=False),
    #: Sum of 2^-((last_time - t) / half-life) over the events' times t.
    Column("decayed", Double, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first_time", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    Index(None, "tail", "relation", "head"),
    sqlite_with_rowid=False,
)

#: How often an entity was the actor or the object of each event; a projection of the log.
counters = Table(
    "counters",
    metadata,
    Column("entity", _Key, primary_key=True, autoincrement=False),
    Column("event_name", _Name, primary_key=True),
    Column("n", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What is known of an entity: the last writer by (event_time, seq) wins; a projection of the log.
attributes = Table(
    "attributes",
    metadata,
    Column("entity", _Key, primary_key=True, autoincrement=False),
    Column("name", _Name, primary_key=True),
    Column("value", Text, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: The ledger: which artifacts exist.
artifacts = Table(
    "artifacts",
    metadata,
    Column("digest", _Digest, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("parents", Text, nullable=False),
    Column("dials", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    #: The short values of the manifest's payload, e.g. the frame.
    Column("summary", Text, nullable=False),
    #: sealed | live | retired
    Column("state", String(16), nullable=False),
    Column("job_id", String(128)),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "kind", "created_at", "digest"),
)

#: Which trio was live since when; the last row is live, its generation is what servers poll.
promotions = Table(
    "promotions",
    metadata,
    Column("generation", _Key, primary_key=True, autoincrement=False),
    Column("bundle", _Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("index", _Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("ranker", _Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: Who may call. Only a hash of the secret part is kept.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: How far each step of a job is, for those who watch.
job_progress = Table(
    "job_progress",
    metadata,
    Column("job_id", String(128), primary_key=True),
    Column("step", _Name, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
