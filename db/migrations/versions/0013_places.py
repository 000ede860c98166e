"""Where passages stand on their pages, and what reading a document kept and lost."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"

_COLUMNS = (("document_chunks", "boxes", "'[]'"), ("user_documents", "report", "'{}'"))


def upgrade() -> None:
    """Add the columns."""
    for table, name, default in _COLUMNS:
        column = sa.Column(name, postgresql.JSONB(), server_default=sa.text(default), nullable=False)
        op.add_column(table, column)


def downgrade() -> None:
    """Remove them; reading the documents again brings them back."""
    for table, name, _ in _COLUMNS:
        op.drop_column(table, name)
