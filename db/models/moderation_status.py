"""What moderation says of a text that others are to see."""

from enum import StrEnum


class ModerationStatus(StrEnum):
    """Whether others may read it: only what is approved. `flagged` is moderation's word, `rejected` a
    moderator's."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    FLAGGED = "flagged"
