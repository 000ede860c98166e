"""The first page of the feed is kept in Redis: for everybody what is public, for nobody what is not."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from redis.asyncio import Redis

from little_monster.db.models import VideoStatus
from little_monster.db.repositories import videos
from little_monster.db.repositories.videos import VideoFilter, VideoOrder
from little_monster.platform.resources import Resources
from little_monster.platform.services import feed
from little_monster.platform.settings import Settings

VIDEOS = "/api/v1/videos"
TITLE_BEHIND = "A title that only the database has"
Register = Callable[[], Awaitable[Any]]
Publish = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(autouse=True)
async def _nothing_kept(redis: Redis) -> None:
    await redis.delete(feed.VERSION, *[key async for key in redis.scan_iter("lm:feed:*")])


@pytest.fixture
async def owner(postgres: Any) -> Any:
    connection = await asyncpg.connect(postgres.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
def draft(client: httpx.AsyncClient, app: FastAPI) -> Publish:
    """Make a draft with something to watch."""

    async def make(account: Any, **fields: Any) -> dict[str, Any]:
        body = {"title": "Cells", "topic": "Walls", "subject": "biology", **fields}
        video: dict[str, Any] = (await client.post(VIDEOS, json=body, headers=account.headers)).json()
        resources: Resources = app.state.resources
        async with resources.database.session(UUID(account.user["id"])) as session:
            assert await videos.change(session, UUID(video["id"]), {"video_url": "key"})
        return video

    return make


@pytest.fixture
def publish(client: httpx.AsyncClient, draft: Publish) -> Publish:
    async def make(account: Any, **fields: Any) -> dict[str, Any]:
        video = await draft(account, **fields)
        await change(client, account, video, status="public")
        return video

    return make


async def change(client: httpx.AsyncClient, account: Any, video: dict[str, Any], **changes: Any) -> None:
    response = await client.patch(f"{VIDEOS}/{video['id']}", json=changes, headers=account.headers)
    assert response.status_code == 200, response.text


async def shown(client: httpx.AsyncClient, account: Any, **query: Any) -> list[tuple[str, str]]:
    """Return id and title of each video of the page."""
    response = await client.get(VIDEOS, params=query, headers=account.headers)
    assert response.status_code == 200, response.text
    return [(item["id"], item["title"]) for item in response.json()["items"]]


async def retitle_behind(owner: Any, video: dict[str, Any]) -> None:
    """Change the video past the service, which thus forgets nothing."""
    await owner.execute("UPDATE videos SET title = $1 WHERE id = $2", TITLE_BEHIND, video["id"])


async def test_the_first_page_is_kept_for_everybody(
    client: httpx.AsyncClient, register: Register, publish: Publish, owner: Any, redis: Redis
) -> None:
    ada, bob, tag = await register(), await register(), f"t{uuid4().hex}"
    for _ in range(3):
        await publish(ada, tags=[tag])
    query = {"tags": tag, "limit": 2}
    first = await client.get(VIDEOS, params=query, headers=ada.headers)
    [key] = [key async for key in redis.scan_iter("lm:feed:*") if key != feed.VERSION.encode()]
    assert 290 < await redis.ttl(key) <= 300
    await retitle_behind(owner, first.json()["items"][0])
    again = await client.get(VIDEOS, params=query, headers=bob.headers)
    assert again.json() == first.json()
    assert again.headers["link"] == first.headers["link"]
    # What is behind the cursor is read each time, and goes on where the kept page ends.
    rest = await client.get(again.json()["_links"]["next"]["href"], headers=bob.headers)
    assert len(rest.json()["items"]) == 1
    assert rest.json()["items"][0]["id"] not in {item["id"] for item in first.json()["items"]}
    # Each filter has its own.
    assert TITLE_BEHIND in dict(await shown(client, ada, tags=tag, limit=3)).values()
    assert TITLE_BEHIND in dict(await shown(client, ada, tags=tag, limit=2, subject="biology")).values()
    assert await shown(client, ada, tags=tag, limit=2, difficulty="advanced") == []
    assert await shown(client, ada, tags=tag, limit=2, created_by=bob.user["id"]) == []
    assert TITLE_BEHIND in dict(await shown(client, ada, tags=tag, limit=3, sort="top_rated")).values()


async def test_it_is_for_those_who_are_logged_in(
    client: httpx.AsyncClient, register: Register, publish: Publish
) -> None:
    ada, tag = await register(), f"t{uuid4().hex}"
    await publish(ada, tags=[tag])
    assert len(await shown(client, ada, tags=tag)) == 1
    assert (await client.get(VIDEOS, params={"tags": tag})).status_code == 401


async def test_every_change_of_a_public_video_ends_it(
    client: httpx.AsyncClient, register: Register, publish: Publish
) -> None:
    ada, bob, tag = await register(), await register(), f"t{uuid4().hex}"
    assert await shown(client, bob, tags=tag) == []
    video = await publish(ada, tags=[tag])
    assert await shown(client, bob, tags=tag) == [(video["id"], "Cells")]
    await change(client, ada, video, title="Atoms")
    assert await shown(client, bob, tags=tag) == [(video["id"], "Atoms")]
    await change(client, ada, video, status="private")
    assert await shown(client, bob, tags=tag) == []
    await change(client, ada, video, status="public")
    assert await shown(client, bob, tags=tag) == [(video["id"], "Atoms")]
    await client.delete(f"{VIDEOS}/{video['id']}", headers=ada.headers)
    assert await shown(client, bob, tags=tag) == []


async def test_the_end_of_an_account_ends_it(
    client: httpx.AsyncClient, register: Register, publish: Publish
) -> None:
    ada, bob, tag = await register(), await register(), f"t{uuid4().hex}"
    await publish(ada, tags=[tag])
    assert len(await shown(client, bob, tags=tag)) == 1
    body = {"password": "correct horse battery"}
    path = f"/api/v1/users/{ada.user['id']}"
    response = await client.request("DELETE", path, json=body, headers=ada.headers)
    assert response.status_code == 204, response.text
    assert await shown(client, bob, tags=tag) == []


async def test_a_change_of_a_draft_ends_nothing(
    client: httpx.AsyncClient, register: Register, draft: Publish, redis: Redis
) -> None:
    ada = await register()
    video = await draft(ada)
    before = await redis.get(feed.VERSION)
    await change(client, ada, video, title="Still a draft")
    assert await redis.get(feed.VERSION) == before


async def test_what_is_not_public_is_never_kept(
    client: httpx.AsyncClient,
    register: Register,
    register_as: Callable[[str], Awaitable[Any]],
    draft: Publish,
    publish: Publish,
    redis: Redis,
) -> None:
    ada, bob, moderator = await register(), await register(), await register_as("moderator")
    tag = f"t{uuid4().hex}"
    hidden, public = await draft(ada, tags=[tag]), await publish(ada, tags=[tag])
    # Whoever comes first fills nothing for the next.
    for _ in range(2):
        for viewer in (moderator, ada, bob):
            sees = [hidden["id"]] if viewer is not bob else []
            by_ada = {"tags": tag, "status": "draft", "created_by": ada.user["id"]}
            assert [key for key, _ in await shown(client, viewer, **by_ada)] == sees
            assert [key for key, _ in await shown(client, viewer, tags=tag, status="draft")] == sees
            assert [key for key, _ in await shown(client, viewer, tags=tag)] == [public["id"]]
    kept = [
        await redis.get(key) async for key in redis.scan_iter("lm:feed:*") if key != feed.VERSION.encode()
    ]
    assert len(kept) == 1
    assert hidden["id"].encode() not in kept[0]
    assert public["id"].encode() in kept[0]


async def test_what_was_read_before_a_change_is_not_taken_after_it(redis: Redis) -> None:
    wanted = VideoFilter(status=VideoStatus.PUBLIC, tags=("late",))
    slow = await feed.find(redis, wanted, VideoOrder.NEWEST, 20)
    assert slow is not None
    await feed.forget(redis)
    await feed.keep(redis, slow, "old")
    found = await feed.find(redis, wanted, VideoOrder.NEWEST, 20)
    assert found is not None
    assert found.body is None
    await feed.keep(redis, found, "new")
    again = await feed.find(redis, wanted, VideoOrder.NEWEST, 20)
    assert again is not None
    assert again.body == b"new"


async def test_what_another_version_kept_is_read_anew(
    client: httpx.AsyncClient, register: Register, publish: Publish, redis: Redis
) -> None:
    ada, tag = await register(), f"t{uuid4().hex}"
    video = await publish(ada, tags=[tag])
    await shown(client, ada, tags=tag)
    [key] = [key async for key in redis.scan_iter("lm:feed:*") if key != feed.VERSION.encode()]
    version = await redis.get(feed.VERSION)
    await redis.set(key, version + b'\n{"items": [{"id": 1}], "next_cursor": null}')
    assert await shown(client, ada, tags=tag) == [(video["id"], "Cells")]


async def test_without_redis_the_feed_is_read_each_time(
    settings: Settings,
    running: Any,
    client_of: Any,
    register: Register,
    publish: Publish,
    owner: Any,
) -> None:
    ada, tag = await register(), f"t{uuid4().hex}"
    video = await publish(ada, tags=[tag])
    url = SecretStr(f"unix://{settings.data_dir}/no.sock")
    away = settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": url})})
    async with running(away) as without, client_of(without) as lonely:
        assert await shown(lonely, ada, tags=tag) == [(video["id"], "Cells")]
        await retitle_behind(owner, video)
        assert await shown(lonely, ada, tags=tag) == [(video["id"], TITLE_BEHIND)]
        await change(lonely, ada, video, title="Atoms")
        assert await shown(lonely, ada, tags=tag) == [(video["id"], "Atoms")]


async def test_the_number_of_kept_pages_has_an_end(
    client: httpx.AsyncClient, account: Any, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for ever new filters fills no memory; and no filter is answered with another's page."""
    monkeypatch.setattr(feed, "SLOTS", 8)
    for number in range(40):
        query = {"limit": 1 + number % 20, "tags": f"t{number}"}
        answer = await client.get(VIDEOS, params=query, headers=account.headers)
        assert answer.json()["items"] == []
    assert len([key async for key in redis.scan_iter("lm:feed:*")]) <= 9


async def test_two_filters_at_one_place_keep_their_own(
    client: httpx.AsyncClient, account: Any, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "SLOTS", 1)
    one, other = f"t{uuid4().hex}", f"t{uuid4().hex}"
    video = await publish(account, tags=[one])
    for _ in range(2):
        assert [found for found, _ in await shown(client, account, tags=one)] == [video["id"]]
        assert await shown(client, account, tags=other) == []


def test_there_is_room_for_what_most_people_ask_for() -> None:
    assert 64 <= feed.SLOTS <= 256
