"""An edit of a rejected comment waits for a moderator; no message was changed before it was made."""

from alembic import op

from little_monster.db.policies import rejected_comments

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Replace the functions, and give both times of a message one clock."""
    for statement in rejected_comments.create():
        op.execute(statement)
    op.execute("ALTER TABLE chat_messages ALTER COLUMN updated_at SET DEFAULT clock_timestamp()")


def downgrade() -> None:
    """Bring the former ones back."""
    op.execute("ALTER TABLE chat_messages ALTER COLUMN updated_at SET DEFAULT now()")
    for statement in rejected_comments.drop():
        op.execute(statement)
