"""Changes of the vector index as a whole, which admins ask for and workers make."""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from little_monster.db.errors import DuplicateKey
from little_monster.db.models.embedding_collections import CollectionState, EmbeddingCollection
from little_monster.db.models.jobs import Job
from little_monster.db.repositories import embedding_collections, jobs
from little_monster.platform.errors import Conflict
from little_monster.platform.permissions import ADMIN, require_role
from little_monster.platform.resources import Resources
from little_monster.platform.security import Principal

KIND = "reembed"
"""Kind of the job that makes a change."""
VERIFY = "verify_index"
"""Kind of the job that compares the index and the storage with the database."""

_ATTEMPTS = 20
"""Of a job that goes on where it was when its worker is lost."""

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


async def list_collections(resources: Resources, principal: Principal) -> list[EmbeddingCollection]:
    """Return all collections, the live one first.

    Raises:
        Forbidden: who asks is no admin.
    """
    require_role(principal, ADMIN)
    async with resources.database.session(None) as session:
        return await embedding_collections.list(session)


async def request_change(resources: Resources, principal: Principal, change: Change) -> Job:
    """Queue a job that makes a change.

    Raises:
        Forbidden: who asks is no admin.
        Conflict: another one is under way (`change_under_way`), or there is no collection from before
            (`no_previous`).
    """
    require_role(principal, ADMIN)
    if change.action in (Action.ROLLBACK, Action.DROP_OLD):
        async with resources.database.session(None) as session:
            previous = await embedding_collections.get(session, CollectionState.PREVIOUS)
        if previous is None:
            raise Conflict("No collection from before is kept.", code="no_previous")
        # So that a job that is done twice, as its worker was lost, does not go forth again.
        change = replace(change, target=previous.name)
    return await _queue(resources, principal, KIND, change.payload())


async def request_verification(resources: Resources, principal: Principal, *, repair: bool) -> Job:
    """Queue a job that compares the index and the storage with the database. Raises as `request_change`."""
    require_role(principal, ADMIN)
    return await _queue(resources, principal, VERIFY, {"repair": repair})


async def _queue(resources: Resources, principal: Principal, kind: str, payload: dict[str, Any]) -> Job:
    owner = principal.user_id
    try:
        async with resources.database.session(owner) as session:
            return await jobs.create(
                session, user_id=owner, kind=kind, payload=payload, max_attempts=_ATTEMPTS
            )
    except DuplicateKey:
        raise Conflict("One of this kind is under way.", code="change_under_way") from None
