"""What ended goes after a while, jobs say how many units they have done, documents are found by title."""

import sqlalchemy as sa
from alembic import op

from little_monster.db.policies import library, retention

revision = "0012"
down_revision = "0011"

_COUNTS = "done >= 0 AND done <= total AND num_nulls(done, total, unit) IN (0, 3)"
# What the sweeps look for: index, table, column, and rows that never end.
_ENDS = (
    ("sessions_last_used_idx", "sessions", "last_used_at", None),
    ("email_codes_expires_idx", "email_codes", "expires_at", None),
    ("notifications_read_idx", "notifications", "read_at", "read_at IS NOT NULL"),
    ("notifications_oldest_idx", "notifications", "created_at", "read_at IS NULL"),
    ("jobs_finished_idx", "jobs", "finished_at", "finished_at IS NOT NULL"),
)


def upgrade() -> None:
    """Add columns, indexes and functions."""
    op.add_column("jobs", sa.Column("done", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("total", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("unit", sa.Text(), nullable=True))
    op.create_check_constraint(op.f("jobs_counts_check"), "jobs", _COUNTS)
    for name, table, column, where in _ENDS:
        op.create_index(name, table, [column], unique=False, postgresql_where=where and sa.text(where))
    for statement in (*retention.create(), *library.create()):
        op.execute(statement)


def downgrade() -> None:
    """Remove them."""
    for statement in (*library.drop(), *retention.drop()):
        op.execute(statement)
    for name, table, _, _ in _ENDS:
        op.drop_index(name, table_name=table)
    op.drop_constraint(op.f("jobs_counts_check"), "jobs", type_="check")
    for column in ("done", "total", "unit"):
        op.drop_column("jobs", column)
