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
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
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

# The projections (edges, counters, attributes, retractions, consents) can be rebuilt from the log
# at any time, so they do without foreign keys, which would double the work of a write; so does the
# log, whose keys ingest hands out itself. On SQLite they are stored in their primary key.

#: The last number given to an event and to an entity. Only ever grows: rows of the log may go.
sequences = Table(
    "sequences",
    metadata,
    #: event | entity
    Column("name", _Name, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

#: Every entity that an event has named. `key` is this database's own short name for it.
entities = Table(
    "entities",
    metadata,
    # Keys are handed out by ingest, which is alone while it writes.
    Column("key", _Key, primary_key=True, autoincrement=False),
    Column("type", _Name, nullable=False),
    Column("id", _ApplicationId, nullable=False),
    #: The log row that named it first: at an earlier watermark it was not there.
    Column("first_seq", BigInteger, nullable=False),
    #: Out of answers, kept for labels; `retired_time` is when it was last retired or restored.
    Column("retired", Boolean, nullable=False, server_default=false()),
    Column("retired_time", BigInteger),
    #: The key of the entity that this id was merged into; never one that is merged itself.
    Column("merged_into", _Key),
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
    Column("seq", _Key, primary_key=True, autoincrement=False),
    Column("event_id", _ApplicationId, nullable=False),
    Column("event_name", _Name, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("action_source", String(16), nullable=False),
    #: Keys of entities as the event named them; merges are applied when the log is read.
    Column("actor", _Key, nullable=False),
    #: Empty for events about one entity, e.g. `set_attributes`.
    Column("object", _Key),
    #: For `retract`: the relation of which an event is taken back.
    Column("relation", _Name),
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

#: The edges of which something was ever retracted: they are summed anew from the log, in order of
#: time, whenever an event touches them. A projection of the log.
retractions = Table(
    "retractions",
    metadata,
    Column("head", _Key, primary_key=True, autoincrement=False),
    Column("relation", _Name, primary_key=True),
    Column("tail", _Key, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

#: What a person has said of offsite events, last; a projection of the log.
consents = Table(
    "consents",
    metadata,
    Column("entity", _Key, primary_key=True, autoincrement=False),
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
    Column("entity", _Key, primary_key=True, autoincrement=False),
    Column("event_name", _Name, primary_key=True),
    Column("n", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What is known of an entity: the last writer by (event_time, event_id) wins; a projection of the
#: log.
attributes = Table(
    "attributes",
    metadata,
    Column("entity", _Key, primary_key=True, autoincrement=False),
    Column("name", _Name, primary_key=True),
    Column("value", Text, nullable=False),
    Column("event_time", BigInteger, nullable=False),
    Column("event_id", _ApplicationId, nullable=False),
    sqlite_with_rowid=False,
)

#: The versions of the schema; the last one holds.
schemas = Table(
    "schemas",
    metadata,
    Column("version", _Key, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

#: What was answered to a score request, for joining with what people did; bounded by rows and age.
answers = Table(
    "answers",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("asked_at", BigInteger, nullable=False),
    Column("head_type", _Name, nullable=False),
    Column("head_id", _ApplicationId, nullable=False),
    Column("tail_type", _Name, nullable=False),
    #: learned | cold | unknown
    Column("state", String(16), nullable=False),
    Column("bundle", _Digest, nullable=False),
    Column("index", _Digest, nullable=False),
    Column("ranker", _Digest, nullable=False),
    #: JSON [[candidate id, score], ...] in the order of the answer.
    Column("items", Text, nullable=False),
    #: What they are ordered by: ctr | cvr | ctcvr; unknown of answers of before.
    Column("ordered_by", String(8)),
    #: The place that scores are for; empty where the ranker did not mind.
    Column("position", Integer),
    Index(None, "asked_at"),
    Index(None, "head_type", "head_id"),
)

#: Answers to POSTs that carried an Idempotency-Key, so that a repetition gets the same one.
idempotency = Table(
    "idempotency",
    metadata,
    #: The id of the API key that asked, and what it called the request.
    Column("api_key", String(32), primary_key=True),
    Column("name", String(255), primary_key=True),
    #: Of method, path and body.
    Column("request", _Digest, nullable=False),
    #: Empty while the request is under way.
    Column("status", Integer),
    Column("media_type", String(100)),
    Column("answer", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "created_at"),
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
    #: A job, an API key or the command line; empty in rows of before it was asked.
    Column("promoted_by", String(200)),
    #: What the gate had said of the pair; empty where it had not been asked.
    Column("decision", _Digest),
)

#: What the gate said of a ranker beside a bundle, against what was live then.
decisions = Table(
    "decisions",
    metadata,
    #: Their order; ledger and log have one writer at a time, who hands it out.
    Column("number", _Key, primary_key=True, autoincrement=False),
    #: The digest of all else but the time.
    Column("id", _Digest, nullable=False),
    #: passed | refused | not decided
    Column("decision", String(16), nullable=False),
    #: champion | first | live
    Column("rule", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("ranker", _Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("bundle", _Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("snapshot", _Digest, ForeignKey("artifacts.digest"), nullable=False),
    #: Empty where nothing was live.
    Column("champion_ranker", _Digest, ForeignKey("artifacts.digest")),
    Column("champion_bundle", _Digest, ForeignKey("artifacts.digest")),
    #: JSON: all that it rests on.
    Column("numbers", Text, nullable=False),
    Column("job_id", String(128)),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("id"),
    Index(None, "ranker", "number"),
)

#: Who may call. Only a hash of the secret part is kept.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: What it is good for, with spaces between; keys of before are good for everything.
    Column("scopes", String(100), nullable=False, server_default="admin"),
    #: From here on it is good for nothing; empty: it does not end.
    Column("expires_at", BigInteger),
    #: To the minute or so.
    Column("last_used_at", BigInteger),
    #: Another one was made in its place; it ends soon, and is not rotated again.
    Column("rotated", Boolean, nullable=False, server_default=false()),
)

#: Who asked for which write, and what became of it; ingestion has its log. Rows are appended and
#: never changed: triggers of the database refuse it.
audit = Table(
    "audit",
    metadata,
    #: Their order.
    Column("number", _Key, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    #: The id of an API key, or the command line.
    Column("actor", String(64), nullable=False),
    #: Method and template of a route, or a verb of the command line.
    Column("action", String(100), nullable=False),
    #: JSON: what it was about; of people and things a keyed digest.
    Column("about", Text, nullable=False),
    #: The HTTP request, as in its headers and the servers' log; empty of the command line.
    Column("trace_id", String(64)),
    #: Of the row of what became of a request: the number of the row that asked, and the status.
    Column("of", _Key),
    Column("status", Integer),
    Index(None, "actor", "number"),
)

#: Secrets of this database's own, such as what digests of subjects are keyed with.
salts = Table(
    "salts",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("value", LargeBinary(32), nullable=False),
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

#: What became of jobs, a line each, for those who look back; bounded per job and in all.
job_log = Table(
    "job_log",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=True),
    Column("job_id", String(128), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("level", String(16), nullable=False),
    Column("step", _Name),
    Column("message", Text, nullable=False),
    Index(None, "job_id", "number"),
)
