"""Personal access tokens: made once, narrow, and gone when revoked."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from little_monster.db.base import new_id
from tests.fixtures.ids import NOBODYS

URL = "/api/v1/auth/tokens"
ME = "/api/v1/users/me"
SEARCH = "/api/v1/documents/search"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def make(client: httpx.AsyncClient, account: Any, *scopes: str, **body: Any) -> dict[str, Any]:
    json = {"name": "script", "scopes": scopes or ("read", "write"), **body}
    response = await client.post(URL, json=json, headers=account.headers)
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    made: dict[str, Any] = response.json()
    assert response.headers["location"] == f"{URL}/{made['details']['id']}"
    return made


async def test_a_token_is_shown_once(client: httpx.AsyncClient, account: Any, postgres: Any) -> None:
    made = await make(client, account, "read", name="  backup  ")
    token = made["token"]
    assert token.startswith("lmp_")
    assert len(token) == 47
    (shown,) = (await client.get(URL, headers=account.headers)).json()["items"]
    assert shown == made["details"]
    assert (shown["name"], shown["scopes"], shown["last_used_at"]) == ("backup", ["read"], None)
    assert shown["_links"] == {"revoke": {"href": f"{URL}/{shown['id']}"}}, "it cannot be read alone"
    days = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89) < days <= timedelta(days=90)
    connection = await asyncpg.connect(postgres.owner_url)
    rows = await connection.fetch(
        "SELECT * FROM personal_access_tokens WHERE user_id = $1", UUID(account.user["id"])
    )
    await connection.close()
    assert token not in str(rows)
    assert token[4:] not in str(rows)


async def test_it_names_its_user(client: httpx.AsyncClient, account: Any) -> None:
    token = (await make(client, account))["token"]
    response = await client.get(ME, headers=bearer(token))
    assert response.json()["id"] == account.user["id"]
    (shown,) = (await client.get(URL, headers=account.headers)).json()["items"]
    first = datetime.fromisoformat(shown["last_used_at"])
    assert timedelta() <= datetime.now(UTC) - first < timedelta(minutes=1)
    await client.get(ME, headers=bearer(token))
    (shown,) = (await client.get(URL, headers=account.headers)).json()["items"]
    assert datetime.fromisoformat(shown["last_used_at"]) == first, "written once a minute"


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [(("read",), 200, 403), (("write",), 403, 200), (("read", "write"), 200, 200)],
)
async def test_scopes(
    client: httpx.AsyncClient, account: Any, scopes: tuple[str, ...], reads: int, writes: int
) -> None:
    token = (await make(client, account, *scopes))["token"]
    read = await client.get("/api/v1/documents", headers=bearer(token))
    write = await client.post(SEARCH, json={"query": "light"}, headers=bearer(token))
    assert (read.status_code, write.status_code) == (reads, writes)
    for response in (read, write):
        if response.status_code == 403:
            assert response.json()["code"] == "insufficient_scope"


async def test_scopes_hold_under_v1(client: httpx.AsyncClient, account: Any) -> None:
    token = (await make(client, account, "read"))["token"]
    assert (await client.get("/v1/models", headers=bearer(token))).status_code == 200
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
    response = await client.post("/v1/chat/completions", json=body, headers=bearer(token))
    assert (response.status_code, response.json()["error"]["code"]) == (403, "insufficient_scope")


async def test_a_token_with_an_idempotency_key_needs_its_scope_too(
    client: httpx.AsyncClient, account: Any
) -> None:
    token = (await make(client, account, "read"))["token"]
    headers = {**bearer(token), "Idempotency-Key": str(new_id())}
    response = await client.post("/api/v1/chat/conversations", json={}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "tokens", {"name": "another", "scopes": ["write"]}),
        ("GET", "tokens", None),
        ("DELETE", f"tokens/{NOBODYS}", None),
        ("GET", "sessions", None),
        ("DELETE", f"sessions/{NOBODYS}", None),
        ("GET", "events", None),
        ("POST", "logout-everywhere", None),
        ("POST", "password/change", {"current_password": "x", "new_password": "quiet lantern orbit"}),
        ("POST", "verify-email/request", None),
        ("POST", "totp", None),
        ("POST", "totp/confirm", {"code": "123456"}),
        ("DELETE", "totp", {"password": "x"}),
    ],
)
async def test_no_token_changes_how_one_logs_in(
    client: httpx.AsyncClient, account: Any, method: str, path: str, body: Any
) -> None:
    token = (await make(client, account))["token"]
    response = await client.request(method, f"/api/v1/auth/{path}", json=body, headers=bearer(token))
    assert (response.status_code, response.json()["code"]) == (403, "login_required")


async def test_an_answer_that_is_kept_for_a_key_needs_its_scope_too(
    client: httpx.AsyncClient, account: Any
) -> None:
    token = (await make(client, account, "read"))["token"]
    key = {"Idempotency-Key": str(new_id())}
    made = await client.post("/api/v1/chat/conversations", json={}, headers={**account.headers, **key})
    assert made.status_code == 201
    replayed = await client.post("/api/v1/chat/conversations", json={}, headers={**bearer(token), **key})
    assert (replayed.status_code, replayed.json()["code"]) == (403, "insufficient_scope")


async def test_revoked(client: httpx.AsyncClient, account: Any) -> None:
    made, kept = await make(client, account), await make(client, account)
    url = f"{URL}/{made['details']['id']}"
    response = await client.delete(url, headers=account.headers)
    assert (response.status_code, response.content) == (204, b"")
    refused = await client.get(ME, headers=bearer(made["token"]))
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert (await client.get(ME, headers=bearer(kept["token"]))).status_code == 200
    (shown,) = (await client.get(URL, headers=account.headers)).json()["items"]
    assert shown["id"] == kept["details"]["id"]
    assert (await client.delete(url, headers=account.headers)).json()["code"] == "token_not_found"
    events = (await client.get("/api/v1/auth/events", headers=account.headers)).json()["items"]
    assert [event["kind"] for event in events] == [
        "token_revoked",
        "token_created",
        "token_created",
        "registered",
    ]
    assert events[0]["details"] == {"id": made["details"]["id"]}


async def test_expired(client: httpx.AsyncClient, account: Any, postgres: Any) -> None:
    made = await make(client, account, expires_in_days=1)
    connection = await asyncpg.connect(postgres.owner_url)
    await connection.execute(
        "UPDATE personal_access_tokens SET expires_at = now() WHERE id = $1", UUID(made["details"]["id"])
    )
    await connection.close()
    assert (await client.get(ME, headers=bearer(made["token"]))).status_code == 401


async def test_without_an_end(client: httpx.AsyncClient, account: Any) -> None:
    made = await make(client, account, expires_in_days=None)
    assert made["details"]["expires_at"] is None
    assert (await client.get(ME, headers=bearer(made["token"]))).status_code == 200


async def test_of_a_deleted_account(client: httpx.AsyncClient, account: Any, postgres: Any) -> None:
    token = (await make(client, account))["token"]
    connection = await asyncpg.connect(postgres.owner_url)
    await connection.execute("DELETE FROM users WHERE id = $1", UUID(account.user["id"]))
    await connection.close()
    assert (await client.get(ME, headers=bearer(token))).status_code == 401


async def test_forged_tokens_are_answered_alike(client: httpx.AsyncClient, account: Any) -> None:
    token = (await make(client, account))["token"]
    without = await client.get(ME)
    forged = ["lmp_", "lmp_" + "A" * 43, token[:-1], token + "A", token.swapcase(), "LMP_" + token[4:]]
    forged += [token[4:], "lmp_' OR '1'='1", "lmp_" + "x" * 20_000, f"lmp_{token}"]
    for one in forged:
        response = await client.get(ME, headers=bearer(one))
        assert response.status_code == 401, one
        assert {**response.json(), "request_id": ""} == {**without.json(), "request_id": ""}
    raw = await client.get(ME, headers={b"Authorization": b"Bearer lmp_\xff\x00\xfe"})
    assert raw.status_code == 401


async def test_somebody_elses_token_looks_like_a_missing_one(
    client: httpx.AsyncClient, register: Callable[[], Awaitable[Any]]
) -> None:
    ada, eve = await register(), await register()
    made = await make(client, ada)
    theirs = await client.delete(f"{URL}/{made['details']['id']}", headers=eve.headers)
    missing = await client.delete(f"{URL}/{new_id()}", headers=eve.headers)
    assert (theirs.status_code, missing.status_code) == (404, 404)
    assert theirs.json()["detail"] == missing.json()["detail"]
    assert (await client.get(ME, headers=bearer(made["token"]))).status_code == 200
    assert (await client.get(URL, headers=eve.headers)).json()["items"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scopes": []}, "body.scopes"),
        ({"scopes": ["admin"]}, "body.scopes.0"),
        ({"scopes": "read"}, "body.scopes"),
        ({"name": ""}, "body.name"),
        ({"name": "a\x00"}, "body.name"),
        ({"name": "x" * 101}, "body.name"),
        ({"expires_in_days": 0}, "body.expires_in_days"),
        ({"expires_in_days": 366}, "body.expires_in_days"),
        ({"expires_in_days": 10**30}, "body.expires_in_days"),
        ({"more": 1}, "body.more"),
    ],
)
async def test_bad_input(client: httpx.AsyncClient, account: Any, change: dict[str, Any], field: str) -> None:
    body = {"name": "script", "scopes": ["read"], **change}
    response = await client.post(URL, json=body, headers=account.headers)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_without_a_token(client: httpx.AsyncClient) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", f"/{new_id()}")):
        assert (await client.request(method, f"{URL}{path}", json={})).status_code == 401


async def test_there_is_an_end_to_them(client: httpx.AsyncClient, account: Any, postgres: Any) -> None:
    """Fifty of them, and one more when one is revoked."""
    connection = await asyncpg.connect(postgres.owner_url)
    await connection.execute(
        """
        INSERT INTO personal_access_tokens (id, user_id, name, scopes, token_hash)
        SELECT gen_random_uuid(), $1, 'old', '{read}', sha256(gen_random_uuid()::text::bytea)
        FROM generate_series(1, 49)
        """,
        UUID(account.user["id"]),
    )
    await connection.close()
    first = await make(client, account)
    body = {"name": "one more", "scopes": ["read"]}
    refused = await client.post(URL, json=body, headers=account.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_tokens")
    await client.delete(f"{URL}/{first['details']['id']}", headers=account.headers)
    assert (await client.post(URL, json=body, headers=account.headers)).status_code == 201


async def test_pages(client: httpx.AsyncClient, account: Any) -> None:
    made = [(await make(client, account, name=f"n{number}"))["details"]["id"] for number in range(3)]
    first = (await client.get(f"{URL}?limit=2", headers=account.headers)).json()
    rest = (await client.get(first["_links"]["next"]["href"], headers=account.headers)).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]


async def test_requests_of_a_token_count_for_its_user(client: httpx.AsyncClient, account: Any) -> None:
    token = (await make(client, account))["token"]
    before = (await client.get(ME, headers=account.headers)).headers["ratelimit"]
    after = (await client.get(ME, headers=bearer(token))).headers["ratelimit"]
    remaining = [int(value.split("r=")[1].split(";")[0]) for value in (before, after)]
    assert remaining[1] < remaining[0]
