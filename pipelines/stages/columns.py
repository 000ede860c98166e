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
