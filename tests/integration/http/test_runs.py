"""Runs over HTTP: answers that outlive their requests, followed by several replicas, stopped, and lost."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from little_monster.db.models.chat_runs import RunStatus
from little_monster.db.repositories import chat_runs
from little_monster.platform.engines.fakes import FakeChatModel
from little_monster.platform.errors import EngineFailed
from little_monster.platform.services.chat import runs
from little_monster.platform.services.chat.events import RunStarted, encode
from little_monster.platform.services.chat.question import Background, Question, store_question
from little_monster.platform.services.chat.record import RunHandle
from little_monster.platform.services.chat.run_log import ALIVE, LOST_S, Entry, RunLog
from little_monster.platform.services.chat.runs import end_lost_run
from little_monster.platform.settings import RedisSettings, Settings
from tests.fixtures.servers import serve_here
from tests.fixtures.watch import PASSWORD
from tests.integration.http.test_chat import parse

CONVERSATIONS, RUNS = "/api/v1/chat/conversations", "/api/v1/chat/runs"
TEXT = "".join(f"Sentence {number} is about cells. " for number in range(60))

Running = Callable[..., AbstractAsyncContextManager[FastAPI]]


@dataclass(frozen=True)
class Replicas:
    """Two applications over the same database and Redis, one user, and the models of the first."""

    urls: list[str]
    apps: list[FastAPI]
    models: dict[str, FakeChatModel]
    headers: dict[str, str]
    owner: UUID

    def client(self, number: int = 0) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.urls[number], headers=self.headers, timeout=30)

    async def begin(self) -> str:
        async with self.client() as client:
            return str((await client.post(CONVERSATIONS, json={})).json()["id"])

    async def start(self, model: str = "slow", **more: Any) -> tuple[str, str, str]:
        """Ask, leave after some events, and return the conversation, the run and what was received."""
        conversation, received = await self.begin(), ""
        body = {"content": "What is a cell?", "model": model, **more}
        async with (
            self.client() as client,
            client.stream("POST", f"{CONVERSATIONS}/{conversation}/messages", json=body) as response,
        ):
            run_id = response.headers["content-location"].rpartition("/")[2]
            async for part in response.aiter_text():
                received += part
                if received.count("event: delta") >= 3:
                    break
        return conversation, run_id, received[: received.rindex("\n\n")]

    async def run(self, run_id: str, number: int = 1) -> dict[str, Any]:
        async with self.client(number) as client:
            response = await client.get(f"{RUNS}/{run_id}")
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def events(self, run_id: str, *, after: int = 0, number: int = 1) -> list[Any]:
        async with self.client(number) as client:
            headers = {"Last-Event-ID": str(after)}
            response = await client.get(f"{RUNS}/{run_id}/events", headers=headers)
        assert response.status_code == 200, response.text
        return parse(response.text)

    async def until_written(self, run_id: str) -> None:
        """Return when nothing more is written to the log of a run."""
        redis = self.apps[0].state.resources.redis
        async with asyncio.timeout(10 * LOST_S):
            while await redis.zscore(ALIVE, f"{self.owner}:{run_id}") is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def answer(self, conversation: str) -> dict[str, Any]:
        async with self.client(1) as client:
            messages = (await client.get(f"{CONVERSATIONS}/{conversation}")).json()["messages"]
        assert [one["role"] for one in messages] == ["user", "assistant"]
        answer: dict[str, Any] = messages[-1]
        return answer


@pytest.fixture
async def replicas(settings: Settings, running: Running, account: Any) -> AsyncIterator[Replicas]:
    models = {
        "tutor": FakeChatModel(TEXT),
        "slow": FakeChatModel(TEXT, delay_s=0.02),
        "slower": FakeChatModel(TEXT, delay_s=0.1),
        "failing": FakeChatModel(TEXT, delay_s=0.001, fails=EngineFailed("The model failed.")),
    }
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(running(settings, chat_models=models)) for _ in range(2)]
        # Each serves as a process of its own would: what runs in one is not known to the other.
        urls = [await stack.enter_async_context(serve_here(app)) for app in apps]
        yield Replicas(urls, apps, models, account.headers, UUID(account.user["id"]))


def text_of(events: list[Any]) -> str:
    return "".join(one.data["text"] for one in events if one.name == "delta")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs be known by their log alone, as to another process."""

    class Nowhere(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            return None

        def __contains__(self, key: object) -> bool:
            return False

    monkeypatch.setattr(runs, "_here", Nowhere())


async def test_a_run_goes_on_when_its_client_goes(replicas: Replicas) -> None:
    conversation, run_id, received = await replicas.start()
    assert (await replicas.run(run_id))["status"] == "running"
    seen = parse(received)
    rest = await replicas.events(run_id, after=seen[-1].id)
    assert [one.id for one in seen + rest] == list(range(1, len(seen) + len(rest) + 1))
    assert text_of(seen + rest) == TEXT
    assert rest[-1].data == {"run_id": run_id, "status": "completed"}
    assert replicas.models["slow"].closed == 0
    assert (await replicas.answer(conversation))["content"] == TEXT
    assert (await replicas.run(run_id))["status"] == "completed"


@pytest.mark.usefixtures("elsewhere")
async def test_readers_that_drop_at_any_point_have_the_same_text(replicas: Replicas) -> None:
    """By the log alone, and of each replica; one answer is stored."""
    chance = random.Random(7)
    conversation, run_id, _ = await replicas.start()

    async def read() -> list[Any]:
        events: list[Any] = []
        while not events or events[-1].name != "done":
            number, received, most = chance.randrange(2), "", chance.randint(1, 400)
            after = {"Last-Event-ID": str(events[-1].id if events else 0)}
            async with (
                replicas.client(number) as client,
                client.stream("GET", f"{RUNS}/{run_id}/events", headers=after) as response,
            ):
                async for part in response.aiter_text():
                    received += part
                    if received.count("\n\n") > most:
                        break
            whole = received[: received.rindex("\n\n") + 2] if "\n\n" in received else ""
            events += parse(whole) if whole.strip() else []
        return events

    for events in await asyncio.gather(*(read() for _ in range(5))):
        assert [one.id for one in events] == list(range(1, len(events) + 1))
        assert text_of(events) == TEXT
    assert (await replicas.answer(conversation))["content"] == TEXT
    async with replicas.client() as client:
        listed = (await client.get(f"{CONVERSATIONS}/{conversation}/runs")).json()["items"]
    assert [one["id"] for one in listed] == [run_id]


@pytest.mark.parametrize("far", [False, True])
async def test_a_stopped_run_frees_the_engine_and_keeps_its_text(
    replicas: Replicas, far: bool, request: pytest.FixtureRequest
) -> None:
    conversation, run_id, received = await replicas.start("slower")
    if far:
        request.getfixturevalue("elsewhere")
    async with replicas.client(1) as client:
        stopped = await client.post(f"{RUNS}/{run_id}/cancel")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "cancelled")
    assert replicas.models["slower"].closed == 1
    events = await replicas.events(run_id)
    assert events[-1].data == {"run_id": run_id, "status": "cancelled"}
    answer = await replicas.answer(conversation)
    assert answer["status"] == "interrupted"
    assert answer["content"] == text_of(events)
    assert answer["content"].startswith(text_of(parse(received)))
    # To stop it once more changes nothing.
    async with replicas.client(1) as client:
        again = await client.post(f"{RUNS}/{run_id}/cancel")
    assert again.json() == stopped.json()


async def test_a_client_may_want_its_run_to_end_with_it(replicas: Replicas) -> None:
    _, run_id, _ = await replicas.start("slower", on_disconnect="cancel")
    events = await replicas.events(run_id)
    assert events[-1].data == {"run_id": run_id, "status": "cancelled"}
    assert replicas.models["slower"].closed == 1


async def test_a_failure_is_told_and_kept(replicas: Replicas) -> None:
    conversation, run_id, _ = await replicas.start("failing")
    events = await replicas.events(run_id)
    assert (events[-1].name, events[-1].data["code"]) == ("error", "engine_failed")
    run = await replicas.run(run_id)
    assert (run["status"], run["error"]["code"], run["error"]["status"]) == ("failed", "engine_failed", 502)
    assert (await replicas.answer(conversation))["status"] == "failed"


async def _lose_a_run(replicas: Replicas) -> tuple[str, UUID]:
    """Leave what a process leaves that is killed while it writes an answer."""
    conversation, resources, handle = await replicas.begin(), replicas.apps[0].state.resources, RunHandle()
    question = Question(UUID(conversation), "What is a cell?")
    nothing = Background("", [])
    asked = await store_question(resources, replicas.owner, question, nothing, run=handle, model="tutor")
    begun = encode(RunStarted(handle.run_id, UUID(conversation), asked, handle.message_id), "")
    source = {"number": 1, "chunk_id": str(uuid4()), "document_id": str(uuid4()), "title": "Biology"}
    source |= {"page": 1, "headings": [], "content": "Cells live.", "score": 0.5}
    quote = {"quote": "Cells live.", "start": 0, "end": 11, "answer_start": 0, "answer_end": 4}
    data = [{"sources": [source]}, {"text": "Half "}, {"number": 1, **quote}, {"text": "an answer"}]
    names = ["sources", "delta", "citation", "delta"]
    told = [(name, json.dumps(one).encode()) for name, one in zip(names, data, strict=True)]
    entries = [Entry(number, *one) for number, one in enumerate([("run.started", begun), *told], 1)]
    await RunLog(resources.redis, replicas.owner, handle.run_id).append(entries)
    return conversation, handle.run_id


async def test_the_run_of_a_killed_process_is_interrupted_with_its_text(replicas: Replicas) -> None:
    conversation, run_id = await _lose_a_run(replicas)
    events = await asyncio.wait_for(replicas.events(str(run_id)), 10 * LOST_S)
    assert [one.id for one in events] == [1, 2, 3, 4, 5, 6]
    assert (events[-1].name, events[-1].data["code"]) == ("error", "run_lost")
    answer = await replicas.answer(conversation)
    assert (answer["status"], answer["content"]) == ("interrupted", "Half an answer")
    assert [one["quote"] for one in answer["sources"][0]["citations"]] == ["Cells live."]
    assert (await replicas.run(str(run_id)))["error"]["code"] == "run_lost"


async def test_a_lost_run_ends_although_nobody_follows_it(replicas: Replicas, database: Any) -> None:
    conversation, run_id = await _lose_a_run(replicas)

    async def status() -> RunStatus:
        async with database.session(replicas.owner) as session:
            run = await chat_runs.get(session, run_id)
        assert run is not None
        status: RunStatus = run.status
        return status

    async with asyncio.timeout(10 * LOST_S):
        while await status() is RunStatus.RUNNING:  # noqa: ASYNC110 - rows have no event
            await asyncio.sleep(0.2)
    assert await status() is RunStatus.INTERRUPTED
    assert (await replicas.answer(conversation))["content"] == "Half an answer"
    await replicas.until_written(str(run_id))


async def test_a_run_that_redis_forgot_for_a_moment_is_not_lost(replicas: Replicas) -> None:
    """Redis was started anew: the next sign of life of the run says that it goes on."""
    conversation, run_id, _ = await replicas.start("slower")
    resources = replicas.apps[0].state.resources
    await resources.redis.zrem(ALIVE, f"{replicas.owner}:{run_id}")
    await end_lost_run(resources, replicas.owner, UUID(run_id))
    assert (await replicas.run(run_id))["status"] == "running"
    async with replicas.client(1) as client:
        await client.post(f"{RUNS}/{run_id}/cancel")
    assert conversation


@pytest.mark.parametrize("what", ["conversation", "account"])
async def test_nothing_of_a_run_is_kept_of_what_is_deleted(replicas: Replicas, what: str) -> None:
    conversation, run_id, _ = await replicas.start("tutor")
    await replicas.events(run_id)
    await replicas.until_written(run_id)
    redis, kept = replicas.apps[0].state.resources.redis, f"lm:run:{replicas.owner}:*"
    assert [name async for name in redis.scan_iter(kept)]
    async with replicas.client() as client:
        if what == "conversation":
            gone = await client.delete(f"{CONVERSATIONS}/{conversation}")
        else:
            gone = await client.request("DELETE", "/api/v1/users/me", json={"password": PASSWORD})
    assert gone.status_code == 204, gone.text
    assert [name async for name in redis.scan_iter(kept)] == []


async def test_a_question_that_is_sent_again_is_asked_once(replicas: Replicas) -> None:
    conversation = await replicas.begin()
    path, body = f"{CONVERSATIONS}/{conversation}/messages", {"content": "What is a cell?", "model": "slow"}
    key = {"Idempotency-Key": "first"}
    async with replicas.client() as one, replicas.client(1) as two:
        both = await asyncio.gather(*(each.post(path, json=body, headers=key) for each in (one, two)))
        later = await one.post(path, json=body, headers=key)
        other = await one.post(path, json={**body, "content": "And a leaf?"}, headers=key)
        elsewhere = f"{CONVERSATIONS}/{await replicas.begin()}/messages"
        third = await one.post(elsewhere, json={**body, "model": "tutor"}, headers=key)
    assert len({answer.headers["content-location"] for answer in (*both, later)}) == 1
    assert {text_of(parse(answer.text)) for answer in (*both, later)} == {TEXT}
    assert len(replicas.models["slow"].requests) == 1
    assert (await replicas.answer(conversation))["content"] == TEXT
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert third.headers["content-location"] != later.headers["content-location"]


async def test_old_runs_are_told_from_their_message(replicas: Replicas) -> None:
    conversation, run_id, _ = await replicas.start("slow")
    first = await replicas.events(run_id)
    await replicas.until_written(run_id)
    await RunLog(replicas.apps[0].state.resources.redis, replicas.owner, UUID(run_id)).forget()
    told = await replicas.events(run_id)
    assert [one.name for one in told] == ["run.started", "delta", "message.completed", "done"]
    assert told[0].data == first[0].data
    assert text_of(told) == TEXT
    assert told[-2].data["finish_reason"] is None
    assert [one.name for one in await replicas.events(run_id, after=57)] == ["done"]
    assert conversation


async def test_without_redis_an_answer_streams_and_only_others_cannot_follow_it(
    settings: Settings, running: Running, account: Any, request: pytest.FixtureRequest
) -> None:
    away = settings.model_copy(update={"redis": RedisSettings(url=SecretStr("redis://127.0.0.1:1"))})
    models = {"tutor": FakeChatModel(TEXT)}
    async with (
        running(away, chat_models=models) as app,
        serve_here(app) as url,
        httpx.AsyncClient(base_url=url, headers=account.headers, timeout=30) as client,
    ):
        conversation = (await client.post(CONVERSATIONS, json={})).json()["id"]
        path = f"{CONVERSATIONS}/{conversation}/messages"
        answer = await client.post(path, json={"content": "What is a cell?"})
        assert text_of(parse(answer.text)) == TEXT
        assert parse(answer.text)[-1].data["status"] == "completed"
        request.getfixturevalue("elsewhere")
        followed = await client.get(answer.headers["content-location"] + "/events")
    assert (followed.status_code, followed.json()["code"]) == (503, "unavailable")
    assert int(followed.headers["retry-after"]) > 0


async def test_nobody_sees_anothers_run(replicas: Replicas, register: Callable[[], Awaitable[Any]]) -> None:
    _, run_id, _ = await replicas.start()
    eve = await register()
    async with httpx.AsyncClient(base_url=replicas.urls[1], headers=eve.headers) as client:
        for method, path in [("GET", ""), ("GET", "/events"), ("POST", "/cancel")]:
            answer = await client.request(method, f"{RUNS}/{run_id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found"), path
    assert (await replicas.events(run_id))[-1].data["status"] == "completed"
