"""Documents, their passages, and what a search finds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.vectors.hybrid import DEPTH
from little_monster.db.vectors.index import SearchFilter
from little_monster.platform.engines.protocols import Passage, SearchOptions
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.jobs import JobView
from little_monster.platform.http.schemas.texts import Body, Changes, optional, without_nul
from little_monster.platform.services.documents import Upload

MAX_TITLE_CHARS = 300
MAX_QUERY_CHARS = 2_000
MAX_SEARCH_LIMIT = 50
MAX_SEARCH_DEPTH = DEPTH
MAX_DOCUMENT_IDS = 100
MAX_HEADINGS = 20

Query = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUERY_CHARS),
    AfterValidator(without_nul),
]


Heading = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TITLE_CHARS),
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
    recognised_by: str | None = Field(
        None,
        description="How: `hi_res` found the parts of each page by a model of layouts, `ocr_only` without.",
        examples=["ocr_only"],
    )


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
            links=_links_of(document),
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

    model_config = ConfigDict(populate_by_name=True)

    document: DocumentView
    job: JobView | None
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, upload: Upload) -> "UploadView":
        """Show what an upload led to."""
        return cls(
            document=DocumentView.of(upload.document),
            job=JobView.of(upload.job) if upload.job is not None else None,
            links={
                "document": link("documents", upload.document.id),
                "events": link("documents", upload.document.id, "events"),
            },
        )


class BoxView(BaseModel):
    """A line of a passage on its page: characters of the document's extracted text, and where they stand, in
    points (1/72 inch) from the lower left corner of the page."""

    page: int
    start: int
    end: int
    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def of(cls, box: Sequence[Any]) -> "BoxView":
        """Show a box as its row has it."""
        return cls(**dict(zip(cls.model_fields, box, strict=True)))


class ChunkView(BaseModel):
    """A passage of a document. `start` and `end` are characters of the document's extracted text."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    index: int = Field(description="Its place in the document, from 0.")
    content: str
    page: int | None
    page_end: int | None
    start: int
    end: int
    headings: list[str]
    token_count: int
    boxes: list[BoxView] = Field(description="Where its lines stand; empty where there are no pages.")
    links: Links = Field(alias="_links")

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
            boxes=[BoxView.of(box) for box in chunk.boxes],
            links=_links_of_chunk(chunk),
        )


class SearchFilters(Body):
    """Which passages are searched: those that fit each of what is given."""

    subjects: list[Subject] = Field([], max_length=len(Subject), description="Of one of these subjects.")
    file_types: list[FileType] = Field(
        [], max_length=len(FileType), description="Of one of these kinds of file."
    )
    headings: list[Heading] = Field(
        [],
        max_length=MAX_HEADINGS,
        description="Under one of these headings, at whatever level; case and spaces do not matter.",
    )
    created_from: AwareDatetime | None = Field(None, description="Uploaded then or later.")
    created_before: AwareDatetime | None = Field(None, description="Uploaded earlier.")


class Search(Body):
    """What to search for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "What do mitochondria produce?", "limit": 5},
                {
                    "query": "energy of cells",
                    "per_document": 1,
                    "filters": {"subjects": ["biology"], "headings": ["Respiration"]},
                },
            ]
        }
    )

    query: Query
    limit: int = Field(10, ge=1, le=MAX_SEARCH_LIMIT, description="Most passages in the answer.")
    document_ids: list[UUID] = Field(
        [], max_length=MAX_DOCUMENT_IDS, description="Search only these documents; empty: all."
    )
    filters: SearchFilters = SearchFilters()
    per_document: int | None = Field(
        None, ge=1, le=MAX_SEARCH_LIMIT, description="Most passages of one document; null: any number."
    )
    offset: int = Field(
        0,
        ge=0,
        lt=MAX_SEARCH_DEPTH,
        description=f"Passages to pass over, as `next_offset` says; {MAX_SEARCH_DEPTH} are found at most.",
    )

    def options(self) -> SearchOptions:
        """Return what the search service is asked besides the query."""
        filters = self.filters
        where = SearchFilter(
            subjects=tuple(filters.subjects),
            file_types=tuple(filters.file_types),
            headings=tuple(filters.headings),
            created_from=filters.created_from,
            created_before=filters.created_before,
        )
        return SearchOptions(where, self.offset, self.per_document)


class SpanView(BaseModel):
    """Characters of the passage's `content`."""

    start: int
    end: int


class QuoteView(SpanView):
    """The sentence of a passage that answers best."""

    text: str


class PassageView(BaseModel):
    """A passage that answers a query, with where it stands."""

    model_config = ConfigDict(populate_by_name=True)

    chunk_id: UUID
    document_id: UUID
    title: str = Field(description="Title of the document.")
    content: str
    score: float = Field(
        description="0 to 1, higher is better; it compares passages of one search, not of two."
    )
    page: int | None
    page_end: int | None
    start: int
    end: int
    headings: list[str]
    highlights: list[SpanView] = Field(description="The query's words, in whatever form.")
    quote: QuoteView | None = Field(
        description="The sentence with most of the query's words; null: it has none of them."
    )
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
            highlights=[SpanView(start=start, end=end) for start, end in passage.matches],
            quote=_quote_of(passage),
            links={"document": link("documents", passage.document_id)},
        )


class SearchResults(BaseModel):
    """What was found, best first."""

    items: list[PassageView]
    next_offset: int | None = Field(
        description="Pass it as `offset`, with the same query, to get the next page; null: there is none."
    )

    @classmethod
    def of(cls, passages: Sequence[Passage], search: Search) -> "SearchResults":
        """Show a page of what was found, given one passage more than it shows where there are more."""
        end = search.offset + search.limit
        more = len(passages) > search.limit and end < MAX_SEARCH_DEPTH
        return cls(
            items=[PassageView.of(passage) for passage in passages[: search.limit]],
            next_offset=end if more else None,
        )


def _quote_of(passage: Passage) -> QuoteView | None:
    if passage.quote is None:
        return None
    start, end = passage.quote
    return QuoteView(start=start, end=end, text=passage.content[start:end])


def _links_of(document: UserDocument) -> Links:
    names = ("chunks", "download", "events", "reprocess")
    links = {name: link("documents", document.id, name) for name in names}
    if document.file_type is FileType.PDF:
        links["first_page"] = link("documents", document.id, "pages", 1, "image")
    return {"self": link("documents", document.id), **links}


def _links_of_chunk(chunk: DocumentChunk) -> Links:
    document = link("documents", chunk.document_id)
    links = {"self": link("documents", chunk.document_id, "chunks", chunk.id), "document": document}
    if chunk.boxes:
        # The page that it begins on, with its lines marked.
        page = ("documents", chunk.document_id, "pages", chunk.boxes[0][0], "image")
        links["image"] = link(*page, chunk_id=chunk.id)
    return links


def _failure_of(document: UserDocument) -> DocumentFailure | None:
    if document.error_code is None:
        return None
    return DocumentFailure(code=document.error_code, reason=document.error_reason or "")
