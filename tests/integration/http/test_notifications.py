"""Notifications of one user: in pages, read and unread, and those of others."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.repositories import notifications
from little_monster.db.session import Database
from tests.fixtures.ids import NOBODYS

PATH = "/api/v1/notifications"


async def tell(database: Database, account: Any, count: int = 1) -> list[str]:
    made, owner = [], UUID(account.user["id"])
    for number in range(count):
        async with database.session(owner) as session:
            row = await notifications.create(
                session, user_id=owner, kind="test", title=f"T{number}", data={"n": number}
            )
            made.append(str(row.id))
    return made


async def listed(client: httpx.AsyncClient, account: Any, **query: Any) -> list[dict[str, Any]]:
    response = await client.get(PATH, params=query, headers=account.headers)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_pages_are_stable_while_more_come(
    client: httpx.AsyncClient, account: Any, database: Database
) -> None:
    made = await tell(database, account, 5)
    seen: list[str] = []
    url: str | None = f"{PATH}?limit=2&unread=true"
    while url:
        body = (await client.get(url, headers=account.headers)).json()
        seen += [one["id"] for one in body["items"]]
        url = body["_links"].get("next", {}).get("href")
        await tell(database, account)
    assert seen == made[::-1]


async def test_one_is_read_and_unread_again(
    client: httpx.AsyncClient, account: Any, database: Database
) -> None:
    old, new = await tell(database, account, 2)
    read = await client.patch(f"{PATH}/{old}", json={"read": True}, headers=account.headers)
    assert read.status_code == 200
    assert (read.json()["title"], read.json()["data"]) == ("T0", {"n": 0})
    again = await client.patch(f"{PATH}/{old}", json={"read": True}, headers=account.headers)
    assert again.json()["read_at"] == read.json()["read_at"] is not None
    assert [one["id"] for one in await listed(client, account, unread=True)] == [new]
    assert [one["id"] for one in await listed(client, account, unread=False)] == [old]
    assert [one["id"] for one in await listed(client, account)] == [new, old]
    unread = await client.patch(f"{PATH}/{old}", json={"read": False}, headers=account.headers)
    assert unread.json()["read_at"] is None


async def test_one_is_shown_and_stays_unread(
    client: httpx.AsyncClient, account: Any, database: Database
) -> None:
    made, _ = await tell(database, account, 2)
    path = f"{PATH}/{made}"
    shown = await client.get(path, headers=account.headers)
    assert shown.status_code == 200, shown.text
    assert shown.json() == (await listed(client, account))[1]
    assert (shown.json()["title"], shown.json()["read_at"]) == ("T0", None)
    assert shown.json()["_links"]["self"]["href"] == path
    headers = {**account.headers, "If-None-Match": shown.headers["etag"]}
    assert (await client.get(path, headers=headers)).status_code == 304
    match = {**account.headers, "If-Match": shown.headers["etag"]}
    read = await client.patch(path, json={"read": True}, headers=match)
    assert read.status_code == 200
    again = await client.get(path, headers=headers)
    assert (again.status_code, again.json()) == (200, read.json())
    assert again.headers["etag"] == read.headers["etag"]


async def test_all_are_read(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]], database: Database
) -> None:
    ada, eve = await register(), await register()
    await tell(database, ada, 3)
    await tell(database, eve, 1)
    for count in (3, 0):
        answer = await client.post(f"{PATH}/read-all", headers=ada.headers)
        assert (answer.status_code, answer.json()) == (200, {"read": count})
    assert await listed(client, ada, unread=True) == []
    assert len(await listed(client, eve, unread=True)) == 1


async def test_those_of_others_look_like_missing_ones(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]], database: Database
) -> None:
    ada, eve = await register(), await register()
    (made,) = await tell(database, ada)
    for one in (made, new_id()):
        for method, body in (("PATCH", {"read": True}), ("GET", None)):
            answer = await client.request(method, f"{PATH}/{one}", json=body, headers=eve.headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "notification_not_found")
    assert await listed(client, eve) == []
    assert (await listed(client, ada))[0]["read_at"] is None


async def test_nobody_is_told_twice(account: Any, database: Database) -> None:
    owner = UUID(account.user["id"])

    async def tell_once() -> None:
        async with database.session(owner) as session:
            await notifications.create(session, user_id=owner, kind="test", title="", dedup_key="key")

    await tell_once()
    with pytest.raises(DuplicateKey, match="notifications_user_id_dedup_key_key"):
        await tell_once()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", f"{PATH}/nonsense", {"read": True}, 422),
        ("GET", f"{PATH}/nonsense", None, 422),
        ("PATCH", f"{PATH}/{NOBODYS}", {}, 422),
        ("PATCH", f"{PATH}/{NOBODYS}", {"read": "perhaps"}, 422),
        ("PATCH", f"{PATH}/{NOBODYS}", {"title": "mine"}, 422),
        ("GET", f"{PATH}?unread=perhaps", None, 422),
        ("GET", f"{PATH}?limit=1000", None, 422),
        ("GET", f"{PATH}?cursor=x", None, 422),
    ],
)
async def test_wrong_requests(
    client: httpx.AsyncClient, account: Any, method: str, path: str, body: Any, status: int
) -> None:
    response = await client.request(method, path, json=body, headers=account.headers)
    assert response.status_code == status, response.text


@pytest.mark.parametrize(
    ("method", "path"), [("GET", PATH), ("POST", f"{PATH}/read-all"), ("PATCH", f"{PATH}/{NOBODYS}")]
)
async def test_without_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await client.request(method, path, json={"read": True})).status_code == 401
