"""Who asked for which write: a log that is only appended to, and the salt of its subjects.

Expand before you contract: add in one release, remove in a later one. A later migration must not
rebuild the table `audit` on SQLite without making its triggers again.

Revision: 2026_11_30_the_audit_log
Follows: 2026_11_29_scopes_of_keys
"""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

# SQLite makes only INTEGER columns its row number; there it is 64 bits wide anyway.
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WHY = "the audit log is only appended to"

revision = "2026_11_30_the_audit_log"
down_revision = "2026_11_29_scopes_of_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "audit",
        sa.Column("number", KEY, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.String(length=64), nullable=True),
        sa.Column("of", KEY, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_actor_number"), "audit", ["actor", "number"])
    op.create_table(
        "salts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_salts")),
    )
    if postgresql:
        op.execute(
            "CREATE FUNCTION audit_is_appended_to() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{WHY}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit "
            "FOR EACH ROW EXECUTE FUNCTION audit_is_appended_to()"
        )
        op.execute(
            "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_appended_to()"
        )
        return
    # A row that is replaced fires no trigger of deletion there.
    op.execute(
        "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit "
        "WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number) "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END"
    )
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit "
            f"BEGIN SELECT RAISE(ABORT, '{WHY}'); END"
        )


def downgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("SET LOCAL lock_timeout = '5s'")
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM audit")):
        raise CommandError("the audit log has rows, which would be lost: copy and drop the table")
    op.drop_table("salts")
    op.drop_table("audit")
    if postgresql:
        op.execute("DROP FUNCTION audit_is_appended_to()")
