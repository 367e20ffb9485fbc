"""What was answered."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from graphsvc.tables.naming import ApplicationId, Digest, Name, metadata

#: What was answered to a score request, for joining with what people did; bounded by rows and age.
answers = Table(
    "answers",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("asked_at", BigInteger, nullable=False),
    Column("head_type", Name, nullable=False),
    Column("head_id", ApplicationId, nullable=False),
    Column("tail_type", Name, nullable=False),
    #: learned | cold | unknown
    Column("state", String(16), nullable=False),
    Column("bundle", Digest, nullable=False),
    Column("index", Digest, nullable=False),
    Column("ranker", Digest, nullable=False),
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
    Column("request", Digest, nullable=False),
    #: Empty while the request is under way.
    Column("status", Integer),
    Column("media_type", String(100)),
    Column("answer", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "created_at"),
)
