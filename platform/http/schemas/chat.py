"""Conversations, messages, and the events of an answer."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from little_monster.db.models.chat_conversations import ChatConversation, ContextType
from little_monster.db.models.chat_messages import ChatMessage, MessageRole, MessageStatus
from little_monster.db.models.chat_runs import ChatRun, RunStatus
from little_monster.platform.http.links import Links, link
from little_monster.platform.http.schemas.documents import MAX_DOCUMENT_IDS
from little_monster.platform.http.schemas.texts import Body, Changes, optional, without_nul
from little_monster.platform.services.chat.question import Question

Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(without_nul),
]
Content = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(without_nul)]


class NewConversation(Body):
    """A conversation to begin."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Photosynthesis", "context_type": "document"}]}
    )

    title: Title | None = Field(None, description="Empty: made from the first question.")
    context_type: ContextType = ContextType.GENERAL


class ConversationChange(Changes):
    """What to change of a conversation."""

    model_config = ConfigDict(
        json_schema_extra={"minProperties": 1, "examples": [{"title": "Cells and energy"}]}
    )

    title: Title = optional()


class NewMessage(Body):
    """A question to ask."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"content": "Where do the light-dependent reactions take place?"}]}
    )

    content: Content = Field(description="The question; `LM_API__MAX_QUESTION_CHARS` characters at most.")
    document_ids: list[UUID] = Field(
        [], max_length=MAX_DOCUMENT_IDS, description="Answer from these documents; empty: from all."
    )
    model: str | None = Field(
        None, max_length=200, description="One of `/v1/models`; empty: the default one."
    )

    on_disconnect: Literal["continue", "cancel"] = Field(
        "continue", description="Whether the answer goes on when the client goes away before its end."
    )

    def question(self, conversation_id: UUID) -> Question:
        """Return what the service takes."""
        return Question(conversation_id, self.content, tuple(dict.fromkeys(self.document_ids)), self.model)


class ConversationView(BaseModel):
    """A conversation."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    title: str
    context_type: ContextType
    metadata: dict[str, Any] = Field(description="What is known of it besides.")
    message_count: int
    last_message_at: datetime
    created_at: datetime
    updated_at: datetime
    links: Links = Field(alias="_links")

    @classmethod
    def of(cls, conversation: ChatConversation) -> "ConversationView":
        """Show a row."""
        return cls(
            id=conversation.id,
            title=conversation.title,
            context_type=conversation.context_type,
            metadata=conversation.metadata_,
            message_count=conversation.message_count,
            last_message_at=conversation.last_message_at,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
            links={
                "self": link("chat", "conversations", conversation.id),
                "messages": link("chat", "conversations", conversation.id, "messages"),
            },
        )


class QuoteView(BaseModel):
    """Exact words of a source and the sentence of the answer that rests on them.

    `start` and `end` are characters of the document's extracted text, `answer_start` and `answer_end` of
    the message.
    """

    quote: str
    start: int
    end: int
    answer_start: int
    answer_end: int


class SourceView(BaseModel):
    """A passage that the model was given, as it was then; `citations` is what the answer takes from it."""

    number: int
    chunk_id: UUID
    document_id: UUID
    title: str
    page: int | None
    headings: list[str]
    content: str
    score: float
    citations: list[QuoteView]


class MessageView(BaseModel):
    """A message. `interrupted` and `failed` answers hold the text that came before."""

    id: UUID
    role: MessageRole
    content: str
    status: MessageStatus
    token_count: int | None
    sources: list[SourceView]
    created_at: datetime

    @classmethod
    def of(cls, message: ChatMessage) -> "MessageView":
        """Show a row."""
        return cls(
            id=message.id,
            role=message.role,
            content=message.content,
            status=message.status,
            token_count=message.token_count,
            sources=[SourceView.model_validate(source) for source in message.sources],
            created_at=message.created_at,
        )


class RunFailure(BaseModel):
    """What broke a run off."""

    code: str = Field(description="For programs; does not change.", examples=["engine_failed"])
    title: str
    status: int = Field(description="What a request would have been answered with.")
    detail: str = Field(description="For people.")


class RunView(BaseModel):
    """The making of an answer. `interrupted` and `cancelled` ones keep the text that came before."""

    id: UUID
    conversation_id: UUID
    user_message_id: UUID = Field(description="The question.")
    assistant_message_id: UUID = Field(description="The answer; there when the run has ended.")
    model: str
    status: RunStatus
    error: RunFailure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: Links = Field(serialization_alias="_links")

    @classmethod
    def of(cls, run: ChatRun) -> "RunView":
        """Show a row."""
        return cls(
            id=run.id,
            conversation_id=run.conversation_id,
            user_message_id=run.user_message_id,
            assistant_message_id=run.assistant_message_id,
            model=run.model,
            status=run.status,
            error=RunFailure(**run.error) if run.error else None,
            created_at=run.created_at,
            started_at=run.started_at,
            finished_at=run.finished_at,
            links={
                "self": link("chat", "runs", run.id),
                "events": link("chat", "runs", run.id, "events"),
                "cancel": link("chat", "runs", run.id, "cancel"),
                "conversation": link("chat", "conversations", run.conversation_id),
            },
        )


class TranscriptView(ConversationView):
    """A conversation with its last messages, the oldest of them first; `next_cursor` leads to earlier
    ones."""

    messages: list[MessageView]
    next_cursor: str | None = Field(
        description="Pass it as `cursor` to get earlier messages; null: there are none."
    )
