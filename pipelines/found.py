"""What reading a document found, kept in its job from one attempt to the next."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from little_monster.db.repositories import jobs
from little_monster.db.session import Session
from little_monster.pipelines.stages.read import ReadDocument
from little_monster.platform.engines.protocols import EmbedderInfo

_KEY = "found"
"""Where it stands in the payload of the job."""


@dataclass(frozen=True, slots=True)
class Found:
    """What reading a document found besides its passages, kept in the job until the document is complete."""

    model: str
    title: str | None
    author: str | None
    date: str | None
    page_count: int | None
    textless_pages: Sequence[int]
    characters: int
    chunks: int
    report: dict[str, Any]

    @classmethod
    def of(cls, read: ReadDocument, info: EmbedderInfo) -> "Found":
        """Return what is to be kept of a document, which was cut for this model."""
        return cls(
            info.model,
            read.title,
            read.author,
            read.date,
            read.page_count,
            read.textless_pages,
            read.characters,
            len(read.chunks),
            read.report,
        )

    def payload(self) -> dict[str, Any]:
        """Return what the payload of the job is to keep."""
        return {_KEY: asdict(self)}

    def result(self) -> dict[str, Any]:
        """Return what the job led to."""
        return {
            "pages": self.page_count,
            "chunks": self.chunks,
            "characters": self.characters,
            "textless_pages": list(self.textless_pages),
        }

    def metadata(self) -> dict[str, Any]:
        """Return what the document shows of itself."""
        own = {"title": self.title, "author": self.author, "date": self.date}
        return {**own, "embedding_model": self.model, **self.result()}


async def found_by(session: Session, job_id: UUID) -> Found | None:
    """Return what an earlier attempt of the same job found; None when none has read the document."""
    job = await jobs.get(session, job_id)
    kept = None if job is None else job.payload.get(_KEY)
    return None if kept is None else Found(**kept)
