"""Make the first tables.

Expand before you contract: add in one release, remove in a later one.

Revision: 2026_11_23_first_tables
Follows:
"""

import sqlalchemy as sa
from alembic import op

# SQLite makes only INTEGER columns its row number; there it is 64 bits wide anyway.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "2026_11_23_first_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "artifacts",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("parents", sa.Text(), nullable=False),
        sa.Column("dials", sa.Text(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("job_id", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_artifacts")),
    )
    op.create_index(
        op.f("ix_artifacts_kind_created_at_digest"), "artifacts", ["kind", "created_at", "digest"]
    )
    op.create_table(
        "entities",
        sa.Column("key", KEY, autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_entities")),
        sa.UniqueConstraint("type", "id", name=op.f("uq_entities_type_id")),
    )
    op.create_table(
        "job_progress",
        sa.Column("job_id", sa.String(length=128), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_job_progress")),
    )
    op.create_table(
        "attributes",
        sa.Column("entity", KEY, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("event_time", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entity", "name", name=op.f("pk_attributes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "counters",
        sa.Column("entity", KEY, autoincrement=False, nullable=False),
        sa.Column("event_name", sa.String(length=64), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entity", "event_name", name=op.f("pk_counters")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "edges",
        sa.Column("head", KEY, autoincrement=False, nullable=False),
        sa.Column("relation", sa.String(length=64), nullable=False),
        sa.Column("tail", KEY, autoincrement=False, nullable=False),
        sa.Column("decayed", sa.Double(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_time", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("head", "relation", "tail", name=op.f("pk_edges")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_edges_tail_relation_head"), "edges", ["tail", "relation", "head"])
    op.create_table(
        "events",
        sa.Column("seq", KEY, autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=256), nullable=False),
        sa.Column("event_name", sa.String(length=64), nullable=False),
        sa.Column("event_time", sa.BigInteger(), nullable=False),
        sa.Column("action_source", sa.String(length=16), nullable=False),
        sa.Column("actor", KEY, nullable=False),
        sa.Column("object", KEY, nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("properties", sa.Text(), nullable=True),
        sa.Column("consent", sa.Boolean(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["actor"], ["entities.key"], name=op.f("fk_events_actor_entities")),
        sa.ForeignKeyConstraint(
            ["object"], ["entities.key"], name=op.f("fk_events_object_entities")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sa.UniqueConstraint("event_id", "event_name", name=op.f("uq_events_event_id_event_name")),
    )
    op.create_index(
        op.f("ix_events_actor_object_event_time"), "events", ["actor", "object", "event_time"]
    )
    op.create_index(op.f("ix_events_event_name_event_time"), "events", ["event_name", "event_time"])
    op.create_table(
        "promotions",
        sa.Column("generation", KEY, autoincrement=False, nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("index", sa.String(length=64), nullable=False),
        sa.Column("ranker", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["bundle"], ["artifacts.digest"], name=op.f("fk_promotions_bundle_artifacts")
        ),
        sa.ForeignKeyConstraint(
            ["index"], ["artifacts.digest"], name=op.f("fk_promotions_index_artifacts")
        ),
        sa.ForeignKeyConstraint(
            ["ranker"], ["artifacts.digest"], name=op.f("fk_promotions_ranker_artifacts")
        ),
        sa.PrimaryKeyConstraint("generation", name=op.f("pk_promotions")),
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("promotions")
    op.drop_index(op.f("ix_events_event_name_event_time"), table_name="events")
    op.drop_index(op.f("ix_events_actor_object_event_time"), table_name="events")
    op.drop_table("events")
    op.drop_index(op.f("ix_edges_tail_relation_head"), table_name="edges")
    op.drop_table("edges")
    op.drop_table("counters")
    op.drop_table("attributes")
    op.drop_table("job_progress")
    op.drop_table("entities")
    op.drop_index(op.f("ix_artifacts_kind_created_at_digest"), table_name="artifacts")
    op.drop_table("artifacts")
    op.drop_table("api_keys")
