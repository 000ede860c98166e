"""Images of the pages of documents, with a quote marked.

They are kept in Redis for less than a minute, at one of a few places that a hash gives each: whoever asks
for ever new ones puts them in the place of others, and fills no memory. What is deleted is gone from there as
soon as from everywhere else.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

import structlog
from redis.asyncio import Redis

from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.user_documents import FileType, UserDocument
from little_monster.platform.cache import REDIS_AWAY
from little_monster.platform.engines.protocols import Mark, PageRequest
from little_monster.platform.errors import InvalidInput, NotFound
from little_monster.platform.rendering.processes import no_page
from little_monster.platform.resources import Resources
from little_monster.platform.services.documents import get_chunk, read_document

KEPT_S: Final = 50
SLOTS: Final = 128
MAX_KEPT_BYTES: Final = 512 * 1024
# More than a page has lines.
_MAX_MARKS: Final = 400
# Another number where pages come out differently.
_LOOK: Final = 1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Quote:
    """What to mark on a page: a passage, or of it only the lines with characters from `start` until before
    `end` of the document's text."""

    chunk_id: UUID
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class PageImage:
    """An image of a page that can be made; `version` stands for all that it shows."""

    document: UserDocument
    request: PageRequest
    version: str


async def find_page(
    resources: Resources, owner: UUID, document_id: UUID, request: PageRequest, quote: Quote | None
) -> PageImage:
    """Return the image of a page with a quote marked, not yet made.

    Raises:
        NotFound: there is no such document or passage; the document has no pages (`document_has_no_pages`),
            or not this one (`page_not_found`).
        InvalidInput: the quote ends before it begins.
    """
    if quote and quote.start is not None and quote.end is not None and quote.start >= quote.end:
        raise InvalidInput(
            "The quote is empty.", errors=[{"field": "query.end", "message": "must be after `start`"}]
        )
    document = await read_document(resources.database, owner, document_id)
    if document.file_type is not FileType.PDF:
        raise NotFound("Only the pages of a PDF can be shown.", code="document_has_no_pages")
    if document.page_count is not None and request.page > document.page_count:
        raise no_page()
    marks: tuple[Mark, ...] = ()
    if quote is not None:
        chunk = await get_chunk(resources.database, owner, document_id, quote.chunk_id)
        marks = _marks(chunk, request.page, quote)
    request = PageRequest(request.page, request.width, request.form, marks)
    # The owner too: nobody is ever shown what was made for somebody else.
    parts = [_LOOK, str(owner), str(document_id), document.content_hash, asdict(request)]
    return PageImage(document, request, hashlib.sha256(json.dumps(parts).encode()).hexdigest())


async def render_page(resources: Resources, image: PageImage) -> bytes:
    """Make an image, unless it was made just now.

    Raises:
        NotFound, Conflict, Unavailable: see `PageRenderer` and `FileStorage.open`.
    """
    kept = await _find(resources.redis, image.version)
    if kept is not None:
        return kept
    pdf = await resources.storage.open(image.document.file_url)
    made = await resources.page_renderer.render(pdf, image.request)
    if len(made) <= MAX_KEPT_BYTES:
        await _keep(resources.redis, image.version, made)
    return made


def _marks(chunk: DocumentChunk, page: int, quote: Quote) -> tuple[Mark, ...]:
    start = chunk.start_offset if quote.start is None else quote.start
    end = chunk.end_offset if quote.end is None else quote.end
    found = [
        (left, bottom, right, top)
        for on_page, first, after, left, bottom, right, top in chunk.boxes
        if on_page == page and first < end and after > start
    ]
    return tuple(found[:_MAX_MARKS])


async def _find(redis: Redis, version: str) -> bytes | None:
    # Its types say text; the answers of our clients are bytes.
    commands: Any = redis
    try:
        found: bytes | None = await commands.get(_slot(version))
    except REDIS_AWAY as error:
        _log.warning("page_not_looked_up", error=type(error).__name__)
        return None
    stamp, _, image = (found or b"").partition(b"\n")
    return image if stamp == version.encode() else None


async def _keep(redis: Redis, version: str, image: bytes) -> None:
    try:
        await redis.set(_slot(version), version.encode() + b"\n" + image, ex=KEPT_S)
    except REDIS_AWAY as error:
        _log.warning("page_not_kept", error=type(error).__name__)


def _slot(version: str) -> str:
    return f"lm:page:{int(version, 16) % SLOTS}"
