import asyncio
from datetime import timedelta

import pytest

from little_monster.db.models import ChatConversation, ContextType, MessageRole, MessageStatus
from little_monster.db.repositories import chat_conversations, chat_messages


@pytest.fixture
def new_conversation(database, user_id):
    async def make(title: str = "Light") -> ChatConversation:
        async with database.session(user_id) as session:
            return await chat_conversations.create(session, user_id=user_id, title=title)

    return make


@pytest.fixture
def say(database, user_id):
    async def add(conversation, content, role=MessageRole.USER, **values):
        async with database.session(user_id) as session:
            return await chat_messages.add(
                session,
                user_id=user_id,
                conversation_id=conversation.id,
                role=role,
                content=content,
                **values,
            )

    return add


async def test_a_new_conversation_is_empty(new_conversation):
    conversation = await new_conversation()
    assert (conversation.message_count, conversation.context_type) == (0, ContextType.GENERAL)
    assert conversation.last_message_at == conversation.created_at


async def test_messages_are_counted_and_move_the_conversation_up(database, user_id, new_conversation, say):
    first, second = await new_conversation("first"), await new_conversation("second")
    message = await say(first, "Why?")
    async with database.session(user_id) as session:
        listed = await chat_conversations.list(session, limit=5)
    assert [row.id for row in listed] == [first.id, second.id]
    assert (listed[0].message_count, listed[0].last_message_at) == (1, message.created_at)


async def test_conversations_in_pages(database, user_id, new_conversation):
    made = [await new_conversation(f"{i}") for i in range(3)]
    async with database.session(user_id) as session:
        first = await chat_conversations.list(session, limit=2)
        rest = await chat_conversations.list(session, limit=2, after=chat_conversations.key(first[-1]))
    assert [row.id for row in first + rest] == [row.id for row in reversed(made)]


async def test_question_and_answer_of_one_transaction_keep_their_order(database, user_id, new_conversation):
    conversation = await new_conversation()
    async with database.session(user_id) as session:
        for role, content in ((MessageRole.USER, "Why?"), (MessageRole.ASSISTANT, "So.")):
            await chat_messages.add(
                session, user_id=user_id, conversation_id=conversation.id, role=role, content=content
            )
    async with database.session(user_id) as session:
        recent = await chat_messages.recent(session, conversation.id, 5)
        newest = await chat_messages.list(session, conversation.id, limit=1)
        older = await chat_messages.list(
            session, conversation.id, limit=5, after=chat_messages.key(newest[-1])
        )
    assert [row.content for row in recent] == ["Why?", "So."]
    assert [row.content for row in newest + older] == ["So.", "Why?"]


async def test_recent_are_the_last_ones_as_they_were_said(database, user_id, new_conversation, say):
    conversation = await new_conversation()
    for i in range(4):
        await say(conversation, f"{i}")
    async with database.session(user_id) as session:
        assert [row.content for row in await chat_messages.recent(session, conversation.id, 2)] == ["2", "3"]


async def test_an_answer_keeps_its_sources_and_its_state(database, user_id, new_conversation, say):
    sources = [{"document_id": "d", "page": 3, "quote": 'a "quote", {braces}'}, {"page": None}]
    message = await say(
        await new_conversation(),
        "Because",
        MessageRole.ASSISTANT,
        sources=sources,
        token_count=7,
        status=MessageStatus.INTERRUPTED,
    )
    async with database.session(user_id) as session:
        found = await chat_messages.get(session, message.id)
    assert (found.sources, found.token_count, found.status) == (sources, 7, MessageStatus.INTERRUPTED)


async def test_messages_at_once_are_all_counted(database, user_id, new_conversation, say):
    conversation = await new_conversation()
    await asyncio.gather(*(say(conversation, f"{i}") for i in range(20)))
    async with database.session(user_id) as session:
        assert (await chat_conversations.get(session, conversation.id)).message_count == 20


async def test_rename_and_delete(database, user_id, new_user, new_conversation, say):
    conversation = await new_conversation()
    message = await say(conversation, "Why?")
    async with database.session(await new_user()) as session:
        assert not await chat_conversations.rename(session, conversation.id, "Mine")
        assert not await chat_conversations.delete(session, conversation.id)
        assert await chat_conversations.get(session, conversation.id) is None
        assert await chat_messages.list(session, conversation.id, limit=5) == []
    async with database.session(user_id) as session:
        assert await chat_conversations.rename(session, conversation.id, "Shadow")
    async with database.session(user_id) as session:
        assert (await chat_conversations.get(session, conversation.id)).title == "Shadow"
    async with database.session(user_id) as session:
        assert await chat_conversations.delete(session, conversation.id)
        assert await chat_messages.get(session, message.id) is None


async def test_a_fresh_message_was_not_changed_before_it_was_made(new_conversation, say):
    message = await say(await new_conversation(), "Why?")
    assert timedelta() <= message.updated_at - message.created_at < timedelta(seconds=1)
