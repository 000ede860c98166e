"""Accounts at other issuers of tokens, and the last admin."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import external_identities, last_admin

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make them."""
    _external_identities()
    _ended_identities()
    for statement in (*external_identities.create(), *last_admin.create()):
        op.execute(statement)


def downgrade() -> None:
    """Remove them."""
    op.drop_table("external_identities")
    op.drop_table("ended_identities")
    for statement in (*last_admin.drop(), *external_identities.drop()):
        op.execute(statement)


def _external_identities() -> None:
    table = "external_identities"
    moment = postgresql.TIMESTAMP(timezone=True)
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("last_used_at", moment, nullable=True),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f(f"{table}_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"{table}_pkey")),
        sa.UniqueConstraint("issuer", "subject", name=op.f(f"{table}_subject_key")),
    )
    op.create_index(
        f"{table}_user_idx",
        table,
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )


def _ended_identities() -> None:
    op.create_table(
        "ended_identities",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "ended_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("barred", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("ended_identities_pkey")),
    )
