"""What an answer was ordered by, and the place that its probabilities were for.

Expand before you contract: add in one release, remove in a later one.

Revision: 2026_11_29_what_answers_were_for
Follows: 2026_11_28_decisions
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_what_answers_were_for"
down_revision = "2026_11_28_decisions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("answers", sa.Column("ordered_by", sa.String(length=8), nullable=True))
    op.add_column("answers", sa.Column("position", sa.Integer(), nullable=True))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
    with op.batch_alter_table("answers") as table:
        table.drop_column("position")
        table.drop_column("ordered_by")
