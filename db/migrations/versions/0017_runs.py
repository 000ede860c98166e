"""The making of an answer has a row: how far it is, and how it ended."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import runs

revision = "0017"
down_revision = "0016"

_TIME = postgresql.TIMESTAMP(timezone=True)
_STATUS = ("queued", "running", "completed", "interrupted", "cancelled", "failed")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "chat_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("user_message_id", sa.Uuid(), nullable=False),
        sa.Column("assistant_message_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("status", sa.Enum(*_STATUS, name="run_status"), server_default="queued", nullable=False),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("started_at", _TIME, nullable=True),
        sa.Column("finished_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["chat_conversations.user_id", "chat_conversations.id"],
            name=op.f("chat_runs_user_id_conversation_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("chat_runs_pkey")),
    )
    op.create_index(
        "chat_runs_conversation_idx",
        "chat_runs",
        ["user_id", "conversation_id", sa.literal_column("created_at DESC")],
        unique=False,
    )
    op.create_index(
        "chat_runs_key_idx",
        "chat_runs",
        ["conversation_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    for statement in runs.create():
        op.execute(statement)


def downgrade() -> None:
    """Remove it. The messages stay."""
    op.drop_table("chat_runs")
    op.execute("DROP TYPE run_status")
