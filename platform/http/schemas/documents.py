"""Documents, their passages, and what a search finds."""

from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.platform.engines.protocols import Passage
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.jobs import JobView
from little_monster.platform.http.schemas.texts import Body, Changes, optional, without_nul
from little_monster.platform.services.documents import Upload

MAX_TITLE_CHARS = 300
MAX_QUERY_CHARS = 2_000
MAX_SEARCH_LIMIT = 50
MAX_DOCUMENT_IDS = 100

Query = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUERY_CHARS),
    AfterValidator(without_nul),
]


DocumentTitle = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TITLE_CHARS),
    AfterValidator(without_nul),
]


class DocumentFailure(BaseModel):
    """Why a document could not be read."""

    code: str = Field(description="For programs; does not change.", examples=["pdf_encrypted"])
    reason: str = Field(description="For people.")


class TallyView(BaseModel):
    """How many there were, and how many of them are in the text."""

    seen: int
    kept: int


class LossView(BaseModel):
    """What a document had and what is left of it: tables as tables, formulas with all of their signs, figures
    by what is said in their place.
    """

    pages: TallyView
    tables: TallyView
    figures: TallyView
    formulas: TallyView
    needs_ocr: list[int] = Field(
        description="Pages that show something and have no text: their text must be recognised (OCR) first.",
        examples=[[3, 17]],
    )
    recognised: list[int] = Field(description="Pages whose text was recognised, and may have errors.")


class DocumentView(BaseModel):
    """An uploaded document. It can be searched when its status is `completed`."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    title: str
    file_type: FileType
    subject: Subject | None
    file_size: int = Field(description="Bytes of the file.")
    status: EmbeddingStatus
    pages: int | None = Field(
        description="Pages of the document; null where there are none, or not read yet."
    )
    chunk_count: int = Field(description="Passages that were made of it.")
    metadata: dict[str, Any] = Field(
        description="What reading it told: its own title and author, its size, the embedding model.",
        examples=[{"title": "Cells", "author": "Ada", "date": "2024-05-06", "characters": 54321}],
    )
    report: LossView | None = Field(
        description="What reading the document saw and kept; null where it was not read yet."
    )
    error: DocumentFailure | None
    created_at: datetime
    updated_at: datetime
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, document: UserDocument) -> "DocumentView":
        """Show a row."""
        return cls(
            id=document.id,
            title=document.title,
            file_type=document.file_type,
            subject=document.subject,
            file_size=document.file_size,
            status=document.embedding_status,
            pages=document.page_count,
            chunk_count=document.chunk_count,
            metadata=document.metadata_,
            report=LossView(**document.report) if document.report else None,
            error=_failure_of(document),
            created_at=document.created_at,
            updated_at=document.updated_at,
            links={
                "self": link("documents", document.id),
                "chunks": link("documents", document.id, "chunks"),
            },
        )


class DocumentChange(Changes):
    """What to change of a document; what is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [{"title": "Cell biology", "subject": "biology"}],
        }
    )

    nullable: ClassVar[frozenset[str]] = frozenset({"subject"})

    title: DocumentTitle = optional()
    subject: Subject | None = Field(None, description="null: none.")


class UploadView(BaseModel):
    """A stored document and the job that reads it; no job is left of one that was read long ago."""

    document: DocumentView
    job: JobView | None

    @classmethod
    def of(cls, upload: Upload) -> "UploadView":
        """Show what an upload led to."""
        return cls(
            document=DocumentView.of(upload.document),
            job=JobView.of(upload.job) if upload.job is not None else None,
        )


class ChunkView(BaseModel):
    """A passage of a document. `start` and `end` are characters of the document's extracted text."""

    id: UUID
    index: int = Field(description="Its place in the document, from 0.")
    content: str
    page: int | None
    page_end: int | None
    start: int
    end: int
    headings: list[str]
    token_count: int

    @classmethod
    def of(cls, chunk: DocumentChunk) -> "ChunkView":
        """Show a row."""
        return cls(
            id=chunk.id,
            index=chunk.chunk_index,
            content=chunk.content,
            page=chunk.page,
            page_end=chunk.page_end,
            start=chunk.start_offset,
            end=chunk.end_offset,
            headings=chunk.headings,
            token_count=chunk.token_count,
        )


class Search(Body):
    """What to search for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "What do mitochondria produce?", "limit": 5}]}
    )

    query: Query
    limit: int = Field(10, ge=1, le=MAX_SEARCH_LIMIT, description="Most passages in the answer.")
    document_ids: list[UUID] = Field(
        [], max_length=MAX_DOCUMENT_IDS, description="Search only these documents; empty: all."
    )


class PassageView(BaseModel):
    """A passage that answers a query, with where it stands."""

    model_config = ConfigDict(populate_by_name=True)

    chunk_id: UUID
    document_id: UUID
    title: str = Field(description="Title of the document.")
    content: str
    score: float = Field(description="Likeness to the query; higher is better.")
    page: int | None
    page_end: int | None
    start: int
    end: int
    headings: list[str]
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, passage: Passage) -> "PassageView":
        """Show what the search found."""
        return cls(
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            title=passage.document_title,
            content=passage.content,
            score=passage.score,
            page=passage.page,
            page_end=passage.page_end,
            start=passage.start,
            end=passage.end,
            headings=list(passage.headings),
            links={"document": link("documents", passage.document_id)},
        )


class SearchResults(BaseModel):
    """What was found, best first."""

    items: list[PassageView]


def _failure_of(document: UserDocument) -> DocumentFailure | None:
    if document.error_code is None:
        return None
    return DocumentFailure(code=document.error_code, reason=document.error_reason or "")
