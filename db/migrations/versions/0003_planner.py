"""The planner's tables: events, notifications, calendar feeds; each its owner's alone."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import planner

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make tables, policies, functions and triggers."""
    for create_table in (_planner_events, _notifications, _calendar_feeds):
        create_table()
    _run(planner.create())


def downgrade() -> None:
    """Remove all of it."""
    _run(planner.drop())
    for table in reversed(planner.TABLES):
        op.drop_table(table)
    op.execute("DROP TYPE event_type")


def _run(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(statement)


def _planner_events() -> None:
    op.create_table(
        "planner_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("location", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("subject", postgresql.ENUM(name="subject", create_type=False), nullable=True),
        sa.Column(
            "type",
            sa.Enum("study", "exam", "assignment", "class", "reminder", "other", name="event_type"),
            server_default="other",
            nullable=False,
        ),
        sa.Column("start_date", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("end_date", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("time_zone", sa.Text(), server_default=sa.text("'UTC'"), nullable=False),
        sa.Column("all_day", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_completed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("recurrence", sa.Text(), nullable=True),
        sa.Column(
            "exdates",
            postgresql.ARRAY(postgresql.TIMESTAMP(timezone=True)),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("repeats_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "reminder_minutes",
            postgresql.ARRAY(sa.Integer()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("next_reminder_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("next_reminder_for", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("end_date >= start_date", name=op.f("planner_events_dates_check")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("planner_events_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("planner_events_pkey")),
        sa.UniqueConstraint("user_id", "uid", name=op.f("planner_events_user_id_uid_key")),
    )
    op.create_index("idx_planner_user_date", "planner_events", ["user_id", "start_date"], unique=False)
    _newest_first("planner_events_user_idx", "planner_events")
    op.create_index(
        "planner_events_series_idx",
        "planner_events",
        ["user_id", "repeats_until"],
        unique=False,
        postgresql_where=sa.text("recurrence IS NOT NULL"),
    )
    op.create_index(
        "planner_events_due_idx",
        "planner_events",
        ["next_reminder_at"],
        unique=False,
        postgresql_where=sa.text("next_reminder_at IS NOT NULL"),
    )


def _notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=True),
        sa.Column("read_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("notifications_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("notifications_pkey")),
        sa.UniqueConstraint("user_id", "dedup_key", name=op.f("notifications_user_id_dedup_key_key")),
    )
    _newest_first("notifications_user_idx", "notifications")
    _newest_first("notifications_unread_idx", "notifications", where=sa.text("read_at IS NULL"))


def _calendar_feeds() -> None:
    op.create_table(
        "calendar_feeds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("calendar_feeds_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("calendar_feeds_pkey")),
        sa.UniqueConstraint("token_hash", name=op.f("calendar_feeds_token_hash_key")),
    )
    _newest_first("calendar_feeds_user_idx", "calendar_feeds")


def _newest_first(name: str, table: str, *, where: sa.TextClause | None = None) -> None:
    columns = ("user_id", "created_at DESC", "id DESC")
    order: list[sa.ColumnClause[str]] = [sa.literal_column(one) for one in columns]
    op.create_index(name, table, order, unique=False, postgresql_where=where)
