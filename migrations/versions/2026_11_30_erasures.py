"""Who was erased, and what artifacts became of it.

Expand before you contract: add in one release, remove in a later one. The salt of subjects is made
here, before there is anything to back up: a list of erasures means nothing under another one.

Revision: 2026_11_30_erasures
Follows: 2026_11_30_the_audit_log
"""

import secrets

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

# SQLite makes only INTEGER columns its row number; there it is 64 bits wide anyway.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "2026_11_30_erasures"
down_revision = "2026_11_30_the_audit_log"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "artifacts", sa.Column("erased_to", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("artifacts", sa.Column("watermark", sa.BigInteger(), nullable=True))
    op.create_table(
        "successors",
        sa.Column("before", sa.String(length=64), nullable=False),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("erasure", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("before", name=op.f("pk_successors")),
    )
    op.create_index(op.f("ix_successors_after"), "successors", ["after"])
    op.create_table(
        "erasures",
        sa.Column("number", KEY, autoincrement=False, nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=256), nullable=True),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.Text(), nullable=True),
        sa.Column("certificate", sa.String(length=64), nullable=True),
        sa.Column("returned_at", sa.BigInteger(), nullable=True),
        sa.Column("returned_seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_subject"), "erasures", ["subject"])
    salts = sa.table("salts", sa.column("name", sa.String()), sa.column("value", sa.LargeBinary()))
    named = sa.select(salts.c.name).where(salts.c.name == "subjects")
    if bind.scalar(named) is None:
        bind.execute(salts.insert().values(name="subjects", value=secrets.token_bytes(32)))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM erasures")):
        raise CommandError("people were erased, and would be let in again without their list")
    op.drop_table("erasures")
    op.drop_table("successors")
    with op.batch_alter_table("artifacts") as table:
        table.drop_column("watermark")
        table.drop_column("erased_to")
