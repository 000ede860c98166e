"""Changes of the vector index as a whole, which admins ask for and workers make."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

KIND = "reembed"
"""Kind of the job that makes a change."""
VERIFY = "verify_index"
"""Kind of the job that compares the index and the storage with the database."""

TOLERANCE = 0.01
"""How much less nDCG@10 a new model may have."""


class Action(StrEnum):
    """What is done: another model, the same anew, back to the collection before, or away with that."""

    REEMBED = "reembed"
    REBUILD = "rebuild"
    ROLLBACK = "rollback"
    DROP_OLD = "drop_old"


@dataclass(frozen=True, slots=True)
class Change:
    """`source` names the model of `reembed` as `EmbedderInfo.source` does; `dataset` is a folder, as workers
    see it, with an evaluation set in which the new model must not be worse than the live one by more than
    `tolerance` of nDCG@10; `target` names the collection that is gone back to, or dropped."""

    action: Action
    source: str = ""
    dataset: str | None = None
    tolerance: float = TOLERANCE
    target: str | None = None

    @classmethod
    def of(cls, payload: dict[str, Any]) -> "Change":
        """Return the change of a job."""
        return cls(**{**payload, "action": Action(payload["action"])})

    def payload(self) -> dict[str, Any]:
        """Return what a job keeps of it."""
        return asdict(self)
