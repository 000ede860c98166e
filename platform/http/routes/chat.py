"""Conversations, and answers that stream."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from little_monster.db.models.chat_conversations import ChatConversation, ContextType
from little_monster.db.models.chat_messages import ChatMessage
from little_monster.db.models.chat_runs import ChatRun
from little_monster.platform.errors import (
    ContentRefused,
    EngineFailed,
    InvalidInput,
    NotFound,
    PreconditionFailed,
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
    RunView,
    TranscriptView,
)
from little_monster.platform.http.streaming import StreamResponse, encode_event, encode_retry
from little_monster.platform.resources import Resources
from little_monster.platform.services.chat import conversations
from little_monster.platform.services.chat.events import Event
from little_monster.platform.services.chat.run_log import Entry
from little_monster.platform.services.chat.runs import (
    follow_run,
    forget_conversation,
    get_run,
    list_runs,
    start_run,
    stop_run,
)

router = APIRouter(prefix="/chat", tags=["chat"], route_class=IdempotentRoute)

EVENTS = """The answer as server-sent events. Each has an `id`, a name and one line of JSON:

| event | data |
|---|---|
| `run.started` | `run_id`, `conversation_id`, `user_message_id`, `assistant_message_id` |
| `sources` | `sources`: the passages that were found, each with its `number` |
| `delta` | `text`: more of the answer |
| `citation` | `number` of the source, its exact `quote`, and where both stand |
| `usage` | `prompt_tokens`, `completion_tokens`, `total_tokens`, `time_to_first_token_ms` |
| `message.completed` | `message_id`, `finish_reason`: the answer is whole and stored |
| `done` | `run_id` and how it ended, `status`; the last event |
| `error` | the fields of a problem; the last event, instead of `done` |

A source has `number`, `chunk_id`, `document_id`, `title`, `page`, `headings`, `content`, `score`.
A citation has `number`, `document_id`, `title`, `page`, `quote`, `start` and `end` (characters of the
document's text, which are the quote), `answer_start` and `answer_end` (characters of the answer, which
are the sentence that the quote supports).

The answer is a run of its own: it goes on when the client goes away, unless `on_disconnect` is `cancel`.
`GET /api/v1/chat/runs/{run_id}/events` follows it from where the client was (`Last-Event-ID`), and
`POST /api/v1/chat/runs/{run_id}/cancel` stops it; what there is of it then is kept."""

QuestionKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="A value of the client's choice. A question that is sent again with the same key is "
        "stored and answered once: the repetition follows the first answer from its beginning.",
    ),
]

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
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, as it is written.",
        "content": {"text/event-stream": {"schema": EVENT_SCHEMA}},
    }
}
KEPT = (
    "Events are kept for an hour after the last one; later the text comes in one `delta`, and who had more "
    "than the first event gets only the last one: the message itself is kept."
)


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
    runs = await conversations.delete_conversation(
        resources.database, user.user_id, conversation_id, check=if_match(request, _tag)
    )
    await forget_conversation(resources, user.user_id, runs)


@router.post(
    "/conversations/{conversation_id}/messages",
    status_code=200,
    summary="Ask a question",
    description=EVENTS,
    response_class=StreamResponse,
    responses={
        **EVENT_STREAM,
        **problem_responses(Unauthenticated, NotFound, InvalidInput, ContentRefused, EngineFailed),
    },
)
async def send_message(
    conversation_id: UUID,
    body: NewMessage,
    user: CurrentUser,
    resources: ResourcesDep,
    request_id: RequestId,
    key: QuestionKey = None,
) -> StreamResponse:
    """Ask a question and stream its answer; errors before the first event are ordinary problems."""
    question = body.question(conversation_id)
    run = await start_run(resources, user.user_id, question, request_id=request_id, key=key)
    left = run.stop if body.on_disconnect == "cancel" else None
    return _stream(run.entries, resources, left=left, run_id=run.run_id)


@router.get(
    "/conversations/{conversation_id}/runs",
    summary="List the runs of a conversation",
    response_model=Listing[RunView],
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput),
)
async def list_conversation_runs(
    conversation_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUser,
    resources: ResourcesDep,
    page: PageDep,
) -> dict[str, Any]:
    """List runs, newest first: one a question."""
    rows = await list_runs(resources, user.user_id, conversation_id, limit=page.fetch, after=page.after)
    return listing(request, response, page, rows, view=RunView.of, position=_begun)


@router.get(
    "/runs/{run_id}",
    summary="Show a run",
    responses={**NOT_MODIFIED, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def show_run(
    run_id: UUID, request: Request, response: Response, user: CurrentUser, resources: ResourcesDep
) -> RunView:
    """Show how far an answer is, or how it ended."""
    run = await get_run(resources, user.user_id, run_id)
    show(request, response, tag_of(run.updated_at))
    return RunView.of(run)


@router.get(
    "/runs/{run_id}/events",
    status_code=200,
    summary="Follow a run",
    description="Follow an answer from its beginning, or from behind `Last-Event-ID`, on any server. " + KEPT,
    response_class=StreamResponse,
    responses={**EVENT_STREAM, **problem_responses(Unauthenticated, NotFound, InvalidInput)},
)
async def follow_events(
    run_id: UUID,
    user: CurrentUser,
    resources: ResourcesDep,
    last_event_id: Annotated[int, Header(ge=0, description="The `id` of the last event one has.")] = 0,
) -> StreamResponse:
    """Stream the events of a run; errors before the first event are ordinary problems."""
    return _stream(follow_run(resources, user.user_id, run_id, after=last_event_id), resources, run_id=run_id)


@router.post(
    "/runs/{run_id}/cancel",
    summary="Stop a run",
    responses=problem_responses(Unauthenticated, NotFound, InvalidInput),
)
async def cancel_run(run_id: UUID, user: CurrentUser, resources: ResourcesDep) -> RunView:
    """Stop an answer that is being written and keep what there is of it; one that has ended is shown as it
    is."""
    return RunView.of(await stop_run(resources, user.user_id, run_id))


def _stream(
    entries: AsyncGenerator[Entry, None],
    resources: Resources,
    *,
    run_id: UUID,
    left: Callable[[], None] | None = None,
) -> StreamResponse:
    frames = _frames(entries, left)
    headers = {"Content-Location": link("chat", "runs", run_id).href}
    return StreamResponse(frames, heartbeat_s=resources.settings.api.heartbeat_s, headers=headers)


async def _frames(
    entries: AsyncGenerator[Entry, None], left: Callable[[], None] | None
) -> AsyncGenerator[bytes, None]:
    """Yield frames; `left` is called when the client goes before the last one."""
    first, ended = True, False
    try:
        async with aclosing(entries):
            async for entry in entries:
                ended = entry.is_last
                frame = encode_event(entry.name, entry.data, entry.number)
                yield encode_retry() + frame if first else frame
                first = False
    finally:
        if left is not None and not ended:
            left()


def _begun(run: ChatRun) -> tuple[datetime, UUID]:
    return run.created_at, run.id


def _tag(conversation: ChatConversation) -> str:
    # Triggers touch the row with each message, so that its tag stands for the messages as well.
    return tag_of(conversation.updated_at)


def _last_active(conversation: ChatConversation) -> tuple[datetime, UUID]:
    return conversation.last_message_at, conversation.id


def _said(message: ChatMessage) -> tuple[datetime, UUID]:
    return message.created_at, message.id
