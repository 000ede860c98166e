"""Roles that admins give."""

import sqlalchemy as sa
from alembic import op

from little_monster.db.policies import administration

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the functions, and the index of the list of accounts."""
    op.create_index(
        "users_newest_idx",
        "users",
        [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    for statement in administration.create():
        op.execute(statement)


def downgrade() -> None:
    """Remove them."""
    for statement in administration.drop():
        op.execute(statement)
    op.drop_index("users_newest_idx", table_name="users")
