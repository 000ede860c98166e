"""The planner's tables."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make them."""


def downgrade() -> None:
    """Remove them."""
