"""A stored search vector of videos, and the search that pages by it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import search

revision = "0007"
down_revision = "0006"

_VECTOR = "to_tsvector('english'::regconfig, ((title || ' '::text) || topic))"
_INDEX = "idx_videos_search"


def upgrade() -> None:
    """Add the column with its index in the place of the one by expression, and the function."""
    op.drop_index(_INDEX, table_name="videos")
    column = sa.Column("search", postgresql.TSVECTOR(), sa.Computed(_VECTOR, persisted=True), nullable=False)
    op.add_column("videos", column)
    op.create_index(_INDEX, "videos", ["search"], unique=False, postgresql_using="gin")
    for statement in search.create():
        op.execute(statement)


def downgrade() -> None:
    """Remove them, and search by expression again."""
    for statement in search.drop():
        op.execute(statement)
    op.drop_column("videos", "search")
    expression: sa.ColumnClause[str] = sa.literal_column("to_tsvector('english', (title || ' ') || topic)")
    op.create_index(_INDEX, "videos", [expression], unique=False, postgresql_using="gin")
