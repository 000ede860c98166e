"""A question on its way to the model: what it needs is loaded, it is moderated, searched for and stored."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from little_monster.db.models.chat_messages import ChatMessage, MessageRole, MessageStatus
from little_monster.db.repositories import chat_conversations, chat_messages, chat_runs
from little_monster.platform.engines.protocols import Moderator, Passage
from little_monster.platform.errors import ContentRefused, InvalidInput
from little_monster.platform.resources import Resources
from little_monster.platform.services.chat.conversations import no_conversation
from little_monster.platform.services.chat.prompt import Turn, estimate_tokens
from little_monster.platform.services.chat.record import RunHandle
from little_monster.platform.services.chat.titles import make_title
from little_monster.platform.services.documents import require_documents


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked in a conversation.

    `document_ids` narrows the search, empty: all documents of the user. `model` None: the default one.
    """

    conversation_id: UUID
    content: str
    document_ids: tuple[UUID, ...] = ()
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Background:
    """What the conversation already holds: its title, empty before the first question, and its turns."""

    title: str
    turns: list[Turn]


def check_length(content: str, max_chars: int) -> None:
    """Return when the question is not too long.

    Raises:
        InvalidInput: `question_too_long`.
    """
    if len(content) > max_chars:
        raise InvalidInput(
            f"The question has more than {max_chars} characters.",
            code="question_too_long",
            errors=[{"field": "body.content", "message": f"at most {max_chars} characters"}],
        )


async def load_background(resources: Resources, owner: UUID, question: Question) -> Background:
    """Return what went before.

    Raises:
        NotFound: the conversation or one of the documents is missing, or somebody else's.
    """
    limit = resources.settings.chat.history_messages
    async with resources.database.session(owner) as session:
        conversation = await chat_conversations.get(session, question.conversation_id)
        if conversation is None:
            raise no_conversation()
        await require_documents(session, question.document_ids)
        messages = await chat_messages.recent(session, conversation.id, limit) if limit else []
    return Background(conversation.title, pair_turns(messages))


def pair_turns(messages: Sequence[ChatMessage]) -> list[Turn]:
    """Return the questions that were answered, with their answers: chat templates want speakers to
    alternate."""
    return [
        Turn(question.content, answer.content)
        for question, answer in pairwise(messages)
        if question.role == MessageRole.USER
        and answer.role == MessageRole.ASSISTANT
        and answer.status != MessageStatus.FAILED
        and answer.content
    ]


async def moderate_and_search(resources: Resources, owner: UUID, question: Question) -> list[Passage]:
    """Do both at once, as the first token waits for both; a refusal counts more than what the search says.

    Raises:
        ContentRefused: moderation refuses the question.
        Unavailable: one of them does not answer.
    """
    limit = resources.settings.chat.passages
    refused, found = await asyncio.gather(
        refuse_harm(resources.moderator, question.content),
        resources.retriever.search(owner, question.content, limit=limit, document_ids=question.document_ids),
        return_exceptions=True,
    )
    if isinstance(refused, BaseException):
        raise refused
    if isinstance(found, BaseException):
        raise found
    return found


async def refuse_harm(moderator: Moderator, text: str) -> None:
    """Return when moderation lets the text pass.

    Raises:
        ContentRefused: it does not; `errors` names the categories.
    """
    [result] = await moderator.classify([text])
    if result.flagged:
        raise ContentRefused(
            "Moderation refused this question.",
            errors=[{"field": "body.content", "message": category} for category in result.categories],
        )


async def store_question(
    resources: Resources,
    owner: UUID,
    question: Question,
    background: Background,
    *,
    run: RunHandle,
    model: str,
) -> UUID:
    """Store the question and its run before the answer begins, and return the question's id; the first one
    names the conversation.

    Raises:
        NotFound: the conversation was deleted since it was loaded.
        DuplicateKey: another run has this key.
    """
    async with resources.database.session(owner) as session:
        if await chat_conversations.get(session, question.conversation_id) is None:
            raise no_conversation()
        if not background.title:
            await chat_conversations.rename(session, question.conversation_id, make_title(question.content))
        message = await chat_messages.add(
            session,
            user_id=owner,
            conversation_id=question.conversation_id,
            role=MessageRole.USER,
            content=question.content,
            token_count=estimate_tokens(question.content),
        )
        await chat_runs.create(
            session,
            run_id=run.run_id,
            user_id=owner,
            conversation_id=question.conversation_id,
            user_message_id=message.id,
            assistant_message_id=run.message_id,
            model=model,
            idempotency_key=run.idempotency_key,
        )
    return message.id
