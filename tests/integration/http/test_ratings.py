"""Ratings over HTTP: one a user and video, counted for all, shown to nobody else."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from little_monster.db.models import VideoStatus
from tests.fixtures.ids import NOBODYS

RATINGS = "/api/v1/ratings"
Register = Callable[[], Awaitable[Any]]


async def rate(client: httpx.AsyncClient, account: Any, video: str, stars: object) -> httpx.Response:
    return await client.post(RATINGS, json={"video_id": video, "stars": stars}, headers=account.headers)


async def test_a_rating_is_made_and_then_changed(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    ada, bob = await register(), await register()
    video = await new_video(ada)
    first = await rate(client, bob, video, 5)
    assert first.status_code == 201
    rating = first.json()
    assert (rating["stars"], rating["user_id"], rating["video_id"]) == (5, bob.user["id"], video)
    assert first.headers["location"] == f"{RATINGS}/user/{bob.user['id']}/video/{video}"
    second = await rate(client, bob, video, 2)
    assert second.status_code == 200
    changed = second.json()
    assert (changed["id"], changed["stars"]) == (rating["id"], 2)
    assert changed["updated_at"] > rating["updated_at"] == rating["created_at"] == changed["created_at"]
    assert (await client.get(first.headers["location"], headers=bob.headers)).json() == changed


async def test_how_a_video_was_rated(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    ada, bob, eve = await register(), await register(), await register()
    video = await new_video(ada)
    url = f"{RATINGS}?video_id={video}"
    empty = (await client.get(url, headers=ada.headers)).json()
    assert (empty["average"], empty["count"], empty["own"]) == (None, 0, None)
    assert empty["distribution"] == {"1": 0, "2": 0, "3": 0, "4": 0, "5": 0}
    for account, stars in ((ada, 5), (bob, 4), (eve, 4)):
        assert (await rate(client, account, video, stars)).status_code == 201
    shown = (await client.get(url, headers=bob.headers)).json()
    assert (shown["average"], shown["count"], shown["own"]["stars"]) == (4.33, 3, 4)
    assert shown["distribution"] == {"1": 0, "2": 0, "3": 0, "4": 2, "5": 1}
    counted = (await client.get(f"/api/v1/videos/{video}", headers=eve.headers)).json()
    assert (counted["rating_avg"], counted["rating_count"]) == (4.33, 3)


async def test_somebody_elses_rating_is_shown_like_a_missing_one(
    client: httpx.AsyncClient,
    register: Register,
    register_as: Callable[[str], Awaitable[Any]],
    new_video: Callable[..., Awaitable[str]],
) -> None:
    ada, bob, admin = await register(), await register(), await register_as("admin")
    video = await new_video(ada)
    location = (await rate(client, ada, video, 3)).headers["location"]
    answers = set()
    for account in (bob, admin):
        for url in (location, f"{RATINGS}/user/{uuid4()}/video/{video}", location[:-36] + str(uuid4())):
            response = await client.get(url, headers=account.headers)
            answers.add((response.status_code, response.json()["code"], response.json()["detail"]))
    assert answers == {(404, "rating_not_found", "There is no such rating.")}


async def test_a_video_out_of_sight_is_rated_like_a_missing_one(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    ada, bob = await register(), await register()
    hidden = await new_video(ada, VideoStatus.DRAFT)
    for video in (hidden, str(uuid4())):
        response = await rate(client, bob, video, 5)
        assert (response.status_code, response.json()["code"]) == (404, "video_not_found")
        response = await client.get(f"{RATINGS}?video_id={video}", headers=bob.headers)
        assert (response.status_code, response.json()["code"]) == (404, "video_not_found")
    assert (await rate(client, ada, hidden, 5)).status_code == 201


@pytest.mark.parametrize("stars", [0, 6, -1, 3.5, "4", True, None, 10**30])
async def test_bad_stars_are_refused(
    client: httpx.AsyncClient, account: Any, new_video: Callable[..., Awaitable[str]], stars: object
) -> None:
    video = await new_video(account)
    response = await rate(client, account, video, stars)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert response.json()["errors"][0]["field"] == "body.stars"
    assert (await client.get(f"{RATINGS}?video_id={video}", headers=account.headers)).json()["count"] == 0
    assert (await client.get(RATINGS, headers=account.headers)).status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{RATINGS}?video_id={NOBODYS}"),
        ("POST", RATINGS),
        ("GET", f"{RATINGS}/user/{NOBODYS}/video/{NOBODYS}"),
    ],
)
async def test_every_route_needs_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path, json={})
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_the_video_may_be_named_in_either_spelling(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    ada = await register()
    video, other = await new_video(ada), await new_video(ada)

    async def ask(**query: str) -> httpx.Response:
        return await client.get(RATINGS, params=query, headers=ada.headers)

    asked, alias = await ask(video_id=video), await ask(videoId=video)
    both = await ask(video_id=video, videoId=video)
    assert asked.status_code == alias.status_code == both.status_code == 200
    assert asked.json() == alias.json() == both.json()
    assert asked.json()["video_id"] == video
    for bad in ({}, {"video_id": video, "videoId": other}, {"videoId": "x"}):
        refused = await ask(**bad)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert (await ask(videoId=str(uuid4()))).status_code == 404
