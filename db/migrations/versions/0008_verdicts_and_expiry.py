"""Verdicts on videos, and exports that end: one at a time, and none for ever."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import exports, moderation

revision = "0008"
down_revision = "0006"

_KEPT = "interval '7 days'"


def upgrade() -> None:
    """What is public was seen and stays so; exports that are there are kept as long as new ones; of several
    that wait, one stays."""
    _videos()
    _jobs()
    _run(moderation.create())
    _run(exports.create())


def downgrade() -> None:
    """Remove them, and with them the verdicts; who sees which video stays."""
    _run(exports.drop())
    _run(moderation.drop())
    op.drop_index("jobs_expiring_idx", table_name="jobs")
    op.drop_index("jobs_one_export_idx", table_name="jobs")
    op.drop_column("jobs", "expires_at")
    op.drop_index("videos_unapproved_idx", table_name="videos")
    op.drop_constraint(op.f("videos_moderated_check"), "videos")
    op.drop_column("videos", "moderation_reason")
    op.drop_column("videos", "moderation_status")


def _run(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(statement)


def _change_all(table: str, *statements: str) -> None:
    """Run statements on rows whosever they are, and leave `updated_at` alone."""
    # Forced row level security hides the rows from an owner that is no superuser.
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    _run(statements)
    op.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def _videos() -> None:
    status = postgresql.ENUM(name="moderation_status", create_type=False)
    op.add_column("videos", sa.Column("moderation_status", status, nullable=True))
    op.add_column("videos", sa.Column("moderation_reason", sa.Text(), nullable=True))
    _change_all("videos", "UPDATE videos SET moderation_status = 'approved' WHERE status = 'public'")
    op.create_check_constraint(
        op.f("videos_moderated_check"),
        "videos",
        "status <> 'public' OR moderation_status IS NOT DISTINCT FROM 'approved'",
    )
    op.create_index(
        "videos_unapproved_idx",
        "videos",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("moderation_status <> 'approved'"),
    )


def _jobs() -> None:
    op.add_column("jobs", sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    _change_all(
        "jobs",
        f"UPDATE jobs SET expires_at = now() + {_KEPT}"
        " WHERE kind = 'export_account' AND status = 'completed'",
        """
        UPDATE jobs j SET status = 'cancelled', finished_at = now(), leased_by = NULL, leased_until = NULL
        WHERE j.kind = 'export_account' AND j.status IN ('queued', 'running') AND EXISTS (
            SELECT FROM jobs k
            WHERE k.user_id = j.user_id AND k.kind = j.kind AND k.status IN ('queued', 'running')
                AND k.id < j.id
        )
        """,
    )
    op.create_index(
        "jobs_one_export_idx",
        "jobs",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'export_account' AND status IN ('queued', 'running')"),
    )
    op.create_index(
        "jobs_expiring_idx",
        "jobs",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL AND result IS NOT NULL"),
    )
