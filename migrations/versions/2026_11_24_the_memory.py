"""Dedupe in its own table; retractions, consents, schema versions, answers; entities may go.

Expand before you contract: add in one release, remove in a later one. (The log's unique pair of
columns goes at once: nothing but ingest used it, and it was half of the cost of a write.)

Revision: 2026_11_24_the_memory
Follows: 2026_11_23_first_tables
"""

import hashlib

import sqlalchemy as sa
from alembic import op

# SQLite makes only INTEGER columns its row number; there it is 64 bits wide anyway.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BLOCK = 10_000
NEVER = 2**62
LATE_AND_SLACK_SECONDS = 14 * 86_400

revision = "2026_11_24_the_memory"
down_revision = "2026_11_23_first_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "sequences",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sequences")),
    )
    op.execute("INSERT INTO sequences SELECT 'event', coalesce(max(seq), 0) FROM events")
    op.execute("INSERT INTO sequences SELECT 'entity', coalesce(max(key), 0) FROM entities")
    op.create_table(
        "seen",
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("body", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_seen")),
        sqlite_with_rowid=False,
    )
    _fill_seen()
    with op.batch_alter_table("events") as table:
        table.drop_constraint(op.f("fk_events_actor_entities"), type_="foreignkey")
        table.drop_constraint(op.f("fk_events_object_entities"), type_="foreignkey")
        table.drop_constraint(op.f("uq_events_event_id_event_name"), type_="unique")
        table.drop_index(op.f("ix_events_actor_object_event_time"))
        table.add_column(sa.Column("relation", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("request_id", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("position", sa.Integer(), nullable=True))
        table.add_column(sa.Column("sampling_rate", sa.Double(), nullable=True))
    op.create_index(op.f("ix_events_actor_event_time"), "events", ["actor", "event_time"])
    asked = sa.text("request_id IS NOT NULL")
    op.create_index(
        op.f("ix_events_request_id"),
        "events",
        ["request_id"],
        postgresql_where=asked,
        sqlite_where=asked,
    )
    _extend_entities()
    _name_writers()
    _create_tables()


def _extend_entities() -> None:
    with op.batch_alter_table("entities") as table:
        table.add_column(
            sa.Column("first_seq", sa.BigInteger(), nullable=False, server_default="0")
        )
        table.add_column(
            sa.Column("retired", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        table.add_column(sa.Column("retired_time", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("merged_into", KEY, nullable=True))
    op.execute(
        "UPDATE entities SET first_seq = named.seq FROM (SELECT key, min(seq) AS seq FROM "
        "(SELECT seq, actor AS key FROM events UNION ALL SELECT seq, object FROM events) ends "
        "GROUP BY key) named WHERE named.key = entities.key"
    )
    with op.batch_alter_table("entities") as table:
        table.alter_column("first_seq", server_default=None)
    for name, column, where in (
        ("ix_entities_merged_into", "merged_into", "merged_into IS NOT NULL"),
        ("ix_entities_retired", "type", "retired"),
    ):
        op.create_index(
            op.f(name),
            "entities",
            [column],
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )


def _name_writers() -> None:
    """Attributes remember their event's id in place of its number: it does not depend on order."""
    with op.batch_alter_table("attributes") as table:
        table.add_column(
            sa.Column("event_id", sa.String(length=256), nullable=False, server_default="")
        )
    op.execute(
        "UPDATE attributes SET event_id = coalesce("
        "(SELECT event_id FROM events WHERE events.seq = attributes.seq), '')"
    )
    with op.batch_alter_table("attributes") as table:
        table.alter_column("event_id", server_default=None)
        table.drop_column("seq")


def _fill_seen() -> None:
    """The ids of the log as it is; what they stood for is not known, so they never conflict."""
    connection = op.get_bind()
    page = sa.text(
        "SELECT seq, event_name, event_id, action_source, received_at FROM events "
        "WHERE seq > :last ORDER BY seq LIMIT :block"
    )
    write = sa.text("INSERT INTO seen VALUES (:digest, NULL, :expires)")
    last = -1
    while rows := connection.execute(page, {"last": last, "block": BLOCK}).fetchall():
        last = rows[-1].seq
        connection.execute(
            write,
            [
                {
                    "digest": hashlib.blake2b(
                        f"{row.event_name}\n{row.event_id}".encode(), digest_size=16
                    ).digest(),
                    "expires": NEVER
                    if row.action_source == "structure"
                    else row.received_at + LATE_AND_SLACK_SECONDS,
                }
                for row in rows
            ],
        )


def _create_tables() -> None:
    op.create_table(
        "retractions",
        sa.Column("head", KEY, autoincrement=False, nullable=False),
        sa.Column("relation", sa.String(length=64), nullable=False),
        sa.Column("tail", KEY, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("head", "relation", "tail", name=op.f("pk_retractions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "consents",
        sa.Column("entity", KEY, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("barrier", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entity", name=op.f("pk_consents")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "schemas",
        sa.Column("version", KEY, autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_schemas")),
    )
    op.create_table(
        "answers",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("head_type", sa.String(length=64), nullable=False),
        sa.Column("head_id", sa.String(length=256), nullable=False),
        sa.Column("tail_type", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("index", sa.String(length=64), nullable=False),
        sa.Column("ranker", sa.String(length=64), nullable=False),
        sa.Column("items", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_answers")),
    )
    op.create_index(op.f("ix_answers_asked_at"), "answers", ["asked_at"])
    op.create_index(op.f("ix_answers_head_type_head_id"), "answers", ["head_type", "head_id"])
    op.create_table(
        "idempotency",
        sa.Column("api_key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("media_type", sa.String(length=100), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("api_key", "name", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    for name in ("idempotency", "answers", "schemas", "consents", "retractions", "seen"):
        op.drop_table(name)
    op.drop_table("sequences")
    with op.batch_alter_table("attributes") as table:
        table.add_column(sa.Column("seq", sa.BigInteger(), nullable=False, server_default="0"))
        table.drop_column("event_id")
    with op.batch_alter_table("attributes") as table:
        table.alter_column("seq", server_default=None)
    op.drop_index(op.f("ix_entities_merged_into"), table_name="entities")
    op.drop_index(op.f("ix_entities_retired"), table_name="entities")
    with op.batch_alter_table("entities") as table:
        for column in ("first_seq", "retired", "retired_time", "merged_into"):
            table.drop_column(column)
    op.drop_index(op.f("ix_events_request_id"), table_name="events")
    op.drop_index(op.f("ix_events_actor_event_time"), table_name="events")
    with op.batch_alter_table("events") as table:
        for column in ("relation", "request_id", "position", "sampling_rate"):
            table.drop_column(column)
        table.create_unique_constraint(
            op.f("uq_events_event_id_event_name"), ["event_id", "event_name"]
        )
        table.create_foreign_key(op.f("fk_events_actor_entities"), "entities", ["actor"], ["key"])
        table.create_foreign_key(op.f("fk_events_object_entities"), "entities", ["object"], ["key"])
    op.create_index(
        op.f("ix_events_actor_object_event_time"), "events", ["actor", "object", "event_time"]
    )
