"""Videos over HTTP: drafts, the feed with its filters and orders, and other people's videos."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.repositories import videos
from little_monster.platform.resources import Resources
from tests.fixtures.ids import NOBODYS

VIDEOS = "/api/v1/videos"
Register = Callable[[], Awaitable[Any]]


def new_video(**fields: Any) -> dict[str, Any]:
    return {"title": "Photosynthesis", "topic": "Light", "subject": "biology", **fields}


async def draft(client: httpx.AsyncClient, account: Any, **fields: Any) -> dict[str, Any]:
    response = await client.post(VIDEOS, json=new_video(**fields), headers=account.headers)
    assert response.status_code == 201, response.text
    video: dict[str, Any] = response.json()
    return video


async def make_watchable(app: FastAPI, account: Any, video: dict[str, Any]) -> None:
    """Give the video what generation would."""
    resources: Resources = app.state.resources
    async with resources.database.session(UUID(account.user["id"])) as session:
        assert await videos.change(session, UUID(video["id"]), {"video_url": "key", "duration": 90})


@pytest.fixture
def publish(client: httpx.AsyncClient, app: FastAPI) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def make(account: Any, **fields: Any) -> dict[str, Any]:
        video = await draft(client, account, **fields)
        await make_watchable(app, account, video)
        response = await client.patch(
            f"{VIDEOS}/{video['id']}", json={"status": "public"}, headers=account.headers
        )
        assert response.status_code == 200, response.text
        shown: dict[str, Any] = response.json()
        return shown

    return make


async def ids(client: httpx.AsyncClient, account: Any, query: str) -> list[str]:
    response = await client.get(f"{VIDEOS}?{query}", headers=account.headers)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


async def every_page(client: httpx.AsyncClient, account: Any, query: str) -> list[str]:
    url, found = f"{VIDEOS}?{query}", []
    while url:
        page = (await client.get(url, headers=account.headers)).json()
        found += [item["id"] for item in page["items"]]
        url = page["_links"].get("next", {}).get("href")
    return found


async def test_a_new_video_is_a_draft_with_nothing_to_watch(
    client: httpx.AsyncClient, register: Register
) -> None:
    ada, bob = await register(), await register()
    response = await client.post(
        VIDEOS,
        json=new_video(title="  Photosynthesis ", difficulty="advanced", tags=["Exam", "exam ", "plants"]),
        headers=ada.headers,
    )
    video = response.json()
    assert (response.status_code, response.headers["location"]) == (201, f"{VIDEOS}/{video['id']}")
    assert (video["title"], video["difficulty"], video["tags"]) == (
        "Photosynthesis",
        "advanced",
        ["exam", "plants"],
    )
    assert (video["status"], video["created_by"]) == ("draft", ada.user["id"])
    assert (video["video_url"], video["script_summary"], video["key_points"]) == (None, None, [])
    assert (video["rating_avg"], video["rating_count"], video["view_count"]) == (None, 0, 0)
    assert video["_links"]["comments"]["href"] == f"/api/v1/comments?video_id={video['id']}"
    shown = await client.get(response.headers["location"], headers=ada.headers)
    assert shown.json() == video
    assert await ids(client, ada, "status=draft") == [video["id"]]
    assert await ids(client, ada, f"created_by={ada.user['id']}") == []
    assert await ids(client, bob, f"status=draft&created_by={ada.user['id']}") == []


async def test_a_repeated_post_makes_one_draft(client: httpx.AsyncClient, account: Any) -> None:
    headers = {**account.headers, "Idempotency-Key": uuid4().hex}
    first = await client.post(VIDEOS, json=new_video(), headers=headers)
    again = await client.post(VIDEOS, json=new_video(), headers=headers)
    assert again.json() == first.json()
    assert await ids(client, account, "status=draft") == [first.json()["id"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"title": "a\x00b"},
        {"topic": " "},
        {"subject": "cooking"},
        {"difficulty": "impossible"},
        {"tags": ["x"] * 21},
        {"tags": ["x" * 41]},
        {"tags": [""]},
        {"status": "public"},
        {"rating_avg": 5},
        {"created_by": NOBODYS},
    ],
)
async def test_a_bad_video_is_refused(
    client: httpx.AsyncClient, account: Any, fields: dict[str, Any]
) -> None:
    response = await client.post(VIDEOS, json=new_video(**fields), headers=account.headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert next(iter(fields)) in response.json()["errors"][0]["field"]
    assert await ids(client, account, "status=draft") == []


async def test_a_video_is_changed_and_published_when_there_is_something_to_watch(
    client: httpx.AsyncClient, app: FastAPI, register: Register
) -> None:
    ada, bob = await register(), await register()
    video = await draft(client, ada)
    url = f"{VIDEOS}/{video['id']}"
    early = await client.patch(url, json={"status": "public"}, headers=ada.headers)
    assert (early.status_code, early.json()["code"]) == (409, "video_not_ready")
    assert (await client.get(url, headers=bob.headers)).status_code == 404
    await make_watchable(app, ada, video)
    changes = {"title": "Light", "tags": [], "status": "public", "difficulty": "intermediate"}
    changed = await client.patch(url, json=changes, headers=ada.headers)
    assert changed.status_code == 200
    shown = changed.json()
    assert {name: shown[name] for name in changes} == changes
    assert shown["topic"] == video["topic"]
    assert shown["updated_at"] > video["updated_at"]
    assert (await client.get(url, headers=bob.headers)).json() == shown
    assert video["id"] in await ids(client, bob, "limit=100")
    await client.patch(url, json={"status": "private"}, headers=ada.headers)
    assert (await client.get(url, headers=bob.headers)).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [{}, {"title": None}, {"status": "processing"}, {"status": None}, {"view_count": 9}, {"tags": None}],
)
async def test_a_bad_change_is_refused(
    client: httpx.AsyncClient, account: Any, changes: dict[str, Any]
) -> None:
    video = await draft(client, account)
    url = f"{VIDEOS}/{video['id']}"
    response = await client.patch(url, json=changes, headers=account.headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert (await client.get(url, headers=account.headers)).json() == video


async def test_somebody_elses_video_is_changed_like_a_missing_one(
    client: httpx.AsyncClient, register: Register, publish: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    ada, bob = await register(), await register()
    hidden, public = await draft(client, ada), await publish(ada)
    missing = f"{VIDEOS}/{uuid4()}"
    for method, body in (("PATCH", {"title": "Mine"}), ("DELETE", None)):
        answers = []
        for url in (missing, f"{VIDEOS}/{hidden['id']}", f"{VIDEOS}/{public['id']}"):
            answer = await client.request(method, url, json=body, headers=bob.headers)
            answers.append((answer.status_code, answer.json()["code"], answer.json()["detail"]))
        assert set(answers) == {(404, "video_not_found", "There is no such video.")}
    assert (await client.get(f"{VIDEOS}/{public['id']}", headers=bob.headers)).json() == public
    assert (await client.get(f"{VIDEOS}/{hidden['id']}", headers=bob.headers)).status_code == 404
    assert (await client.delete(f"{VIDEOS}/{public['id']}", headers=ada.headers)).status_code == 204
    assert (await client.get(f"{VIDEOS}/{public['id']}", headers=bob.headers)).status_code == 404


async def test_a_moderator_sees_and_takes_down_what_others_made(
    client: httpx.AsyncClient,
    register: Register,
    register_as: Callable[[str], Awaitable[Any]],
    publish: Callable[..., Awaitable[dict[str, Any]]],
) -> None:
    ada, moderator = await register(), await register_as("moderator")
    hidden, public = await draft(client, ada), await publish(ada)
    assert (await client.get(f"{VIDEOS}/{hidden['id']}", headers=moderator.headers)).json() == hidden
    assert await ids(client, moderator, f"status=draft&created_by={ada.user['id']}") == [hidden["id"]]
    url = f"{VIDEOS}/{public['id']}"
    archived = await client.patch(url, json={"status": "archived"}, headers=moderator.headers)
    assert archived.json()["status"] == "archived"
    assert (await client.delete(url, headers=moderator.headers)).status_code == 204


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", VIDEOS),
        ("POST", VIDEOS),
        ("GET", f"{VIDEOS}/{NOBODYS}"),
        ("PATCH", f"{VIDEOS}/{NOBODYS}"),
        ("DELETE", f"{VIDEOS}/{NOBODYS}"),
    ],
)
async def test_every_route_needs_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path, json=new_video())
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_the_feed_is_filtered(
    client: httpx.AsyncClient, account: Any, publish: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    cells = await publish(account, title="Cells", tags=["exam", "plants"])
    atoms = await publish(account, title="Atoms", subject="physics", difficulty="advanced", tags=["exam"])
    mine = f"created_by={account.user['id']}"
    assert await ids(client, account, mine) == [atoms["id"], cells["id"]]
    assert await ids(client, account, f"{mine}&subject=physics") == [atoms["id"]]
    assert await ids(client, account, f"{mine}&difficulty=beginner") == [cells["id"]]
    assert await ids(client, account, f"{mine}&tags=EXAM") == [atoms["id"], cells["id"]]
    assert await ids(client, account, f"{mine}&tags=exam&tags=plants") == [cells["id"]]
    assert await ids(client, account, f"{mine}&tags=exam&q=atom") == [atoms["id"]]
    assert await ids(client, account, f"created_by={uuid4()}") == []


async def test_the_feed_is_searched(
    client: httpx.AsyncClient, register: Register, publish: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    ada, bob = await register(), await register()
    word = f"zyx{uuid4().hex[:8]}"
    first = await publish(ada, title=f"Walls of {word}", topic="cells")
    second = await publish(ada, title=f"{word} and {word}", topic=f"all about {word}")
    hidden = await draft(client, ada, title=word)
    # The best first, not the newest; stems and operators as people write them.
    assert await ids(client, bob, f"q={word}") == [second["id"], first["id"]]
    assert await ids(client, bob, f"q={word}&sort=newest") == [second["id"], first["id"]]
    assert await ids(client, bob, f"q={word} wall") == [first["id"]]
    assert await ids(client, bob, f"q={word} -wall") == [second["id"]]
    assert await ids(client, bob, "q=the") == []
    assert await ids(client, ada, f"q={word}&status=draft") == [hidden["id"]]
    assert await ids(client, bob, f"q={word}&status=draft") == []
    assert await every_page(client, bob, f"q={word}&limit=1") == [second["id"], first["id"]]


@pytest.mark.parametrize("text", ["'; DROP TABLE videos; --", "<script>", '"', "&|!()", "%", "\\", "☃", "-"])
async def test_whatever_is_searched_for_is_only_words(
    client: httpx.AsyncClient, account: Any, text: str
) -> None:
    response = await client.get(VIDEOS, params={"q": text}, headers=account.headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "sort=relevance",
        "sort=odd",
        "q=",
        f"q={'x' * 201}",
        "q=a%00b",
        "tags=a%00b",
        "subject=cooking",
        "status=odd",
        "created_by=me",
        "limit=0",
        "cursor=nonsense",
    ],
)
async def test_a_bad_query_is_refused(client: httpx.AsyncClient, account: Any, query: str) -> None:
    response = await client.get(f"{VIDEOS}?{query}", headers=account.headers)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(f"query.{query.partition('=')[0]}")


@pytest.mark.parametrize("sort", ["newest", "top_rated", "most_viewed"])
async def test_pages_are_stable_while_videos_come(
    client: httpx.AsyncClient,
    account: Any,
    app: FastAPI,
    publish: Callable[..., Awaitable[dict[str, Any]]],
    sort: str,
) -> None:
    """In each order what was there comes once and in order, though more comes between the pages."""
    made = [await publish(account) for _ in range(5)]
    resources: Resources = app.state.resources
    views = {UUID(video["id"]): count for video, count in zip(made, (0, 1, 1, 3, 2), strict=True)}
    async with resources.database.session(None) as session:
        await videos.add_views(session, views)
    for video, stars in zip(made[:4], (5, 3, 5, 1), strict=True):
        body = {"video_id": video["id"], "stars": stars}
        assert (await client.post("/api/v1/ratings", json=body, headers=account.headers)).status_code == 201
    expected = {"newest": (4, 3, 2, 1, 0), "top_rated": (2, 0, 1, 3, 4), "most_viewed": (3, 4, 2, 1, 0)}[sort]
    url, found = f"{VIDEOS}?created_by={account.user['id']}&sort={sort}&limit=2", []
    while url:
        page = (await client.get(url, headers=account.headers)).json()
        found += [item["id"] for item in page["items"]]
        url = page["_links"].get("next", {}).get("href")
        await publish(account)
    assert len(found) == len(set(found))
    old = [video["id"] for video in made]
    assert [one for one in found if one in old] == [old[number] for number in expected]


async def test_a_cursor_of_another_order_is_refused(
    client: httpx.AsyncClient, account: Any, publish: Callable[..., Awaitable[dict[str, Any]]]
) -> None:
    for _ in range(2):
        await publish(account)
    mine = f"{VIDEOS}?created_by={account.user['id']}&limit=1"
    page = (await client.get(f"{mine}&sort=top_rated", headers=account.headers)).json()
    for sort in ("newest", "most_viewed"):
        response = await client.get(
            f"{mine}&sort={sort}&cursor={page['next_cursor']}", headers=account.headers
        )
        assert (response.status_code, response.json()["code"]) == (422, "invalid_cursor")


async def test_a_view_of_a_public_video_is_counted_but_not_its_creators(
    client: httpx.AsyncClient,
    app: FastAPI,
    redis: Any,
    register: Register,
    publish: Callable[..., Awaitable[dict[str, Any]]],
) -> None:
    ada, bob = await register(), await register()
    video = await publish(ada)
    url = f"{VIDEOS}/{video['id']}"
    for account in (ada, bob, bob):
        await client.get(url, headers=account.headers)
    await client.get(f"{VIDEOS}?created_by={ada.user['id']}", headers=bob.headers)
    assert await redis.hget("lm:views", video["id"]) == b"2"
