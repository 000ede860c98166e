"""Sessions, one-time codes and the audit trail."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make them."""


def downgrade() -> None:
    """Remove them."""
