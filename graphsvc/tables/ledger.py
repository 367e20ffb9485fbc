"""Artifacts, what is live, and what the gate said."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from graphsvc.tables.naming import Digest, Key, metadata

#: The ledger: which artifacts exist.
artifacts = Table(
    "artifacts",
    metadata,
    Column("digest", Digest, primary_key=True),
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
    #: Nobody whose erasure has this number or a lower one is in it.
    Column("erased_to", BigInteger, nullable=False, server_default="0"),
    #: The row of the log up to which its snapshot looks; empty where nobody knows.
    Column("watermark", BigInteger),
    Index(None, "kind", "created_at", "digest"),
)

#: What an artifact became when somebody was erased from it; always the one that there is now.
successors = Table(
    "successors",
    metadata,
    Column("before", Digest, primary_key=True),
    Column("after", Digest, nullable=False),
    Column("kind", String(16), nullable=False),
    #: The highest number of the erasures that it was made for.
    Column("erasure", BigInteger, nullable=False),
    #: JSON: rows that became zero, by file and tensor, and how many were dropped, by table.
    Column("told", Text, nullable=False),
    Index(None, "after"),
)

#: Which trio was live since when; the last row is live, its generation is what servers poll.
promotions = Table(
    "promotions",
    metadata,
    Column("generation", Key, primary_key=True, autoincrement=False),
    Column("bundle", Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("index", Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("ranker", Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    #: A job, an API key or the command line; empty in rows of before it was asked.
    Column("promoted_by", String(200)),
    #: What the gate had said of the pair; empty where it had not been asked.
    Column("decision", Digest),
)

#: What the gate said of a ranker beside a bundle, against what was live then.
decisions = Table(
    "decisions",
    metadata,
    #: Their order; ledger and log have one writer at a time, who hands it out.
    Column("number", Key, primary_key=True, autoincrement=False),
    #: The digest of all else but the time.
    Column("id", Digest, nullable=False),
    #: passed | refused | not decided
    Column("decision", String(16), nullable=False),
    #: champion | first | live
    Column("rule", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("ranker", Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("bundle", Digest, ForeignKey("artifacts.digest"), nullable=False),
    Column("snapshot", Digest, ForeignKey("artifacts.digest"), nullable=False),
    #: Empty where nothing was live.
    Column("champion_ranker", Digest, ForeignKey("artifacts.digest")),
    Column("champion_bundle", Digest, ForeignKey("artifacts.digest")),
    #: JSON: all that it rests on.
    Column("numbers", Text, nullable=False),
    Column("job_id", String(128)),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("id"),
    Index(None, "ranker", "number"),
)
