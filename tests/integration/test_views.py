"""Views are counted in Redis and added to the videos in batches, each once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from little_monster.db.base import new_id
from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.repositories import videos
from little_monster.db.transactions import number_of
from little_monster.platform.http.app import create_app
from little_monster.platform.services import views
from little_monster.platform.services.views import count_view, flush_forever, flush_last, flush_views
from little_monster.platform.settings import Settings
from tests.fixtures.videos import draft


@pytest.fixture
async def redis(valkey_url):
    async with Redis.from_url(valkey_url) as redis:
        await redis.delete(views.COUNTS, views.BATCH, views._LOCK)
        yield redis
        await redis.delete(views.COUNTS, views.BATCH, views._LOCK)


@pytest.fixture
def resources(database, redis) -> Any:
    settings = Settings(_env_file=None, content={"view_flush_s": 0.05})
    return SimpleNamespace(database=database, redis=redis, settings=settings)


@pytest.fixture
async def video_id(database, user_id) -> UUID:
    async with database.session(user_id) as session:
        video = await draft(session, user_id)
    return video.id


async def views_of(database, user_id: UUID, video_id: UUID) -> int:
    async with database.session(user_id) as session:
        return (await videos.get(session, video_id)).view_count


async def test_a_flush_adds_what_was_counted(resources, database, redis, user_id, video_id):
    await asyncio.gather(*(count_view(redis, video_id) for _ in range(50)))
    await count_view(redis, new_id())
    assert await views_of(database, user_id, video_id) == 0
    assert await flush_views(resources) == 51
    assert await views_of(database, user_id, video_id) == 50
    assert await flush_views(resources) == 0
    await count_view(redis, video_id)
    assert await flush_views(resources) == 1
    assert await views_of(database, user_id, video_id) == 51
    assert await redis.exists(views.COUNTS, views.BATCH) == 0


async def test_many_flushes_while_views_come_add_each_view_once(
    resources, database, redis, user_id, video_id
):
    async def watch() -> None:
        for _ in range(40):
            await count_view(redis, video_id)

    async def flush() -> None:
        for _ in range(20):
            await flush_views(resources)

    await asyncio.gather(*(watch() for _ in range(5)), *(flush() for _ in range(4)))
    while await redis.exists(views.COUNTS, views.BATCH):
        await flush_views(resources)
    assert await views_of(database, user_id, video_id) == 200


async def test_a_batch_that_was_left_behind_goes_first(resources, database, redis, user_id, video_id):
    await redis.hset(views.BATCH, str(video_id), 7)
    await count_view(redis, video_id)
    assert await flush_views(resources) == 7
    assert await flush_views(resources) == 1
    assert await views_of(database, user_id, video_id) == 8


async def test_nothing_is_lost_while_the_database_is_away(
    resources, database, redis, user_id, video_id, monkeypatch
):
    async def fail(*args: Any) -> None:
        raise DatabaseUnavailable("away")

    await count_view(redis, video_id)
    with monkeypatch.context() as patched:
        patched.setattr(videos, "add_views", fail)
        with pytest.raises(DatabaseUnavailable):
            await flush_views(resources)
    await count_view(redis, video_id)
    assert await flush_views(resources) == 1
    assert await flush_views(resources) == 1
    assert await views_of(database, user_id, video_id) == 2


async def test_a_view_waits_for_no_row(resources, database, redis, user_id, video_id):
    async with database.session(user_id) as session:
        await session.execute(text("SELECT FROM videos WHERE id = :id FOR UPDATE"), {"id": video_id})
        async with asyncio.timeout(1):
            await count_view(redis, video_id)
    assert await flush_views(resources) == 1


async def test_views_are_lost_but_not_the_answer_while_redis_is_away(tmp_path, video_id):
    async with Redis.from_url(f"unix://{tmp_path}/no.sock") as away:
        await count_view(away, video_id)


async def test_the_ingress_flushes_by_itself_and_survives_failures(
    resources, database, redis, user_id, video_id, monkeypatch
):
    failures = 0
    add_views = videos.add_views

    async def fail_first(*args: Any) -> int:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise DatabaseUnavailable("away")
        return await add_views(*args)

    monkeypatch.setattr(videos, "add_views", fail_first)
    await count_view(redis, video_id)
    task = asyncio.create_task(flush_forever(resources))
    async with asyncio.timeout(5):
        while await views_of(database, user_id, video_id) == 0:  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert failures == 2


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_flush_that_is_cut_adds_each_view_once(
    resources, database, redis, user_id, video_id, monkeypatch, cut
):
    """Just before its commit, and just after it."""
    for _ in range(3):
        await count_view(redis, video_id)
    hset, delete = redis.hset, redis.delete

    async def cut_before(name: str, *args: Any, **kwargs: Any) -> Any:
        done = await hset(name, *args, **kwargs)
        if name == views.BATCH:
            raise asyncio.CancelledError
        return done

    async def cut_after(*names: str) -> Any:
        if views.BATCH in names:
            raise asyncio.CancelledError
        return await delete(*names)

    with monkeypatch.context() as patched:
        patched.setattr(redis, *(("hset", cut_before) if cut == "before" else ("delete", cut_after)))
        with pytest.raises(asyncio.CancelledError):
            await flush_views(resources)
    assert await views_of(database, user_id, video_id) == (0 if cut == "before" else 3)
    await count_view(redis, video_id)
    await flush_last(resources)
    assert await views_of(database, user_id, video_id) == 4
    assert await redis.exists(views.COUNTS, views.BATCH) == 0


async def test_a_flush_whose_transaction_still_runs_is_waited_for(
    resources, database, redis, user_id, video_id
):
    await count_view(redis, video_id)
    await redis.rename(views.COUNTS, views.BATCH)
    async with database.session(None) as slow:
        await videos.add_views(slow, {video_id: 1})
        await redis.hset(views.BATCH, views.WRITER, await number_of(slow))
        assert await flush_views(resources) == 0
        assert await redis.exists(views.BATCH) == 1
    await flush_last(resources)
    assert await views_of(database, user_id, video_id) == 1


async def test_a_transaction_of_another_server_added_nothing_here(
    resources, database, redis, user_id, video_id
):
    await redis.hset(views.BATCH, mapping={str(video_id): 2, views.WRITER: "999999999999"})
    assert await flush_views(resources) == 2
    assert await views_of(database, user_id, video_id) == 2


async def test_views_are_added_when_the_process_stops(resources, database, redis, user_id, video_id):
    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield resources

    resources.passwords = SimpleNamespace(warm_up=lambda: asyncio.sleep(0))
    resources.settings = Settings(_env_file=None, content={"view_flush_s": 3600})
    app = create_app(opened)
    async with app.router.lifespan_context(app):
        await asyncio.gather(*(count_view(redis, video_id) for _ in range(5)))
        assert await views_of(database, user_id, video_id) == 0
    assert await views_of(database, user_id, video_id) == 5
    assert await redis.exists(views.COUNTS, views.BATCH) == 0


async def test_a_process_stops_without_redis_and_without_the_database(resources, redis, monkeypatch):
    async def fail(*_args: Any) -> int:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(views, "flush_views", fail)
    await flush_last(resources)

    async def hang(*_args: Any) -> int:
        await asyncio.sleep(60)
        return 0

    monkeypatch.setattr(views, "flush_views", hang)
    monkeypatch.setattr(views, "STOP_S", 0.05)
    async with asyncio.timeout(1):
        await flush_last(resources)
