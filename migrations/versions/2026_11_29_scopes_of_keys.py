"""What a key is good for, until when, and when it was last used.

Expand before you contract: add in one release, remove in a later one.

Revision: 2026_11_29_scopes_of_keys
Follows: 2026_11_29_what_answers_were_for
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_scopes_of_keys"
down_revision = "2026_11_29_what_answers_were_for"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    # Who held a key could do everything, and still can.
    scopes = sa.Column("scopes", sa.String(length=100), nullable=False, server_default="admin")
    op.add_column("api_keys", scopes)
    op.add_column("api_keys", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.add_column("api_keys", sa.Column("last_used_at", sa.BigInteger(), nullable=True))
    op.add_column(
        "api_keys",
        sa.Column("rotated", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    # Without these columns every key would be good for everything, for ever.
    op.execute("DELETE FROM api_keys WHERE scopes <> 'admin' OR expires_at IS NOT NULL")
    with op.batch_alter_table("api_keys") as table:
        table.drop_column("rotated")
        table.drop_column("last_used_at")
        table.drop_column("expires_at")
        table.drop_column("scopes")
