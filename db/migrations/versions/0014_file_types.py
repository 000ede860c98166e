"""Web pages, presentations and electronic books can be uploaded."""

from alembic import op

revision = "0014"
down_revision = "0013"

_ADDED = ("html", "pptx", "epub")
_BEFORE = ("pdf", "docx", "txt", "markdown")


def upgrade() -> None:
    """Add the kinds of file."""
    for name in _ADDED:
        op.execute(f"ALTER TYPE file_type ADD VALUE IF NOT EXISTS '{name}'")


def downgrade() -> None:
    """Take them away again. What was read of such files stays, as that of text files: the older program can
    show, find and delete it, and fails with a reason when it is to read the file again.
    """
    names = ", ".join(f"'{name}'" for name in _BEFORE)
    op.execute(f"CREATE TYPE file_type_before AS ENUM ({names})")
    op.execute(
        "ALTER TABLE user_documents ALTER COLUMN file_type TYPE file_type_before USING"
        f" (CASE WHEN file_type::text IN ({names}) THEN file_type::text ELSE 'txt' END)::file_type_before"
    )
    op.execute("DROP TYPE file_type")
    op.execute("ALTER TYPE file_type_before RENAME TO file_type")
