"""What a video says is moderated before others see it; drafts are free, and a moderator has the last word."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.repositories import videos
from little_monster.platform.engines.protocols import ModerationResult
from little_monster.platform.services import feed
from little_monster.platform.services.moderation import retry_pending
from little_monster.platform.settings import Settings
from tests.fixtures.moderators import Moderator

VIDEOS, COMMENTS = "/api/v1/videos", "/api/v1/comments"
QUEUE = "/api/v1/moderation/videos"
FLAGGED = "Automatic moderation: harm"
Register = Callable[[], Awaitable[Any]]
RegisterAs = Callable[[str], Awaitable[Any]]


@pytest.fixture
def moderator() -> Moderator:
    return Moderator()


@pytest.fixture
async def app(
    settings: Settings, running: Callable[..., AbstractAsyncContextManager[FastAPI]], moderator: Moderator
) -> AsyncIterator[FastAPI]:
    content = settings.content.model_copy(update={"moderation_timeout_s": 0.2})
    async with running(settings.model_copy(update={"content": content}), moderator=moderator) as app:
        yield app


@pytest.fixture
async def owner(postgres: Any) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres.owner_url)
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
async def nothing_waits(owner: asyncpg.Connection) -> None:
    """What other tests left in the queue would be retried here."""
    for table in ("comments", "videos"):
        await owner.execute(f"DELETE FROM {table} WHERE moderation_status = 'pending'")


class Studio:
    """Makes videos that there is something to watch of, and asks to show them."""

    def __init__(self, client: httpx.AsyncClient, app: FastAPI) -> None:
        self.client, self.resources = client, app.state.resources

    async def make(self, account: Any, title: str = "Cells", **fields: Any) -> str:
        body = {"title": title, "topic": "Walls", "subject": "biology", **fields}
        made = await self.client.post(VIDEOS, json=body, headers=account.headers)
        assert made.status_code == 201, made.text
        assert (made.json()["moderation_status"], made.json()["moderation_reason"]) == (None, None)
        async with self.resources.database.session(UUID(account.user["id"])) as session:
            assert await videos.change(session, UUID(made.json()["id"]), {"video_url": "key"})
        return str(made.json()["id"])

    async def change(self, account: Any, video: str, **changes: Any) -> tuple[Any, ...]:
        """Return status, verdict and reason."""
        response = await self.client.patch(f"{VIDEOS}/{video}", json=changes, headers=account.headers)
        assert response.status_code == 200, response.text
        return _standing(response)

    async def publish(self, account: Any, **fields: Any) -> str:
        video = await self.make(account, **fields)
        assert await self.change(account, video, status="public") == ("public", "approved", None)
        return video

    async def decide(self, judge: Any, video: str, **decision: Any) -> tuple[Any, ...]:
        response = await self.client.patch(f"{QUEUE}/{video}", json=decision, headers=judge.headers)
        assert response.status_code == 200, response.text
        return _standing(response)

    async def standing(self, account: Any, video: str) -> tuple[Any, ...]:
        return _standing(await self.client.get(f"{VIDEOS}/{video}", headers=account.headers))

    async def is_seen_by(self, account: Any, video: str) -> bool:
        one = await self.client.get(f"{VIDEOS}/{video}", headers=account.headers)
        listed = await self.client.get(f"{VIDEOS}?limit=100", headers=account.headers)
        seen = video in [item["id"] for item in listed.json()["items"]]
        assert seen == (one.status_code == 200)
        return seen

    async def retry(self, moderator: Moderator, *, timeout_s: float = 0.2) -> int:
        parts = self.resources
        return await retry_pending(parts.database, moderator, parts.redis, timeout_s=timeout_s, batch=2)


def _standing(response: httpx.Response) -> tuple[Any, ...]:
    shown = response.json()
    return shown["status"], shown["moderation_status"], shown["moderation_reason"]


@pytest.fixture
def studio(client: httpx.AsyncClient, app: FastAPI) -> Studio:
    return Studio(client, app)


async def test_a_draft_says_what_it_likes(studio: Studio, account: Any, moderator: Moderator) -> None:
    video = await studio.make(account, title="Buy spam")
    assert await studio.change(account, video, topic="More spam") == ("draft", None, None)
    assert await studio.change(account, video, status="private") == ("private", None, None)
    assert moderator.read == []


async def test_what_is_approved_is_seen(studio: Studio, register: Register, moderator: Moderator) -> None:
    ada, bob = await register(), await register()
    video = await studio.publish(ada, title="Cells", tags=["plants", "exam"])
    assert await studio.is_seen_by(bob, video)
    # One call, with all that others read.
    assert moderator.read == ["Cells\nWalls\nplants, exam"]


@pytest.mark.parametrize(
    "fields",
    [{"title": "Buy spam"}, {"topic": "All about spam"}, {"tags": ["exam", "spam"]}],
)
async def test_what_is_flagged_waits_for_a_moderator(
    studio: Studio, register: Register, register_as: RegisterAs, fields: dict[str, Any]
) -> None:
    ada, bob, judge = await register(), await register(), await register_as("moderator")
    video = await studio.make(ada, **fields)
    assert await studio.change(ada, video, status="public") == ("draft", "flagged", FLAGGED)
    assert not await studio.is_seen_by(bob, video)
    # Asking again changes nothing.
    assert await studio.change(ada, video, status="public") == ("draft", "flagged", FLAGGED)
    queue = await studio.client.get(f"{QUEUE}?status=flagged&limit=100", headers=judge.headers)
    assert video in [item["id"] for item in queue.json()["items"]]
    assert await studio.decide(judge, video, status="approved") == ("public", "approved", None)
    assert await studio.is_seen_by(bob, video)


async def test_a_public_video_that_says_something_else_is_moderated_anew(
    studio: Studio, register: Register
) -> None:
    ada, bob = await register(), await register()
    video = await studio.publish(ada)
    assert await studio.change(ada, video, title="Atoms") == ("public", "approved", None)
    assert await studio.is_seen_by(bob, video)
    assert await studio.change(ada, video, title="Buy spam") == ("private", "flagged", FLAGGED)
    assert not await studio.is_seen_by(bob, video)
    comment = {"video_id": video, "text": "Hi"}
    refused = await studio.client.post(COMMENTS, json=comment, headers=bob.headers)
    assert refused.status_code == 404
    # It still asks, and so another text is all that it takes.
    assert await studio.change(ada, video, title="Cells") == ("public", "approved", None)
    assert await studio.is_seen_by(bob, video)


async def test_the_comments_go_out_of_sight_with_the_video(studio: Studio, register: Register) -> None:
    ada, bob = await register(), await register()
    video = await studio.publish(ada)
    body = {"video_id": video, "text": "Nice"}
    comment = (await studio.client.post(COMMENTS, json=body, headers=ada.headers)).json()
    url = f"{COMMENTS}/{comment['id']}"
    assert (await studio.client.get(url, headers=bob.headers)).status_code == 200
    await studio.change(ada, video, title="Buy spam")
    assert (await studio.client.get(url, headers=bob.headers)).status_code == 404


async def test_other_changes_ask_for_no_verdict(studio: Studio, account: Any, moderator: Moderator) -> None:
    video = await studio.publish(account)
    moderator.away = True
    assert await studio.change(account, video, difficulty="advanced") == ("public", "approved", None)
    assert await studio.change(account, video, title="Cells") == ("public", "approved", None)
    assert await studio.change(account, video, status="private") == ("private", "approved", None)
    assert await studio.change(account, video, status="public") == ("public", "approved", None)


@pytest.mark.parametrize("absence", ["away", "asleep"])
async def test_while_moderation_is_away_a_video_waits_and_is_tried_again(
    studio: Studio, register: Register, moderator: Moderator, absence: str
) -> None:
    ada, bob = await register(), await register()
    good, bad = await studio.make(ada), await studio.make(ada, title="Buy spam")
    edited = await studio.publish(ada)
    version = await studio.resources.redis.get(feed.VERSION)
    setattr(moderator, absence, True)
    for video in (good, bad):
        assert await studio.change(ada, video, status="public") == ("draft", "pending", None)
    assert await studio.change(ada, edited, title="Atoms") == ("private", "pending", None)
    assert not await studio.is_seen_by(bob, edited)
    assert await studio.retry(moderator) == 0
    setattr(moderator, absence, False)
    assert await studio.retry(moderator) == 3
    assert await studio.standing(ada, bad) == ("draft", "flagged", FLAGGED)
    for video in (good, edited):
        assert await studio.standing(ada, video) == ("public", "approved", None)
        assert await studio.is_seen_by(bob, video)
    assert await studio.resources.redis.get(feed.VERSION) != version
    assert await studio.retry(moderator) == 0


@pytest.mark.parametrize("status", ["draft", "private", "archived"])
async def test_who_takes_it_back_is_not_shown_later(
    studio: Studio, account: Any, moderator: Moderator, status: str
) -> None:
    video = await studio.make(account)
    await studio.change(account, video, status="private")
    moderator.away = True
    assert await studio.change(account, video, status="public") == ("private", "pending", None)
    assert await studio.change(account, video, status=status) == (status, None, None)
    moderator.away = False
    assert await studio.retry(moderator) == 0
    assert await studio.standing(account, video) == (status, None, None)


async def test_what_a_moderator_rejected_is_not_asked_for_again(
    studio: Studio, register: Register, register_as: RegisterAs
) -> None:
    ada, bob, judge = await register(), await register(), await register_as("moderator")
    video = await studio.publish(ada)
    assert await studio.decide(judge, video, status="rejected", reason="Wrong.") == (
        "private",
        "rejected",
        "Wrong.",
    )
    assert not await studio.is_seen_by(bob, video)
    url = f"{VIDEOS}/{video}"
    for status in ("draft", "public"):
        answer = await studio.client.patch(url, json={"status": status}, headers=ada.headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "video_rejected")
    assert await studio.standing(ada, video) == ("draft", "rejected", "Wrong.")
    assert not await studio.is_seen_by(bob, video)


@pytest.mark.parametrize(
    "edits", [({"status": "public", "title": "Right"},), ({"title": "Right"}, {"status": "public"})]
)
async def test_an_edit_of_what_a_moderator_rejected_waits_for_a_moderator(
    studio: Studio, register: Register, register_as: RegisterAs, moderator: Moderator, edits: Any
) -> None:
    """However often it is edited, taken back, and asked for again."""
    ada, bob, judge = await register(), await register(), await register_as("moderator")
    video = await studio.publish(ada)
    await studio.decide(judge, video, status="rejected", reason="Wrong.")
    waiting = ("private", "pending", "A moderator rejected it before this edit.")
    for changes in (
        *edits,
        {"title": "More right"},
        {"status": "private"},
        {"topic": "New"},
        {"status": "public"},
    ):
        last = await studio.change(ada, video, **changes)
    assert last == waiting
    assert await studio.retry(moderator) == 0
    assert await studio.standing(ada, video) == waiting
    assert not await studio.is_seen_by(bob, video)
    assert await studio.decide(judge, video, status="approved") == ("public", "approved", None)


async def test_an_approval_shows_nothing_that_nobody_asked_to_show(
    studio: Studio, register: Register, register_as: RegisterAs, moderator: Moderator
) -> None:
    ada, judge = await register(), await register_as("moderator")
    video = await studio.make(ada)
    assert await studio.decide(judge, video, status="rejected") == ("draft", "rejected", None)
    assert await studio.decide(judge, video, status="approved") == ("draft", "approved", None)
    moderator.away = True
    assert await studio.change(ada, video, status="public") == ("public", "approved", None)


async def test_the_queue_is_for_moderators(
    studio: Studio, register: Register, register_as: RegisterAs, moderator: Moderator
) -> None:
    ada, judge = await register(), await register_as("moderator")
    moderator.away = True
    made = [await studio.make(ada) for _ in range(3)]
    for video in made:
        await studio.change(ada, video, status="public")
    url, found = f"{QUEUE}?limit=2", []
    while url:
        page = (await studio.client.get(url, headers=judge.headers)).json()
        found += [item["id"] for item in page["items"]]
        url = page["_links"].get("next", {}).get("href")
    assert found == made
    for method, path in (("GET", QUEUE), ("PATCH", f"{QUEUE}/{made[0]}")):
        answer = await studio.client.request(method, path, json={"status": "approved"}, headers=ada.headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    missing = f"{QUEUE}/{uuid4()}"
    answer = await studio.client.patch(missing, json={"status": "approved"}, headers=judge.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "video_not_found")
    for bad in ({}, {"status": "flagged"}, {"status": "pending"}, {"status": "approved", "title": "x"}):
        answer = await studio.client.patch(f"{QUEUE}/{made[0]}", json=bad, headers=judge.headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_a_decision_is_about_the_version_that_was_seen(
    studio: Studio, register: Register, register_as: RegisterAs
) -> None:
    ada, judge = await register(), await register_as("moderator")
    video = await studio.publish(ada)
    seen = (await studio.client.get(f"{VIDEOS}/{video}", headers=judge.headers)).headers["etag"]
    await studio.change(ada, video, title="Atoms")
    headers = {**judge.headers, "If-Match": seen}
    stale = await studio.client.patch(f"{QUEUE}/{video}", json={"status": "rejected"}, headers=headers)
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    now = await studio.client.get(f"{VIDEOS}/{video}", headers=judge.headers)
    headers = {**judge.headers, "If-Match": now.headers["etag"]}
    done = await studio.client.patch(f"{QUEUE}/{video}", json={"status": "rejected"}, headers=headers)
    assert done.status_code == 200
    assert done.headers["etag"] != now.headers["etag"]


async def test_no_service_makes_a_video_public_past_moderation(
    studio: Studio, account: Any, app: FastAPI
) -> None:
    """Not by a status, not by a verdict, and not by a verdict on another text."""
    video = await studio.make(account)
    database, user_id = app.state.resources.database, UUID(account.user["id"])
    async with database.session(user_id) as session:
        asked = await videos.change(session, UUID(video), {"status": "public"})
    assert (asked.status, asked.moderation_status) == ("draft", "pending")
    async with database.session(user_id) as session:
        edited = await videos.change(session, UUID(video), {"title": "Buy spam"})
    assert edited.moderation_status == "pending"
    async with database.session(user_id) as session:
        assert not await videos.judge(session, asked, "approved", None)
    async with database.session(None) as session:
        assert not await videos.judge(session, edited, "approved", None)
    assert await studio.standing(account, video) == ("draft", "pending", None)


async def test_comments_that_wait_are_tried_again(
    studio: Studio, register: Register, moderator: Moderator, owner: asyncpg.Connection
) -> None:
    ada, bob = await register(), await register()
    video = await studio.publish(ada)
    moderator.away = True
    made = []
    for text in ("Nice", "spam", "Good", "choke", "Well"):
        body = {"video_id": video, "text": text}
        made.append((await studio.client.post(COMMENTS, json=body, headers=bob.headers)).json()["id"])
    assert await studio.retry(moderator) == 0
    moderator.away, moderator.chokes_on = False, "choke"
    # One that cannot be judged keeps none of the others from it.
    assert await studio.retry(moderator) == 4
    rows = await owner.fetch("SELECT id::text, moderation_status, moderation_reason FROM comments")
    verdicts = {row["id"]: (row["moderation_status"], row["moderation_reason"]) for row in rows}
    assert [verdicts[one] for one in made] == [
        ("approved", None),
        ("flagged", FLAGGED),
        ("approved", None),
        ("pending", None),
        ("approved", None),
    ]
    shown = (await studio.client.get(f"{COMMENTS}?video_id={video}", headers=ada.headers)).json()["items"]
    assert [item["text"] for item in shown] == ["Well", "Good", "Nice"]
    moderator.chokes_on = None
    assert await studio.retry(moderator) == 1


async def test_many_who_retry_at_once_ask_once(studio: Studio, account: Any, moderator: Moderator) -> None:
    moderator.away = True
    made = [await studio.make(account, title=f"Cells {number}") for number in range(5)]
    for video in made:
        await studio.change(account, video, status="public")
    moderator.away = False
    moderator.read.clear()
    done = await asyncio.gather(*(studio.retry(moderator) for _ in range(3)))
    assert sum(done) == 5
    assert sorted(moderator.read) == sorted(f"Cells {number}\nWalls" for number in range(5))
    for video in made:
        assert await studio.standing(account, video) == ("public", "approved", None)


async def test_a_text_that_changes_meanwhile_waits_for_its_own_verdict(
    studio: Studio, account: Any, moderator: Moderator
) -> None:
    moderator.away = True
    video = await studio.make(account)
    await studio.change(account, video, status="public")

    class Slow(Moderator):
        async def classify(self, texts: Sequence[str]) -> list[ModerationResult]:
            assert await studio.change(account, video, title="Buy spam") == ("draft", "pending", None)
            return await super().classify(texts)

    assert await studio.retry(Slow(), timeout_s=10) == 0
    assert await studio.standing(account, video) == ("draft", "pending", None)
    moderator.away = False
    assert await studio.retry(moderator) == 1
    assert await studio.standing(account, video) == ("draft", "flagged", FLAGGED)
