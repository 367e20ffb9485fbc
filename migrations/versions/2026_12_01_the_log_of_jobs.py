"""What became of jobs, a line each.

Expand before you contract: add in one release, remove in a later one.

Revision: 2026_12_01_the_log_of_jobs
Follows: 2026_11_30_erasures
"""

import sqlalchemy as sa
from alembic import op

# SQLite makes only INTEGER columns its row number; there it is 64 bits wide anyway.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "2026_12_01_the_log_of_jobs"
down_revision = "2026_11_30_erasures"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "job_log",
        sa.Column("number", KEY, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(length=128), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_job_log")),
    )
    op.create_index(op.f("ix_job_log_job_id_number"), "job_log", ["job_id", "number"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("job_log")
