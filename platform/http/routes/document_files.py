"""The files of documents: to take away again, and to look at page by page."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from little_monster.platform.engines.protocols import PageRequest
from little_monster.platform.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    RangeNotSatisfiable,
    Unauthenticated,
)
from little_monster.platform.http.attachments import MEDIA_TYPES, OCTETS, SAFE_HEADERS, attachment
from little_monster.platform.http.dependencies import CurrentUser, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, show
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.ranges import wanted_range
from little_monster.platform.services import documents, page_images
from little_monster.platform.services.page_images import Quote

router = APIRouter(prefix="/documents/{document_id}", tags=["documents"])

MAX_PAGE: Final = 1_000_000
MIN_WIDTH, MAX_WIDTH, WIDTH = 64, 2_000, 1_000

_BINARY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
_FILES: Final = dict.fromkeys([*MEDIA_TYPES.values(), OCTETS], _BINARY)
_TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}
_RANGE: Final[dict[str, Any]] = {
    "name": "Range",
    "in": "header",
    "description": "`bytes=0-1023`: only this part. Whoever asks for several gets all.",
    "schema": {"type": "string"},
}

ImageForm = Literal["png", "webp"]


@router.get(
    "/download",
    summary="Download the file of a document",
    response_class=StreamingResponse,
    openapi_extra={"parameters": [_RANGE]},
    responses={
        200: {"description": "The file.", "content": _FILES},
        206: {
            "description": "The part of it that `Range` names.",
            "content": _FILES,
            "headers": {"Content-Range": _TEXT},
        },
        **NOT_MODIFIED,
        **problem_responses(Unauthenticated, NotFound, RangeNotSatisfiable, InvalidInput),
    },
)
async def download_document(
    document_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> StreamingResponse:
    """Download the file as it was uploaded, whole or a part of it, under the title of the document."""
    document = await documents.read_document(resources.database, user.user_id, document_id)
    tag = f'"{document.content_hash}"'
    show(request, response, tag)
    part = wanted_range(request, document.file_size, tag)
    headers = {
        **response.headers,
        **SAFE_HEADERS,
        "Accept-Ranges": "bytes",
        "Content-Disposition": attachment(document.title, document.file_type),
        "Content-Length": str(part.end - part.start if part else document.file_size),
        **({"Content-Range": part.content_range} if part else {}),
    }
    start, end = (part.start, part.end) if part else (0, None)
    return StreamingResponse(
        await resources.storage.open(document.file_url, start=start, end=end),
        206 if part else 200,
        headers,
        MEDIA_TYPES.get(document.file_type, OCTETS),
    )


@router.get(
    "/pages/{page}/image",
    summary="Show a page of a document, with a quote marked",
    response_class=Response,
    responses={
        200: {"description": "The image.", "content": {"image/png": _BINARY, "image/webp": _BINARY}},
        **NOT_MODIFIED,
        **problem_responses(Unauthenticated, NotFound, Conflict, InvalidInput),
    },
)
async def get_page_image(
    document_id: UUID,
    page: Annotated[int, Path(ge=1, le=MAX_PAGE)],
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    chunk_id: Annotated[UUID | None, Query(description="The passage whose lines are marked.")] = None,
    start: Annotated[
        int | None,
        Query(ge=0, le=2**53, description="Mark its lines from this character of the document on."),
    ] = None,
    end: Annotated[
        int | None, Query(ge=0, le=2**53, description="Mark its lines until before this character.")
    ] = None,
    width: Annotated[
        int, Query(ge=MIN_WIDTH, le=MAX_WIDTH, description="Pixels; a very long page comes out narrower.")
    ] = WIDTH,
    format: Annotated[ImageForm, Query(description="Kind of image.")] = "png",
) -> Response:
    """Render a page of a PDF. What a search or a citation names (`chunk_id`, `start`, `end`) is marked, line
    by line; `start` and `end` need `chunk_id`."""
    if chunk_id is None and (start, end) != (None, None):
        raise InvalidInput(
            "A quote is part of a passage.",
            errors=[{"field": "query.chunk_id", "message": "is needed with `start` and `end`"}],
        )
    quote = None if chunk_id is None else Quote(chunk_id, start, end)
    wanted = PageRequest(page, width, format)
    image = await page_images.find_page(resources, user.user_id, document_id, wanted, quote)
    show(request, response, f'"{image.version[:32]}"')
    made = await page_images.render_page(resources, image)
    return Response(made, headers={**response.headers, **SAFE_HEADERS}, media_type=f"image/{format}")
