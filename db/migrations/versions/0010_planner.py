"""Reminders of two occurrences at one moment are both told, and none of what is long past."""

from alembic import op

from little_monster.db.policies import former_reminders

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Replace the function that tells reminders."""
    for statement in former_reminders.replace():
        op.execute(statement)


def downgrade() -> None:
    """Take the former one again."""
    for statement in former_reminders.restore():
        op.execute(statement)
