"""Who may call, who did what, who was erased; and how far jobs are."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
)

from graphsvc.tables.naming import ApplicationId, Digest, Key, Name, metadata

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
    Column("number", Key, primary_key=True, autoincrement=False),
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
    Column("of", Key),
    Column("status", Integer),
    Index(None, "actor", "number"),
)

#: Secrets of this database's own, such as what digests of subjects are keyed with.
salts = Table(
    "salts",
    metadata,
    Column("name", Name, primary_key=True),
    Column("value", LargeBinary(32), nullable=False),
)

#: How far each step of a job is, for those who watch.
job_progress = Table(
    "job_progress",
    metadata,
    Column("job_id", String(128), primary_key=True),
    Column("step", Name, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

#: Who was erased: the list that ingestion and sealing ask, and that a restored backup is held to.
erasures = Table(
    "erasures",
    metadata,
    Column("number", Key, primary_key=True, autoincrement=False),
    Column("type", Name, nullable=False),
    #: A keyed digest of type and id.
    Column("subject", Digest, nullable=False),
    #: Empty as soon as nothing has it any more.
    Column("id", ApplicationId),
    Column("asked_at", BigInteger, nullable=False),
    #: JSON: rows that were taken out, by table; empty before they were.
    Column("removed", Text),
    Column("certificate", Digest),
    #: Who agrees again is somebody new, from this event time and this row of the log on.
    Column("returned_at", BigInteger),
    Column("returned_seq", BigInteger),
    Index(None, "subject"),
)

#: What became of jobs, a line each, for those who look back; bounded per job and in all.
job_log = Table(
    "job_log",
    metadata,
    Column("number", Key, primary_key=True, autoincrement=True),
    Column("job_id", String(128), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("level", String(16), nullable=False),
    Column("step", Name),
    Column("message", Text, nullable=False),
    Index(None, "job_id", "number"),
)
