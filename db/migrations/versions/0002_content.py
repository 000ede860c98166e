"""The community's tables: videos, comments, ratings."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import content

revision = "0002"
down_revision = "0001"

_NEWEST: tuple[Any, ...] = (sa.literal_column("created_at DESC"), sa.literal_column("id DESC"))
ENUMS = ("difficulty", "video_status", "moderation_status")


def upgrade() -> None:
    """Make tables, policies, functions and triggers."""
    for create_table in (_videos, _comments, _ratings):
        create_table()
    _run(content.create())


def downgrade() -> None:
    """Remove all of it."""
    for table in reversed(content.TABLES):
        op.drop_table(table)
    _run(content.drop())
    for enum in ENUMS:
        op.execute(f"DROP TYPE {enum}")


def _run(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(statement)


def _stamps() -> tuple["sa.Column[object]", ...]:
    return tuple(
        sa.Column(name, postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False)
        for name in ("created_at", "updated_at")
    )


def _videos() -> None:
    op.create_table(
        "videos",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("subject", postgresql.ENUM(name="subject", create_type=False), nullable=False),
        sa.Column(
            "difficulty",
            sa.Enum("beginner", "intermediate", "advanced", name="difficulty"),
            nullable=False,
        ),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("draft", "processing", "public", "private", "failed", "archived", name="video_status"),
            server_default="draft",
            nullable=False,
        ),
        sa.Column("script_summary", sa.Text(), nullable=True),
        sa.Column("key_points", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "timestamps", postgresql.ARRAY(sa.Integer()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("video_url", sa.Text(), nullable=True),
        sa.Column("thumbnail_url", sa.Text(), nullable=True),
        sa.Column("duration", sa.BigInteger(), nullable=True),
        sa.Column("rating_avg", sa.Numeric(), server_default=sa.text("0"), nullable=False),
        sa.Column("rating_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("view_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("comment_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        *_stamps(),
        sa.ForeignKeyConstraint(
            ["created_by"], ["users.id"], name=op.f("videos_created_by_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("videos_pkey")),
        sa.UniqueConstraint("created_by", "status", "id", name="videos_visibility_key"),
    )
    op.create_index("idx_videos_subject_created", "videos", ["subject", *_NEWEST], unique=False)
    op.create_index("idx_videos_status_created", "videos", ["status", *_NEWEST], unique=False)
    op.create_index("idx_videos_created_by", "videos", ["created_by", *_NEWEST], unique=False)
    op.create_index(
        "idx_videos_rating_avg",
        "videos",
        [sa.literal_column("rating_avg DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "idx_videos_search",
        "videos",
        [sa.literal_column("to_tsvector('english', (title || ' ') || topic)")],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index("videos_newest_idx", "videos", [*_NEWEST], unique=False)
    op.create_index(
        "videos_views_idx",
        "videos",
        [sa.literal_column("view_count DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("videos_tags_idx", "videos", ["tags"], unique=False, postgresql_using="gin")


def _comments() -> None:
    op.create_table(
        "comments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("video_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("is_hidden", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "moderation_status",
            sa.Enum("pending", "approved", "rejected", "flagged", name="moderation_status"),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("moderation_reason", sa.Text(), nullable=True),
        sa.Column("video_created_by", sa.Uuid(), nullable=False),
        sa.Column("video_status", postgresql.ENUM(name="video_status", create_type=False), nullable=False),
        *_stamps(),
        sa.ForeignKeyConstraint(
            ["video_id", "video_created_by", "video_status"],
            ["videos.id", "videos.created_by", "videos.status"],
            name="comments_video_id_fkey",
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("comments_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("comments_pkey")),
    )
    op.create_index("idx_comments_video_id", "comments", ["video_id", *_NEWEST], unique=False)
    op.create_index("comments_user_idx", "comments", ["user_id", *_NEWEST], unique=False)
    op.create_index("comments_oldest_idx", "comments", ["created_at", "id"], unique=False)
    op.create_index(
        "comments_unapproved_idx",
        "comments",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("moderation_status <> 'approved'"),
    )


def _ratings() -> None:
    op.create_table(
        "ratings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("video_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("stars", sa.BigInteger(), nullable=False),
        *_stamps(),
        sa.CheckConstraint("stars BETWEEN 1 AND 5", name=op.f("ratings_stars_check")),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("ratings_video_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("ratings_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ratings_pkey")),
        sa.UniqueConstraint("video_id", "user_id", name="idx_ratings_video_user"),
    )
    op.create_index("ratings_user_idx", "ratings", ["user_id"], unique=False)
