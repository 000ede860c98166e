"""Documents: upload, list, read, change, search, read anew, delete."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.repositories.user_documents import DocumentFilter, DocumentOrder
from little_monster.platform.errors import (
    InvalidInput,
    NotFound,
    PreconditionFailed,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedFile,
)
from little_monster.platform.http.dependencies import CurrentUser, Idempotent, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, if_match, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.idempotency import IdempotentRoute
from little_monster.platform.http.links import link
from little_monster.platform.http.pagination import (
    Listing,
    Page,
    PageDep,
    listing,
    nothing_to_be_relevant_to,
    position_of,
)
from little_monster.platform.http.routes.jobs import EVENT_STREAM, EVENTS, job_events
from little_monster.platform.http.schemas.documents import (
    ChunkView,
    DocumentChange,
    DocumentView,
    Search,
    SearchResults,
    UploadView,
)
from little_monster.platform.http.schemas.jobs import JobView
from little_monster.platform.http.schemas.texts import Words
from little_monster.platform.http.streaming import StreamResponse
from little_monster.platform.http.uploads import FORM_SCHEMA, FormFile
from little_monster.platform.services import documents

_BY_TIME = (DocumentOrder.NEWEST, DocumentOrder.OLDEST)

router = APIRouter(prefix="/documents", tags=["documents"], route_class=IdempotentRoute)


@router.post(
    "/upload",
    status_code=202,
    summary="Upload a document",
    dependencies=[Idempotent],
    openapi_extra={"requestBody": FORM_SCHEMA},
    responses={
        200: {
            "model": UploadView,
            "description": "The same file was uploaded before; that document is shown.",
        },
        202: {
            "description": "Stored; the job will read it.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **problem_responses(Unauthenticated, TooLarge, UnsupportedFile, InvalidInput, StorageFull),
    },
)
async def upload_document(
    request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> UploadView:
    """Store a file of PDF, DOCX, PPTX, EPUB, HTML, Markdown or text, and queue the job that makes it
    searchable.
    """
    file = FormFile(request, resources.settings.upload.max_bytes)
    upload = await documents.upload_document(resources, user.user_id, file)
    response.status_code = 202 if upload.created else 200
    if upload.job is not None:
        response.headers["Location"] = link("jobs", upload.job.id).href
    return UploadView.of(upload)


@router.get(
    "",
    summary="List one's own documents",
    response_model=Listing[DocumentView],
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def list_documents(
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
    q: Annotated[
        Words | None, Query(description='Words of the title: `cell -wall "light reaction"`.')
    ] = None,
    status: Annotated[EmbeddingStatus | None, Query(description="Only documents of this status.")] = None,
    file_type: Annotated[FileType | None, Query(description="Only documents of this kind of file.")] = None,
    subject: Annotated[Subject | None, Query(description="Only documents of this subject.")] = None,
    sort: Annotated[
        DocumentOrder | None,
        Query(description="Left out: `relevance` with `q`, else `newest`. `relevance` needs `q`."),
    ] = None,
) -> dict[str, Any]:
    """List documents, filtered, searched by title and sorted; what they say is searched by `/search`."""
    order = sort or (DocumentOrder.NEWEST if q is None else DocumentOrder.RELEVANCE)
    if order is DocumentOrder.RELEVANCE and q is None:
        raise nothing_to_be_relevant_to()
    rows = await documents.list_documents(
        resources.database,
        user.user_id,
        DocumentFilter(status, file_type, subject, q),
        order=order,
        limit=page.fetch,
        after=_after(page, order),
    )
    return listing(
        request,
        response,
        page,
        rows,
        view=lambda row: DocumentView.of(row.document),
        position=lambda row: position_of(order.value, row.value, row.document.id),
    )


@router.post(
    "/search",
    summary="Search one's own documents",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, Unavailable),
)
async def search_documents(body: Search, user: CurrentUser, resources: ResourcesDep) -> SearchResults:
    """Find the passages that answer a query by their meaning and their words, best first."""
    passages = await documents.search_documents(
        resources,
        user.user_id,
        body.query,
        # One more tells whether there is a next page.
        limit=body.limit + 1,
        document_ids=body.document_ids,
        options=body.options(),
    )
    return SearchResults.of(passages, body)


@router.get(
    "/{document_id}",
    summary="Show a document",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_document(
    document_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> DocumentView:
    """Show a document: its status, and why it failed if it did."""
    document = await documents.read_document(resources.database, user.user_id, document_id)
    show(request, response, _tag(document))
    return DocumentView.of(document)


@router.patch(
    "/{document_id}",
    summary="Change a document's title or subject",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def change_document(
    document_id: UUID,
    body: DocumentChange,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> DocumentView:
    """Change what is given and leave the rest; `subject: null` removes the subject."""
    check = if_match(request, _tag)
    document = await documents.change_document(
        resources.database, user.user_id, document_id, body.given(), check=check
    )
    response.headers["ETag"] = _tag(document)
    return DocumentView.of(document)


@router.get(
    "/{document_id}/chunks",
    summary="List the passages of a document",
    response_model=Listing[ChunkView],
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput),
)
async def list_chunks(
    document_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
) -> dict[str, Any]:
    """List passages in the order of the document."""
    rows = await documents.list_chunks(
        resources.database, user.user_id, document_id, limit=page.fetch, after=page.after_index
    )
    return listing(request, response, page, rows, view=ChunkView.of, position=_index)


@router.get(
    "/{document_id}/chunks/{chunk_id}",
    summary="Show a passage",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_chunk(
    document_id: UUID,
    chunk_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> ChunkView:
    """Show a passage of a document, as a citation names it, and where its lines stand on their pages."""
    chunk = await documents.get_chunk(resources.database, user.user_id, document_id, chunk_id)
    show(request, response, tag_of(chunk.created_at))
    return ChunkView.of(chunk)


@router.post(
    "/{document_id}/reprocess",
    status_code=202,
    summary="Read a document anew",
    dependencies=[Idempotent],
    responses={
        202: {
            "description": "The job will read it.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **problem_responses(Unauthenticated, NotFound, InvalidInput),
    },
)
async def reprocess_document(
    document_id: UUID, response: Response, user: CurrentUser, resources: ResourcesDep
) -> JobView:
    """Queue a job that reads the stored file again, as after a failure or for a better reader. While one is
    under way, it is shown again; until it is done, what was read before is still found."""
    job = await documents.reprocess_document(resources.database, user.user_id, document_id)
    response.headers["Location"] = link("jobs", job.id).href
    return JobView.of(job)


@router.get(
    "/{document_id}/events",
    status_code=200,
    summary="Follow the newest job of a document",
    description=f"The newest job that reads this document. {EVENTS}",
    response_class=StreamResponse,
    responses={**EVENT_STREAM, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def follow_document(document_id: UUID, user: CurrentUser, resources: ResourcesDep) -> StreamResponse:
    """Stream how far the newest job of a document is."""
    job = await documents.newest_job(resources.database, user.user_id, document_id)
    return job_events(user, resources, job.id)


@router.delete(
    "/{document_id}",
    status_code=204,
    summary="Delete a document",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def delete_document(
    document_id: UUID, request: Request, user: CurrentUser, resources: ResourcesDep
) -> None:
    """Delete a document with its passages, vectors and file."""
    await documents.delete_document(resources, user.user_id, document_id, check=if_match(request, _tag))


def _tag(document: UserDocument) -> str:
    return tag_of(document.updated_at)


def _index(chunk: DocumentChunk) -> int:
    return chunk.chunk_index


def _after(page: Page, order: DocumentOrder) -> tuple[datetime | Decimal, UUID] | None:
    if order in _BY_TIME:
        return page.after
    position = page.after_number(order.value)
    return None if position is None else (position.number, position.key)
