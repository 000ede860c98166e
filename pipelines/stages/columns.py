"""The columns of the stages of ingestion: what each takes and what it gives.

    list     ->  File          a file somewhere
    read     ->  Document      it is stored, has a row, and this worker has its job
    parse    ->  Passage       what it says, a row a passage
    embed    ->  Vector        a vector a passage
    upsert   ->  Ended         how each document ended, once

A row that has ended (`outcome` is set, with `error` where there is one to tell) goes through all later stages
as it is. Ids are texts, as columns of Arrow have no type for them. The values are small ones: what is large
stands in the file storage, or in PostgreSQL.
"""

from typing import TypedDict

from little_monster.db.repositories.document_chunks import NewChunk
from little_monster.db.repositories.jobs import ClaimedJob
from little_monster.pipelines.stages.embed import embedded_text


class Failure(TypedDict):
    """Why a document failed, or has to wait: `code` for programs, `reason` for people."""

    code: str
    reason: str


class File(TypedDict):
    """A file to ingest: where it is, and what to call it; both others may be unknown."""

    uri: str
    title: str | None
    subject: str | None


class Ended(TypedDict):
    """How a file or document ended: a `JobStatus`, or `lost` (another worker has it), `skipped` (it was read
    before). None while it has not."""

    uri: str
    document_id: str | None
    outcome: str | None
    error: Failure | None


class Document(Ended):
    """A document whose job a worker has; the fields mean what they mean in `ClaimedJob`."""

    owner: str
    job_id: str | None
    worker: str
    attempts: int
    max_attempts: int


class Passage(Document):
    """A passage that is not in the index yet: its id, and what the embedding model is to read."""

    chunk_id: str | None
    text: str | None


class Vector(Document):
    """A passage's id and vector."""

    chunk_id: str | None
    vector: list[float] | None


def document_row(job: ClaimedJob, worker: str) -> Document:
    """Return the document of a job that a worker has."""
    return Document(
        uri="",
        document_id=str(job.subject_id),
        outcome=None,
        error=None,
        owner=str(job.user_id),
        job_id=str(job.id),
        worker=worker,
        attempts=job.attempts,
        max_attempts=job.max_attempts,
    )


def ended_document(row: Document, outcome: str, error: Failure | None) -> Document:
    """Return a document that goes through the later stages as it is, as it has ended."""
    over = _document(row)
    over["outcome"], over["error"] = outcome, error
    return over


def passage_row(row: Document, chunk: NewChunk | None = None) -> Passage:
    """Return a passage of a document; without one, the row that stands for the whole document."""
    if chunk is None:
        return Passage(**_document(row), chunk_id=None, text=None)
    text = embedded_text(chunk.headings, chunk.content)
    return Passage(**_document(row), chunk_id=str(chunk.id), text=text)


def vector_row(row: Document, chunk_id: str | None, vector: list[float] | None) -> Vector:
    """Return the vector of a passage."""
    return Vector(**_document(row), chunk_id=chunk_id, vector=vector)


def ended_row(row: Document, outcome: str | None, error: Failure | None) -> Ended:
    """Return how a document ended."""
    return Ended(uri=row["uri"], document_id=row["document_id"], outcome=outcome, error=error)


def _document(row: Document) -> Document:
    """Return the columns that all rows of a document share."""
    return Document(
        uri=row["uri"],
        document_id=row["document_id"],
        outcome=row["outcome"],
        error=row["error"],
        owner=row["owner"],
        job_id=row["job_id"],
        worker=row["worker"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
    )
