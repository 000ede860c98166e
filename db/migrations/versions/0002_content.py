"""The community's tables: videos, comments, ratings."""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make them."""


def downgrade() -> None:
    """Remove them."""
