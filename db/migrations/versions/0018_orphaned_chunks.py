"""A document, and so an account, goes at once however many passages it has: they go later, some at a time.

What the foreign key held is held by the triggers that count passages and keep them in their documents.
"""

from alembic import op

from little_monster.db.policies import triggers

revision = "0018"
down_revision = "0017"

_TABLE, _KEY = "document_chunks", "document_chunks_user_id_document_id_fkey"
_ORPHANS = """
    DELETE FROM document_chunks c
    WHERE NOT EXISTS (SELECT FROM user_documents d WHERE d.id = c.document_id)
"""


def upgrade() -> None:
    """Put triggers in the place of the foreign key."""
    for statement in triggers.create():
        op.execute(statement)
    op.drop_constraint(op.f(_KEY), _TABLE, type_="foreignkey")


def downgrade() -> None:
    """Put the foreign key back, and delete what it would not let stay."""
    op.execute(_ORPHANS)
    columns = ["user_id", "document_id"]
    op.create_foreign_key(
        op.f(_KEY), _TABLE, "user_documents", columns, ["user_id", "id"], ondelete="CASCADE"
    )
