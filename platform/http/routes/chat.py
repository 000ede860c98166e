"""Conversations, and answers that stream."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from little_monster.db.models.chat_conversations import ChatConversation, ContextType
from little_monster.db.models.chat_messages import ChatMessage
from little_monster.platform.errors import (
    ContentRefused,
    EngineFailed,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    ProblemError,
    Unauthenticated,
)
from little_monster.platform.http.dependencies import CurrentUser, Idempotent, RequestId, ResourcesDep
from little_monster.platform.http.etags import NOT_MODIFIED, if_match, show, tag_of
from little_monster.platform.http.exception_handlers import problem_responses
from little_monster.platform.http.idempotency import IdempotentRoute
from little_monster.platform.http.links import link
from little_monster.platform.http.pagination import Listing, PageDep, listing
from little_monster.platform.http.schemas.chat import (
    ConversationChange,
    ConversationView,
    MessageView,
    NewConversation,
    NewMessage,
    TranscriptView,
)
from little_monster.platform.http.streaming import StreamResponse, encode_event, encode_retry
from little_monster.platform.services.chat import conversations
from little_monster.platform.services.chat.ask import ask
from little_monster.platform.services.chat.events import Event, Failed

router = APIRouter(prefix="/chat", tags=["chat"], route_class=IdempotentRoute)

EVENTS = """The answer as server-sent events. Each has an `id`, a name and one line of JSON:

| event | data |
|---|---|
| `message` | `user_message_id`, `assistant_message_id` |
| `sources` | `sources`: the passages that were found, each with its `number` |
| `delta` | `text`: more of the answer |
| `citation` | `number` of the source, its exact `quote`, and where both stand |
| `usage` | `prompt_tokens`, `completion_tokens`, `total_tokens`, `time_to_first_token_ms` |
| `done` | `message_id`, `finish_reason`; the last event |
| `error` | the fields of a problem; the last event, instead of `done` |

A source has `number`, `chunk_id`, `document_id`, `title`, `page`, `headings`, `content`, `score`.
A citation has `number`, `document_id`, `title`, `page`, `quote`, `start` and `end` (characters of the
document's text, which are the quote), `answer_start` and `answer_end` (characters of the answer, which
are the sentence that the quote supports).

A client that goes away stops the answer; what there is of it is kept as `interrupted`."""

EVENT_SCHEMA: dict[str, Any] = {
    "title": "One event of an answer",
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"type": "string", "enum": [one.name for one in get_args(Event)]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}


@router.post(
    "/conversations",
    status_code=201,
    summary="Begin a conversation",
    dependencies=[Idempotent],
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def create_conversation(
    body: NewConversation, response: Response, user: CurrentUser, resources: ResourcesDep
) -> ConversationView:
    """Begin an empty conversation."""
    conversation = await conversations.create_conversation(
        resources.database, user.user_id, title=body.title, context_type=body.context_type
    )
    response.headers["Location"] = link("chat", "conversations", conversation.id).href
    return ConversationView.of(conversation)


@router.get(
    "/conversations",
    summary="List one's own conversations",
    response_model=Listing[ConversationView],
    responses=problem_responses(Unauthenticated, InvalidInput),
)
async def list_conversations(
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
    context_type: Annotated[ContextType | None, Query(description="Only conversations about this.")] = None,
) -> dict[str, Any]:
    """List conversations, the last active first."""
    rows = await conversations.list_conversations(
        resources.database, user.user_id, limit=page.fetch, after=page.after, context_type=context_type
    )
    return listing(request, response, page, rows, view=ConversationView.of, position=_last_active)


@router.get(
    "/conversations/{conversation_id}",
    summary="Show a conversation with its messages",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def get_conversation(
    conversation_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
) -> TranscriptView:
    """Show a conversation and its last `limit` messages, with sources and citations."""
    found = await conversations.read_conversation(
        resources.database, user.user_id, conversation_id, limit=page.fetch, after=page.after
    )
    show(request, response, _tag(found.conversation))
    messages = listing(request, response, page, found.messages, view=MessageView.of, position=_said)
    shown = ConversationView.of(found.conversation)
    return TranscriptView(
        **shown.model_dump(exclude={"links"}),
        links={**messages["_links"], **shown.links},
        messages=messages["items"][::-1],
        next_cursor=messages["next_cursor"],
    )


@router.patch(
    "/conversations/{conversation_id}",
    summary="Change a conversation's title",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def change_conversation(
    conversation_id: UUID,
    body: ConversationChange,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
) -> ConversationView:
    """Give a conversation another title."""
    check = if_match(request, _tag)
    conversation = await conversations.change_conversation(
        resources.database, user.user_id, conversation_id, body.given(), check=check
    )
    response.headers["ETag"] = _tag(conversation)
    return ConversationView.of(conversation)


@router.delete(
    "/conversations/{conversation_id}",
    status_code=204,
    summary="Delete a conversation",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput, PreconditionFailed),
)
async def delete_conversation(
    conversation_id: UUID, request: Request, user: CurrentUser, resources: ResourcesDep
) -> None:
    """Delete a conversation with its messages."""
    await conversations.delete_conversation(
        resources.database, user.user_id, conversation_id, check=if_match(request, _tag)
    )


@router.post(
    "/conversations/{conversation_id}/messages",
    status_code=200,
    summary="Ask a question",
    description=EVENTS,
    response_class=StreamResponse,
    responses={
        200: {
            "description": "The answer, as it is written.",
            "content": {"text/event-stream": {"schema": EVENT_SCHEMA}},
        },
        **problem_responses(Unauthenticated, NotFound, InvalidInput, ContentRefused, EngineFailed),
    },
)
async def send_message(
    conversation_id: UUID, body: NewMessage, user: CurrentUser, resources: ResourcesDep, request_id: RequestId
) -> StreamResponse:
    """Ask a question and stream its answer; errors before the first event are ordinary problems."""
    events = ask(resources, user.user_id, body.question(conversation_id), request_id=request_id)
    return StreamResponse(_frames(events, request_id), heartbeat_s=resources.settings.api.heartbeat_s)


async def _frames(events: AsyncGenerator[Event, None], request_id: str) -> AsyncGenerator[bytes, None]:
    number = 0
    async with aclosing(events):
        async for event in events:
            number += 1
            data = _problem(event.problem, request_id) if isinstance(event, Failed) else event
            frame = encode_event(event.name, data, number)
            yield encode_retry() + frame if number == 1 else frame


def _problem(error: ProblemError, request_id: str) -> dict[str, Any]:
    return {
        "type": f"urn:little-monster:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "errors": error.errors,
        "request_id": request_id,
    }


def _tag(conversation: ChatConversation) -> str:
    # Triggers touch the row with each message, so that its tag stands for the messages as well.
    return tag_of(conversation.updated_at)


def _last_active(conversation: ChatConversation) -> tuple[datetime, UUID]:
    return conversation.last_message_at, conversation.id


def _said(message: ChatMessage) -> tuple[datetime, UUID]:
    return message.created_at, message.id
