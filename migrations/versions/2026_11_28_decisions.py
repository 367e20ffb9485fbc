"""What the gate decided, and who promoted what by which decision.

Expand before you contract: add in one release, remove in a later one.

Revision: 2026_11_28_decisions
Follows: 2026_11_24_the_memory
"""

import sqlalchemy as sa
from alembic import op

# SQLite makes only INTEGER columns its row number; there it is 64 bits wide anyway.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "2026_11_28_decisions"
down_revision = "2026_11_24_the_memory"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("promotions", sa.Column("promoted_by", sa.String(length=200), nullable=True))
    op.add_column("promotions", sa.Column("decision", sa.String(length=64), nullable=True))
    sealed = ("ranker", "bundle", "snapshot", "champion_ranker", "champion_bundle")
    op.create_table(
        "decisions",
        sa.Column("number", KEY, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ranker", sa.String(length=64), nullable=False),
        sa.Column("bundle", sa.String(length=64), nullable=False),
        sa.Column("snapshot", sa.String(length=64), nullable=False),
        sa.Column("champion_ranker", sa.String(length=64), nullable=True),
        sa.Column("champion_bundle", sa.String(length=64), nullable=True),
        sa.Column("numbers", sa.Text(), nullable=False),
        sa.Column("job_id", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [column], ["artifacts.digest"], name=op.f(f"fk_decisions_{column}_artifacts")
            )
            for column in sealed
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_decisions")),
        sa.UniqueConstraint("id", name=op.f("uq_decisions_id")),
    )
    op.create_index(op.f("ix_decisions_ranker_number"), "decisions", ["ranker", "number"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("decisions")
    with op.batch_alter_table("promotions") as table:
        table.drop_column("decision")
        table.drop_column("promoted_by")
