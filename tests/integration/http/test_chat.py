"""The chat over HTTP: streamed, cited answers, and all the ways on which one can end early."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.repositories import chat_conversations
from little_monster.db.vectors.edge import EdgeIndex
from little_monster.platform.engines.fakes import (
    DIMENSION,
    FakeChatModel,
    FakeEmbedder,
    FakeModerator,
    FakeRetriever,
)
from little_monster.platform.errors import EngineFailed, InvalidInput, Unavailable
from little_monster.platform.settings import Settings
from tests.fixtures.library import Library
from tests.fixtures.servers import serve_here

CONVERSATIONS = "/api/v1/chat/conversations"
TEXT = (
    "Chapter one is about cells.\n\nMitochondria release energy from glucose. They have two membranes.\n\n"
    "Chlorophyll absorbs red and blue light. Plants look green because green light is reflected."
)
ANSWER = (
    "Mitochondria release energy from glucose. [2] Bananas are a popular fruit in many countries. "
    "Chlorophyll absorbs red and blue light."
)

Running = Callable[..., AbstractAsyncContextManager[FastAPI]]


@dataclass(frozen=True)
class Event:
    id: int
    name: str
    data: dict[str, Any]


def parse(stream: str) -> list[Event]:
    events = []
    for block in stream.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith((":", "retry")))
        if lines:
            events.append(Event(int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return events


@dataclass(frozen=True)
class Chat:
    """An application, the engines behind it, and one user of it."""

    app: FastAPI
    client: httpx.AsyncClient
    library: Library
    models: dict[str, FakeChatModel]
    account: Any

    @property
    def headers(self) -> dict[str, str]:
        headers: dict[str, str] = self.account.headers
        return headers

    @property
    def owner(self) -> UUID:
        return UUID(self.account.user["id"])

    async def begin(self, **body: Any) -> str:
        response = await self.client.post(CONVERSATIONS, json=body, headers=self.headers)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def ask(self, conversation: str, content: str, **more: Any) -> httpx.Response:
        return await self.client.post(
            f"{CONVERSATIONS}/{conversation}/messages",
            json={"content": content, **more},
            headers=self.headers,
        )

    async def read(self, conversation: str) -> dict[str, Any]:
        response = await self.client.get(f"{CONVERSATIONS}/{conversation}", headers=self.headers)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def last_message(self, conversation: str, *, role: str = "assistant") -> dict[str, Any]:
        """Wait until the last message is of this role: it is stored after a client went away."""
        for _ in range(200):
            messages = (await self.read(conversation))["messages"]
            if messages and messages[-1]["role"] == role:
                message: dict[str, Any] = messages[-1]
                return message
            await asyncio.sleep(0.02)
        pytest.fail("no answer was stored")


@pytest.fixture
async def chat(
    settings: Settings,
    running: Running,
    client_of: Callable[..., httpx.AsyncClient],
    database: Any,
    register: Callable[[], Awaitable[Any]],
    tmp_path: Path,
) -> AsyncIterator[Chat]:
    index, embedder = EdgeIndex(tmp_path, "passages", DIMENSION), FakeEmbedder()
    library = Library(database, index, embedder)
    models = {
        "tutor": FakeChatModel(ANSWER),
        "slow": FakeChatModel(ANSWER * 50, delay_s=0.02),
        "paused": FakeChatModel("One two.", delay_s=0.3),
        "refusing": FakeChatModel(refuses=InvalidInput("The prompt is too long.", code="invalid_request")),
        "failing": FakeChatModel("Half an", fails=EngineFailed("The model failed.")),
        "crashing": FakeChatModel("Half an", fails=RuntimeError("secret")),
    }
    quick = settings.model_copy(update={"api": settings.api.model_copy(update={"heartbeat_s": 0.1})})
    parts = {"index": index, "embedder": embedder, "retriever": library, "moderator": FakeModerator("bomb")}
    async with running(quick, chat_models=models, **parts) as app, client_of(app) as client:
        yield Chat(app, client, library, models, await register())
    await index.close()


async def test_an_answer_streams_with_sources_and_exact_citations(chat: Chat) -> None:
    document_id = await chat.library.add(chat.owner, "Biology", TEXT, page=12)
    conversation = await chat.begin()
    response = await chat.ask(conversation, "What do mitochondria and chlorophyll do?")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("retry: ")
    events = parse(response.text)
    names = [event.name for event in events]
    assert names[:2] == ["run.started", "sources"]
    assert names[-3:] == ["usage", "message.completed", "done"]
    assert set(names[2:-3]) == {"delta", "citation"}
    assert [event.id for event in events] == list(range(1, len(events) + 1))

    sources = events[1].data["sources"]
    assert [one["number"] for one in sources] == [1, 2, 3]
    assert {one["document_id"] for one in sources} == {str(document_id)}
    text = "".join(event.data["text"] for event in events if event.name == "delta")
    assert text == ANSWER
    citations = [event.data for event in events if event.name == "citation"]
    assert [one["quote"] for one in citations] == [
        "Mitochondria release energy from glucose.",
        "Chlorophyll absorbs red and blue light.",
    ]
    for one in citations:
        assert TEXT[one["start"] : one["end"]] == one["quote"]
        assert one["quote"] in text[one["answer_start"] : one["answer_end"]]
        assert (one["document_id"], one["title"], one["page"]) == (str(document_id), "Biology", 12)

    usage = events[-3].data
    assert usage["completion_tokens"] == len(chat.models["tutor"].words)
    assert usage["time_to_first_token_ms"] > 0
    assert events[-2].data == {"message_id": events[0].data["assistant_message_id"], "finish_reason": "stop"}
    assert events[-1].data == {"run_id": events[0].data["run_id"], "status": "completed"}


async def test_question_and_answer_are_stored_with_the_sources_as_they_were(chat: Chat) -> None:
    await chat.library.add(chat.owner, "Biology", TEXT)
    conversation = await chat.begin()
    events = parse((await chat.ask(conversation, "What do mitochondria do?")).text)
    shown = await chat.read(conversation)
    question, answer = shown["messages"]
    assert (shown["title"], shown["message_count"]) == ("What do mitochondria do?", 2)
    assert (question["id"], question["role"]) == (events[0].data["user_message_id"], "user")
    assert (answer["id"], answer["status"]) == (events[0].data["assistant_message_id"], "completed")
    assert answer["content"] == ANSWER
    assert answer["token_count"] == len(chat.models["tutor"].words)
    streamed = [event.data for event in events if event.name == "citation"]
    stored = [{"number": one["number"], **quote} for one in answer["sources"] for quote in one["citations"]]
    names = ("number", "quote", "start", "end", "answer_start", "answer_end")
    key = {name: name for name in names}
    assert sorted(stored, key=str) == sorted(({name: one[name] for name in key} for one in streamed), key=str)


async def test_a_prompt_holds_passages_and_history(chat: Chat) -> None:
    await chat.library.add(chat.owner, "Biology", TEXT)
    conversation = await chat.begin(title="Mine")
    await chat.ask(conversation, "What do mitochondria do?")
    await chat.ask(conversation, "And chlorophyll?")
    request = chat.models["tutor"].requests[-1]
    roles = [message["role"] for message in request.body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert request.body["messages"][1]["content"] == "What do mitochondria do?"
    assert '<passage number="1" title="Biology"' in request.body["messages"][-1]["content"]
    assert request.body["stream_options"] == {"include_usage": True}
    assert (await chat.read(conversation))["title"] == "Mine"


async def test_without_passages_the_prompt_says_so_and_nothing_is_cited(chat: Chat) -> None:
    events = parse((await chat.ask(await chat.begin(), "What do mitochondria do?")).text)
    assert events[1].data == {"sources": []}
    assert "citation" not in {event.name for event in events}
    assert "do not cover" in chat.models["tutor"].requests[-1].body["messages"][-1]["content"]


async def test_documents_narrow_the_sources(chat: Chat) -> None:
    await chat.library.add(chat.owner, "Biology", TEXT)
    other = await chat.library.add(chat.owner, "Other", "Mitochondria again.")
    response = await chat.ask(await chat.begin(), "What do mitochondria do?", document_ids=[str(other)])
    assert {one["title"] for one in parse(response.text)[1].data["sources"]} == {"Other"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"content": "How do I build a bomb?"}, 422, "content_refused"),
        ({"content": "x" * 8001}, 422, "question_too_long"),
        ({"content": " "}, 422, "invalid_input"),
        ({"content": "a\x00b"}, 422, "invalid_input"),
        ({"content": "hi", "unknown": 1}, 422, "invalid_input"),
        ({}, 422, "invalid_input"),
        ({"content": "hi", "model": "unknown"}, 404, "model_not_found"),
        ({"content": "hi", "document_ids": [str(uuid4())]}, 404, "document_not_found"),
        ({"content": "x" * 2**20}, 413, "too_large"),
    ],
)
async def test_a_bad_question_is_an_ordinary_problem_and_leaves_nothing(
    chat: Chat, body: Any, status: int, code: str
) -> None:
    conversation = await chat.begin()
    path = f"{CONVERSATIONS}/{conversation}/messages"
    response = await chat.client.post(path, json=body, headers=chat.headers)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    shown = await chat.read(conversation)
    assert (shown["messages"], shown["title"]) == ([], "")


async def test_malformed_json_is_a_bad_request(chat: Chat) -> None:
    path = f"{CONVERSATIONS}/{await chat.begin()}/messages"
    headers = {**chat.headers, "Content-Type": "application/json"}
    response = await chat.client.post(path, content=b'{"content": ', headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("model", "code", "content"),
    [
        ("failing", "engine_failed", "Half an"),
        ("crashing", "internal_error", "Half an"),
        ("refusing", "invalid_request", ""),
    ],
)
async def test_an_engine_that_fails_ends_the_stream_with_an_error(
    chat: Chat, model: str, code: str, content: str
) -> None:
    conversation = await chat.begin()
    response = await chat.ask(conversation, "What is a cell?", model=model)
    events = parse(response.text)
    assert [event.name for event in events if event.name in ("done", "error")] == ["error"]
    assert events[-1].data["code"] == code
    assert events[-1].data["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    answer = await chat.last_message(conversation)
    assert (answer["status"], answer["content"]) == ("failed", content)
    await chat.ask(conversation, "And now?")
    assert len(chat.models["tutor"].requests[-1].body["messages"]) == 2


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("bug")])
async def test_retrieval_that_fails_is_a_problem_before_the_stream(
    settings: Settings,
    running: Running,
    client_of: Callable[..., httpx.AsyncClient],
    account: Any,
    error: Exception,
) -> None:
    async with running(settings, retriever=FakeRetriever(error=error)) as app, client_of(app) as client:
        begun = await client.post(CONVERSATIONS, json={}, headers=account.headers)
        path = begun.json()["_links"]["messages"]["href"]
        response = await client.post(path, json={"content": "hi"}, headers=account.headers)
        assert response.status_code == (503 if isinstance(error, Unavailable) else 500)
        shown = await client.get(begun.headers["location"], headers=account.headers)
        assert shown.json()["messages"] == []


async def test_a_client_that_goes_stops_the_engine_and_keeps_the_partial_answer(chat: Chat) -> None:
    await chat.library.add(chat.owner, "Biology", TEXT)
    conversation = await chat.begin()
    path, body = (
        f"{CONVERSATIONS}/{conversation}/messages",
        {"content": "Tell me about cells.", "model": "slow", "on_disconnect": "cancel"},
    )
    received = ""
    async with serve_here(chat.app) as url, httpx.AsyncClient(base_url=url) as client:
        async with client.stream("POST", path, json=body, headers=chat.headers) as response:
            async for part in response.aiter_text():
                received += part
                if received.count("event: delta") >= 10:
                    break
        answer = await chat.last_message(conversation)
    assert chat.models["slow"].closed == 1
    assert answer["status"] == "interrupted"
    seen = "".join(
        event.data["text"] for event in parse(received[: received.rindex("\n\n")]) if event.name == "delta"
    )
    assert answer["content"].startswith(seen)
    assert len(answer["content"]) < len(ANSWER * 50) / 2
    assert answer["sources"][0]["content"]
    # What was interrupted is still part of the conversation.
    await chat.ask(conversation, "Go on.")
    assert len(chat.models["tutor"].requests[-1].body["messages"]) == 4


async def test_heartbeats_are_sent_while_the_engine_is_silent(chat: Chat) -> None:
    response = await chat.ask(await chat.begin(), "What is a cell?", model="paused")
    assert response.text.count(": keep-alive\n\n") >= 3
    assert parse(response.text)[-1].name == "done"


async def test_no_connection_is_held_while_an_answer_streams(
    settings: Settings,
    running: Running,
    client_of: Callable[..., httpx.AsyncClient],
    account: Any,
) -> None:
    one = settings.database.model_copy(update={"pool_size": 1, "pool_timeout_s": 1.0})
    models = {"slow": FakeChatModel("word " * 20, delay_s=0.05)}
    async with (
        running(settings.model_copy(update={"database": one}), chat_models=models) as app,
        client_of(app) as client,
    ):
        begun = await client.post(CONVERSATIONS, json={}, headers=account.headers)
        path = begun.json()["_links"]["messages"]["href"]
        asked = [client.post(path, json={"content": "hi"}, headers=account.headers) for _ in range(5)]
        streams = asyncio.gather(*asked)
        await asyncio.sleep(0.4)
        assert not streams.done()
        listed = await client.get(CONVERSATIONS, headers=account.headers)
        assert listed.status_code == 200
        assert all(parse(one.text)[-1].name == "done" for one in await streams)


async def _messages_in(chat: Chat, conversation: str) -> int:
    async with chat.library.database.session(chat.owner) as session:
        row = await chat_conversations.get(session, UUID(conversation))
    assert row is not None
    return row.message_count


async def test_a_conversation_deleted_meanwhile_ends_its_answer_with_an_error(chat: Chat) -> None:
    conversation = await chat.begin()
    asked = asyncio.create_task(chat.ask(conversation, "What is a cell?", model="paused"))
    while not await _messages_in(chat, conversation):  # noqa: ASYNC110 - rows have no event
        await asyncio.sleep(0.01)
    async with chat.library.database.session(chat.owner) as session:
        assert await chat_conversations.delete(session, UUID(conversation))
    events = parse((await asked).text)
    assert (events[-1].name, events[-1].data["code"]) == ("error", "conversation_not_found")


async def test_conversations_are_listed_by_activity_and_deleted(chat: Chat) -> None:
    first = await chat.begin(title="First", context_type="document")
    second = await chat.begin(title="Second")
    await chat.ask(first, "What is a cell?")
    page = (await chat.client.get(f"{CONVERSATIONS}?limit=1", headers=chat.headers)).json()
    rest = (await chat.client.get(page["_links"]["next"]["href"], headers=chat.headers)).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == [first, second]
    assert page["items"][0]["context_type"] == "document"
    path = f"{CONVERSATIONS}/{first}"
    assert (await chat.client.delete(path, headers=chat.headers)).status_code == 204
    assert (await chat.client.delete(path, headers=chat.headers)).status_code == 404
    assert (await chat.client.get(path, headers=chat.headers)).status_code == 404


async def test_a_conversation_shows_when_it_changed_and_what_is_known_of_it(
    chat: Chat, database: Any
) -> None:
    user_id = UUID(chat.account.user["id"])
    async with database.session(user_id) as session:
        made = await chat_conversations.create(
            session, user_id=user_id, title="Cells", metadata={"video": "cells"}
        )
    shown = (await chat.client.get(f"{CONVERSATIONS}/{made.id}", headers=chat.account.headers)).json()
    assert (shown["metadata"], shown["updated_at"]) == ({"video": "cells"}, shown["created_at"])
    (listed,) = (await chat.client.get(CONVERSATIONS, headers=chat.account.headers)).json()["items"]
    assert listed["metadata"] == {"video": "cells"}


async def test_messages_come_in_pages_the_latest_first_each_in_order(chat: Chat) -> None:
    conversation = await chat.begin()
    for question in ("One?", "Two?"):
        await chat.ask(conversation, question)
    path = f"{CONVERSATIONS}/{conversation}?limit=3"
    page = (await chat.client.get(path, headers=chat.headers)).json()
    assert [one["content"] for one in page["messages"]] == [ANSWER, "Two?", ANSWER]
    rest = (await chat.client.get(page["_links"]["next"]["href"], headers=chat.headers)).json()
    assert [one["content"] for one in rest["messages"]] == ["One?"]
    assert rest["next_cursor"] is None


async def test_anothers_conversation_and_documents_look_like_missing_ones(
    chat: Chat, register: Callable[[], Awaitable[Any]]
) -> None:
    conversation = await chat.begin()
    bob = await register()
    path = f"{CONVERSATIONS}/{conversation}"
    answers = [
        await chat.client.get(path, headers=bob.headers),
        await chat.client.delete(path, headers=bob.headers),
        await chat.client.post(f"{path}/messages", json={"content": "hi"}, headers=bob.headers),
    ]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(404, "conversation_not_found")] * 3
    theirs = await chat.library.add(UUID(bob.user["id"]), "Bob's", TEXT)
    response = await chat.ask(conversation, "hi", document_ids=[str(theirs)])
    assert (response.status_code, response.json()["code"]) == (404, "document_not_found")
    assert (await chat.read(conversation))["messages"] == []


async def test_beginning_twice_with_one_key_is_one_conversation(chat: Chat) -> None:
    headers = {**chat.headers, "Idempotency-Key": uuid4().hex}
    answers = [await chat.client.post(CONVERSATIONS, json={"title": "A"}, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["location"] == answers[1].headers["location"]
