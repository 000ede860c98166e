"""Passages of a document are kept while it is read, each with the time at which it was indexed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import pending_chunks

revision = "0015"
down_revision = "0014"

_TIME = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Make the table. Documents that are being read now are read from their beginning once more."""
    op.create_table(
        "pending_chunks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_index", sa.BigInteger(), nullable=False),
        sa.Column("chunk", postgresql.JSONB(), nullable=False),
        sa.Column("indexed_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "document_id"],
            ["user_documents.user_id", "user_documents.id"],
            name=op.f("pending_chunks_user_id_document_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pending_chunks_pkey")),
        sa.UniqueConstraint(
            "document_id", "chunk_index", name=op.f("pending_chunks_document_id_chunk_index_key")
        ),
    )
    for statement in pending_chunks.create():
        op.execute(statement)


def downgrade() -> None:
    """Remove it; what was being read is read again from its beginning."""
    op.drop_table("pending_chunks")
