"""Comments over HTTP: what moderation lets through, what waits for a moderator, and other people's."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.models import VideoStatus
from little_monster.db.repositories import videos
from little_monster.platform.settings import Settings
from tests.fixtures.ids import NOBODYS
from tests.fixtures.moderators import Moderator

COMMENTS, QUEUE = "/api/v1/comments", "/api/v1/moderation/comments"
Register = Callable[[], Awaitable[Any]]
RegisterAs = Callable[[str], Awaitable[Any]]


@pytest.fixture
def moderator() -> Moderator:
    return Moderator()


@pytest.fixture
async def client(
    settings: Settings,
    running: Callable[..., AbstractAsyncContextManager[FastAPI]],
    client_of: Callable[[FastAPI], httpx.AsyncClient],
    moderator: Moderator,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose moderator flags spam and is not waited for long."""
    content = settings.content.model_copy(update={"moderation_timeout_s": 0.2})
    impatient = settings.model_copy(update={"content": content})
    async with running(impatient, moderator=moderator) as app, client_of(app) as client:
        yield client


async def write(client: httpx.AsyncClient, account: Any, video: str, text: str = "Nice") -> dict[str, Any]:
    body = {"video_id": video, "text": text}
    response = await client.post(COMMENTS, json=body, headers=account.headers)
    assert response.status_code == 201, response.text
    comment: dict[str, Any] = response.json()
    assert response.headers["location"] == f"{COMMENTS}/{comment['id']}"
    return comment


async def texts(client: httpx.AsyncClient, account: Any, video: str) -> list[str]:
    response = await client.get(f"{COMMENTS}?video_id={video}", headers=account.headers)
    assert response.status_code == 200, response.text
    return [item["text"] for item in response.json()["items"]]


async def count(client: httpx.AsyncClient, account: Any, video: str) -> int:
    response = await client.get(f"/api/v1/videos/{video}", headers=account.headers)
    shown: int = response.json()["comment_count"]
    return shown


async def test_a_comment_that_moderation_lets_pass_is_seen_by_all(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    ada, bob = await register(), await register()
    video = await new_video(ada)
    comment = await write(client, bob, video, "  <b>Nice</b> ☃ ")
    assert (comment["text"], comment["user_id"]) == ("<b>Nice</b> ☃", bob.user["id"])
    assert (comment["moderation_status"], comment["moderation_reason"]) == ("approved", None)
    assert comment["_links"]["video"]["href"] == f"/api/v1/videos/{video}"
    shown = await client.get(f"{COMMENTS}/{comment['id']}", headers=ada.headers)
    assert shown.json() == comment
    await write(client, ada, video, "Thanks")
    assert await texts(client, bob, video) == ["Thanks", "<b>Nice</b> ☃"]
    assert await count(client, bob, video) == 2


async def test_a_flagged_comment_is_seen_by_its_author_and_moderators(
    client: httpx.AsyncClient,
    register: Register,
    register_as: RegisterAs,
    new_video: Callable[..., Awaitable[str]],
) -> None:
    ada, bob, admin = await register(), await register(), await register_as("admin")
    video = await new_video(ada)
    comment = await write(client, bob, video, "Buy spam")
    assert comment["moderation_status"] == "flagged"
    assert comment["moderation_reason"] == "Automatic moderation: harm"
    assert await texts(client, bob, video) == await texts(client, admin, video) == ["Buy spam"]
    assert await texts(client, ada, video) == []
    assert await count(client, ada, video) == 0
    url = f"{COMMENTS}/{comment['id']}"
    assert (await client.get(url, headers=ada.headers)).status_code == 404
    assert (await client.get(url, headers=admin.headers)).json() == comment


@pytest.mark.parametrize("state", ["away", "asleep"])
async def test_a_comment_waits_while_moderation_is_away(
    client: httpx.AsyncClient,
    moderator: Moderator,
    register: Register,
    new_video: Callable[..., Awaitable[str]],
    state: str,
) -> None:
    ada, bob = await register(), await register()
    video = await new_video(ada)
    setattr(moderator, state, True)
    comment = await write(client, bob, video)
    assert (comment["moderation_status"], comment["moderation_reason"]) == ("pending", None)
    assert (await texts(client, bob, video), await texts(client, ada, video)) == (["Nice"], [])
    assert await count(client, ada, video) == 0


async def test_an_edit_is_moderated_anew(
    client: httpx.AsyncClient,
    moderator: Moderator,
    register: Register,
    new_video: Callable[..., Awaitable[str]],
) -> None:
    ada, bob = await register(), await register()
    video = await new_video(ada)
    comment = await write(client, bob, video)
    url = f"{COMMENTS}/{comment['id']}"

    async def edit(text: str) -> dict[str, Any]:
        response = await client.patch(url, json={"text": text}, headers=bob.headers)
        assert response.status_code == 200, response.text
        changed: dict[str, Any] = response.json()
        return changed

    assert await edit("Nice") == comment
    flagged = await edit("Nice spam")
    assert (flagged["text"], flagged["moderation_status"]) == ("Nice spam", "flagged")
    assert (await texts(client, ada, video), await count(client, ada, video)) == ([], 0)
    good = await edit("Very nice")
    assert (good["moderation_status"], good["moderation_reason"]) == ("approved", None)
    assert good["updated_at"] > comment["updated_at"]
    assert (await texts(client, ada, video), await count(client, ada, video)) == (["Very nice"], 1)
    moderator.away = True
    assert (await edit("Waits"))["moderation_status"] == "pending"
    assert (await texts(client, ada, video), await count(client, ada, video)) == ([], 0)


async def test_moderators_work_through_the_queue(
    client: httpx.AsyncClient,
    register: Register,
    register_as: RegisterAs,
    new_video: Callable[..., Awaitable[str]],
) -> None:
    ada, bob, judge = await register(), await register(), await register_as("moderator")
    video = await new_video(ada)
    flagged = [await write(client, bob, video, f"spam {number}") for number in range(3)]
    waiting = []
    url = f"{QUEUE}?status=flagged&limit=2"
    while url:
        page = (await client.get(url, headers=judge.headers)).json()
        waiting += [item["id"] for item in page["items"]]
        assert {item["moderation_status"] for item in page["items"]} == {"flagged"}
        url = page["_links"].get("next", {}).get("href")
    # Other tests' comments wait too: the oldest come first.
    assert [one for one in waiting if one in {item["id"] for item in flagged}] == [
        item["id"] for item in flagged
    ]

    async def decide(number: int, **changes: Any) -> dict[str, Any]:
        one = f"{QUEUE}/{flagged[number]['id']}"
        response = await client.patch(one, json=changes, headers=judge.headers)
        assert response.status_code == 200, response.text
        decided: dict[str, Any] = response.json()
        return decided

    assert (await decide(0, status="approved", reason=None))["moderation_reason"] is None
    rejected = await decide(1, status="rejected", reason="Advertises spam.")
    assert (rejected["moderation_status"], rejected["moderation_reason"]) == ("rejected", "Advertises spam.")
    own = (await client.get(f"{COMMENTS}/{rejected['id']}", headers=bob.headers)).json()
    assert own["moderation_reason"] == "Advertises spam."
    assert (await texts(client, ada, video), await count(client, ada, video)) == (["spam 0"], 1)
    assert (await decide(0, is_hidden=True))["is_hidden"] is True
    assert (await texts(client, ada, video), await count(client, ada, video)) == ([], 0)
    # What a moderator hid stays hidden, whatever its author makes of it.
    await client.patch(f"{COMMENTS}/{flagged[0]['id']}", json={"text": "Good"}, headers=bob.headers)
    assert (await texts(client, ada, video), await count(client, ada, video)) == ([], 0)
    await decide(0, is_hidden=False)
    assert (await texts(client, ada, video), await count(client, ada, video)) == (["Good"], 1)


async def test_an_edit_of_what_was_rejected_waits_for_a_moderator(
    client: httpx.AsyncClient,
    register: Register,
    register_as: Callable[[str], Awaitable[Any]],
    new_video: Callable[..., Awaitable[str]],
) -> None:
    """However often it is edited: automatic moderation does not overrule a person."""
    ada, bob, judge = await register(), await register(), await register_as("moderator")
    video = await new_video(ada)
    comment = await write(client, bob, video, "Buy my notes")
    own, queued = f"{COMMENTS}/{comment['id']}", f"{QUEUE}/{comment['id']}"
    assert comment["moderation_status"] == "approved"
    decision = {"status": "rejected", "reason": "Advertises."}
    assert (await client.patch(queued, json=decision, headers=judge.headers)).status_code == 200
    for text in ("Buy my notes.", "Buy my notes!", "Harmless"):
        edited = await client.patch(own, json={"text": text}, headers=bob.headers)
        assert (edited.status_code, edited.json()["text"]) == (200, text)
        assert edited.json()["moderation_status"] == "pending"
        assert edited.json()["moderation_reason"] == "A moderator rejected it before this edit."
        assert await texts(client, ada, video) == []
    waiting = await client.get(f"{QUEUE}?status=pending&limit=100", headers=judge.headers)
    assert comment["id"] in {one["id"] for one in waiting.json()["items"]}
    decision = {"status": "approved", "reason": None}
    assert (await client.patch(queued, json=decision, headers=judge.headers)).status_code == 200
    assert await texts(client, ada, video) == ["Harmless"]
    # From here on it is a comment like others.
    edited = await client.patch(own, json={"text": "Thanks"}, headers=bob.headers)
    assert (edited.json()["moderation_status"], edited.json()["moderation_reason"]) == ("approved", None)


async def test_the_queue_is_for_moderators(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    bob = await register()
    comment = await write(client, bob, await new_video(bob), "spam")
    for method, url in (("GET", QUEUE), ("PATCH", f"{QUEUE}/{comment['id']}")):
        response = await client.request(method, url, json={"status": "approved"}, headers=bob.headers)
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    shown = await client.get(f"{COMMENTS}/{comment['id']}", headers=bob.headers)
    assert shown.json()["moderation_status"] == "flagged"


@pytest.mark.parametrize(
    "changes",
    [{}, {"status": None}, {"status": "odd"}, {"is_hidden": None}, {"reason": ""}, {"text": "Mine"}],
)
async def test_a_bad_decision_is_refused(
    client: httpx.AsyncClient,
    register_as: RegisterAs,
    new_video: Callable[..., Awaitable[str]],
    changes: dict[str, Any],
) -> None:
    judge = await register_as("moderator")
    comment = await write(client, judge, await new_video(judge))
    response = await client.patch(f"{QUEUE}/{comment['id']}", json=changes, headers=judge.headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    missing = await client.patch(f"{QUEUE}/{uuid4()}", json={"status": "approved"}, headers=judge.headers)
    assert (missing.status_code, missing.json()["code"]) == (404, "comment_not_found")
    assert (await client.get(f"{QUEUE}?status=odd", headers=judge.headers)).status_code == 422


async def test_somebody_elses_comment_is_changed_like_a_missing_one(
    client: httpx.AsyncClient,
    register: Register,
    register_as: RegisterAs,
    new_video: Callable[..., Awaitable[str]],
) -> None:
    ada, bob, judge = await register(), await register(), await register_as("moderator")
    comment = await write(client, ada, await new_video(ada))
    url = f"{COMMENTS}/{comment['id']}"
    for method, body in (("PATCH", {"text": "Mine"}), ("DELETE", None)):
        answers = set()
        for one in (url, f"{COMMENTS}/{uuid4()}"):
            answer = await client.request(method, one, json=body, headers=bob.headers)
            answers.add((answer.status_code, answer.json()["code"], answer.json()["detail"]))
        assert answers == {(404, "comment_not_found", "There is no such comment.")}
    # A moderator may take it away, but not put words into its author's mouth.
    assert (await client.patch(url, json={"text": "Mine"}, headers=judge.headers)).status_code == 404
    assert (await client.get(url, headers=bob.headers)).json() == comment
    assert (await client.delete(url, headers=judge.headers)).status_code == 204
    assert (await client.get(url, headers=ada.headers)).status_code == 404


async def test_comments_of_a_video_out_of_sight_are_out_of_sight(
    client: httpx.AsyncClient,
    register: Register,
    register_as: RegisterAs,
    new_video: Callable[..., Awaitable[str]],
    database: Any,
) -> None:
    ada, bob, judge = await register(), await register(), await register_as("moderator")
    video = await new_video(ada)
    comment = await write(client, ada, video)
    async with database.session(UUID(ada.user["id"])) as session:
        assert await videos.change(session, UUID(video), {"status": VideoStatus.PRIVATE})
    assert (await client.get(f"{COMMENTS}/{comment['id']}", headers=bob.headers)).status_code == 404
    for url, body in ((f"{COMMENTS}?video_id={video}", None), (COMMENTS, {"video_id": video, "text": "Hi"})):
        response = await client.request("POST" if body else "GET", url, json=body, headers=bob.headers)
        assert (response.status_code, response.json()["code"]) == (404, "video_not_found")
    assert await texts(client, ada, video) == await texts(client, judge, video) == ["Nice"]


@pytest.mark.parametrize(
    "body",
    [
        {"text": "Nice"},
        {"video_id": "x", "text": "Nice"},
        {"video_id": NOBODYS, "text": "  "},
        {"video_id": NOBODYS, "text": "x" * 2001},
        {"video_id": NOBODYS, "text": "a\x00b"},
        {"video_id": NOBODYS, "text": "Nice", "moderation_status": "approved"},
    ],
)
async def test_a_bad_comment_is_refused(
    client: httpx.AsyncClient, register: Register, body: dict[str, Any]
) -> None:
    bob = await register()
    response = await client.post(COMMENTS, json=body, headers=bob.headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert (await client.get(COMMENTS, headers=bob.headers)).status_code == 422


async def test_a_comment_on_no_video_is_not_found(client: httpx.AsyncClient, register: Register) -> None:
    bob = await register()
    body = {"video_id": str(uuid4()), "text": "Nice"}
    response = await client.post(COMMENTS, json=body, headers=bob.headers)
    assert (response.status_code, response.json()["code"]) == (404, "video_not_found")


async def test_pages_of_comments_are_stable(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    ada = await register()
    video = await new_video(ada)
    for number in range(3):
        await write(client, ada, video, f"{number}")
    page = (await client.get(f"{COMMENTS}?video_id={video}&limit=2", headers=ada.headers)).json()
    await write(client, ada, video, "3")
    rest = (await client.get(page["_links"]["next"]["href"], headers=ada.headers)).json()
    assert [item["text"] for item in page["items"] + rest["items"]] == ["2", "1", "0"]


async def test_a_repeated_post_makes_one_comment(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    ada = await register()
    body = {"video_id": await new_video(ada), "text": "Once"}
    headers = {**ada.headers, "Idempotency-Key": uuid4().hex}
    first = await client.post(COMMENTS, json=body, headers=headers)
    assert (await client.post(COMMENTS, json=body, headers=headers)).json() == first.json()
    assert await texts(client, ada, body["video_id"]) == ["Once"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{COMMENTS}?video_id={NOBODYS}"),
        ("POST", COMMENTS),
        ("GET", f"{COMMENTS}/{NOBODYS}"),
        ("PATCH", f"{COMMENTS}/{NOBODYS}"),
        ("DELETE", f"{COMMENTS}/{NOBODYS}"),
        ("GET", QUEUE),
        ("PATCH", f"{QUEUE}/{NOBODYS}"),
    ],
)
async def test_every_route_needs_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path, json={"text": "x"})
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_the_video_may_be_named_in_either_spelling(
    client: httpx.AsyncClient, register: Register, new_video: Callable[..., Awaitable[str]]
) -> None:
    ada = await register()
    video, other = await new_video(ada), await new_video(ada)

    async def ask(**query: str) -> httpx.Response:
        return await client.get(COMMENTS, params=query, headers=ada.headers)

    asked, alias = await ask(video_id=video), await ask(videoId=video)
    both = await ask(video_id=video, videoId=video)
    assert asked.status_code == alias.status_code == both.status_code == 200
    assert asked.json()["items"] == alias.json()["items"] == both.json()["items"]
    assert alias.json()["_links"]["self"]["href"] == f"{COMMENTS}?videoId={video}"
    for bad in ({}, {"video_id": video, "videoId": other}, {"videoId": "x"}):
        refused = await ask(**bad)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert (await ask(videoId=str(uuid4()))).status_code == 404
