"""What has to be changed in index and storage is noted by triggers, and which collection is live."""

import sqlalchemy as sa
from alembic import op

from little_monster.db.policies import outbox

revision = "0016"
down_revision = "0015"

_NOW = sa.text("now()")
_OF_INDEX = "kind IN ('reembed', 'verify_index') AND status IN ('queued', 'running')"
_KINDS = "kind IN ('delete_document', 'delete_owner', 'check_document', 'set_payload')"


def upgrade() -> None:
    """Add the tables, functions and triggers."""
    op.create_table(
        "index_outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("next_at", sa.TIMESTAMP(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint(_KINDS, name=op.f("index_outbox_kind_check")),
        sa.CheckConstraint(
            "(kind = 'delete_owner') = (document_id IS NULL)", name=op.f("index_outbox_document_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("index_outbox_pkey")),
    )
    op.create_index("index_outbox_next_idx", "index_outbox", ["next_at"], unique=False)
    op.create_index("index_outbox_document_idx", "index_outbox", ["document_id"], unique=False)
    op.create_index(
        "index_outbox_owner_idx",
        "index_outbox",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("document_id IS NULL"),
    )
    op.create_table(
        "embedding_collections",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dimension", sa.BigInteger(), nullable=False),
        sa.Column("max_tokens", sa.BigInteger(), nullable=False),
        sa.Column("filled_to", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("changed_at", sa.TIMESTAMP(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint(
            "state IN ('building', 'live', 'previous')", name=op.f("embedding_collections_state_check")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("embedding_collections_pkey")),
    )
    op.create_index("embedding_collections_state_idx", "embedding_collections", ["state"], unique=True)
    op.create_index(
        "jobs_one_of_index_idx", "jobs", ["kind"], unique=True, postgresql_where=sa.text(_OF_INDEX)
    )
    for statement in outbox.create():
        op.execute(statement)


def downgrade() -> None:
    """Remove them."""
    for statement in outbox.drop():
        op.execute(statement)
    op.drop_index("jobs_one_of_index_idx", table_name="jobs")
    op.drop_table("embedding_collections")
    op.drop_table("index_outbox")
