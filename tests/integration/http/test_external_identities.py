"""Accounts that another issuer vouches for: how they are made, linked, unlinked and ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from little_monster.platform.foreign_tokens import KNOWN_S, ForeignTokens
from little_monster.platform.settings import Settings
from tests.fixtures.issuers import Issuer, bearer, serve_issuer
from tests.fixtures.watch import PASSWORD

ME, IDENTITIES = "/api/v1/users/me", "/api/v1/auth/identities"
Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with serve_issuer() as issuer:
        yield issuer


@pytest.fixture
def accepting(settings: Settings, running: Any, issuer: Issuer) -> Callable[..., Any]:
    """Run an application that accepts the issuer, on other terms than usual."""

    def run(**terms: Any) -> Any:
        auth = {**dict(settings.auth), "issuers": [issuer.settings(**terms)]}
        return running(Settings.model_validate({**dict(settings), "auth": auth}))

    return run


@pytest.fixture
async def app(accepting: Any) -> AsyncIterator[FastAPI]:
    async with accepting() as app:
        yield app


@pytest.fixture
async def owner(postgres: Any) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
def verify(owner: asyncpg.Connection) -> Callable[[Any], Awaitable[Any]]:
    async def make(account: Any) -> Any:
        await owner.execute("UPDATE users SET email_verified_at = now() WHERE id = $1", account.user["id"])
        return account

    return make


def forget(app: FastAPI) -> None:
    """Let nothing be remembered of tokens, as when its moment is over."""
    app.state.resources.foreign_tokens._known.clear()


async def me(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.get(ME, headers=bearer(token))


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def kinds(owner: asyncpg.Connection, user_id: str) -> list[str]:
    query = "SELECT kind FROM audit_events WHERE user_id = $1 ORDER BY created_at, id"
    return [row["kind"] for row in await owner.fetch(query, UUID(user_id))]


async def is_verified(owner: asyncpg.Connection, user_id: str) -> bool:
    query = "SELECT email_verified_at IS NOT NULL FROM users WHERE id = $1"
    return bool(await owner.fetchval(query, UUID(user_id)))


async def test_a_new_subject_gets_an_account(
    client: httpx.AsyncClient, issuer: Issuer, owner: asyncpg.Connection
) -> None:
    subject = uuid4().hex
    shown = await me(client, issuer.sign(sub=subject, email=f"{subject}@EXAMPLE.com", role="admin"))
    assert shown.status_code == 200, shown.text
    user = shown.json()
    assert (user["email"], user["display_name"]) == (f"{subject}@example.com", "Ada Lovelace")
    assert user["role"] == "student"
    assert await is_verified(owner, user["id"])
    again = await me(client, issuer.sign(sub=subject, email="new@example.com", name="Other"))
    assert again.json() == user
    assert await kinds(owner, user["id"]) == ["registered", "identity_linked"]
    listed = await client.get(IDENTITIES, headers=bearer(issuer.sign(sub=subject)))
    (item,) = listed.json()["items"]
    assert (item["issuer"], item["subject"], item["email"]) == (issuer.url, subject, user["email"])


async def test_it_is_an_account_like_any_other(
    client: httpx.AsyncClient, issuer: Issuer, owner: asyncpg.Connection
) -> None:
    headers = bearer(issuer.sign())
    shown = await client.get(ME, headers=headers)
    assert shown.headers["ratelimit"].startswith('"requests";r=59')
    made = await client.post("/api/v1/chat/conversations", json={"title": "Cells"}, headers=headers)
    assert made.status_code == 201
    token = await client.post("/api/v1/auth/tokens", json={"name": "a", "scopes": ["read"]}, headers=headers)
    reading = bearer(token.json()["token"])
    assert (await client.get(ME, headers=reading)).json()["id"] == shown.json()["id"]
    assert refused(await client.get(IDENTITIES, headers=reading)) == (403, "login_required")
    # There is no password, and nothing is one.
    body = {"email": shown.json()["email"], "password": "x"}
    assert refused(await client.post("/api/v1/auth/login", json=body)) == (401, "invalid_credentials")
    end = await client.request("DELETE", ME, json={"password": "x"}, headers=headers)
    assert refused(end) == (403, "wrong_password")
    assert await owner.fetchval("SELECT password_hash FROM users WHERE id = $1", shown.json()["id"]) == ""


async def test_many_first_requests_at_once_make_one_account(
    client: httpx.AsyncClient, issuer: Issuer
) -> None:
    token = issuer.sign()
    answers = await asyncio.gather(*(me(client, token) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"email": None}, "email_missing"),
        ({"email": "no address"}, "email_missing"),
        ({"email": "a" * 300 + "@example.com"}, "email_missing"),
        ({"email_verified": None}, "email_not_verified"),
        ({"email_verified": False}, "email_not_verified"),
        ({"email_verified": "true"}, "email_not_verified"),
        # Supabase lets users write their own metadata.
        ({"email_verified": None, "user_metadata": {"email_verified": True}}, "email_not_verified"),
    ],
)
async def test_who_gets_no_account(
    client: httpx.AsyncClient, issuer: Issuer, owner: asyncpg.Connection, changes: Any, code: str
) -> None:
    before = await owner.fetchval("SELECT count(*) FROM users")
    token = issuer.sign(**changes)
    assert refused(await me(client, token)) == (403, code)
    assert await owner.fetchval("SELECT count(*) FROM users") == before
    # What needs nobody asks for nobody.
    body = {"email": "nobody@example.com"}
    reset = await client.post("/api/v1/auth/password/reset/request", json=body, headers=bearer(token))
    assert reset.status_code == 202


async def test_terms(accepting: Any, client_of: Any, issuer: Issuer, owner: asyncpg.Connection) -> None:
    async with accepting(create_accounts=False) as app, client_of(app) as client:
        assert refused(await me(client, issuer.sign())) == (403, "no_account")
    async with accepting(require_verified_email=False) as app, client_of(app) as client:
        shown = await me(client, issuer.sign(email_verified=None))
        assert shown.status_code == 200
        assert not await is_verified(owner, shown.json()["id"])
    async with accepting(trust_email=True) as app, client_of(app) as client:
        shown = await me(client, issuer.sign(email_verified=None))
        assert shown.status_code == 200
        assert await is_verified(owner, shown.json()["id"])
        assert refused(await me(client, issuer.sign(email=""))) == (403, "email_missing")


async def test_both_have_verified_the_address(
    client: httpx.AsyncClient, issuer: Issuer, account: Any, verify: Any, owner: asyncpg.Connection
) -> None:
    await verify(account)
    shown = await me(client, issuer.sign(email=account.email.upper()))
    assert (shown.status_code, shown.json()["id"]) == (200, account.user["id"])
    assert (await kinds(owner, account.user["id"]))[-1] == "identity_linked"


@pytest.mark.parametrize(("here", "there"), [(False, True), (True, False), (False, False)])
async def test_one_has_not_verified_the_address(
    accepting: Any, client_of: Any, issuer: Issuer, account: Any, verify: Any, here: bool, there: bool
) -> None:
    if here:
        await verify(account)
    async with accepting(require_verified_email=False) as app, client_of(app) as client:
        token = issuer.sign(email=account.email, email_verified=there)
        assert refused(await me(client, token)) == (409, "identity_not_linked")
        assert (await client.get(IDENTITIES, headers=account.headers)).json()["items"] == []


async def test_a_second_factor_is_not_passed_by(
    client: httpx.AsyncClient, issuer: Issuer, account: Any, verify: Any, owner: asyncpg.Connection
) -> None:
    await verify(account)
    begun = await client.post("/api/v1/auth/totp", json={"password": PASSWORD}, headers=account.headers)
    assert begun.status_code == 201, begun.text
    await owner.execute(
        "UPDATE totp_credentials SET confirmed_at = now() WHERE user_id = $1", account.user["id"]
    )
    assert refused(await me(client, issuer.sign(email=account.email))) == (409, "identity_not_linked")


async def test_who_is_logged_in_links(
    client: httpx.AsyncClient, issuer: Issuer, account: Any, register: Any
) -> None:
    subject = uuid4().hex
    token = issuer.sign(sub=subject, email=account.email, email_verified=False)
    made = await client.post(IDENTITIES, json={"token": token}, headers=account.headers)
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"{IDENTITIES}/{made.json()['id']}"
    assert (await me(client, token)).json()["id"] == account.user["id"]
    for who in (account, await register()):
        again = await client.post(IDENTITIES, json={"token": token}, headers=who.headers)
        assert refused(again) == (409, "identity_taken")
    for wrong in ("x", issuer.sign(exp=1), account.tokens["access_token"]):
        bad = await client.post(IDENTITIES, json={"token": wrong}, headers=account.headers)
        assert refused(bad) == (422, "invalid_identity_token")
        assert wrong not in bad.text or wrong == "x"


async def test_unlinked_is_out_at_once_and_stays_out(
    app: FastAPI,
    accepting: Any,
    client_of: Any,
    client: httpx.AsyncClient,
    issuer: Issuer,
    account: Any,
    verify: Any,
    register: Any,
    owner: asyncpg.Connection,
) -> None:
    await verify(account)
    subject = uuid4().hex
    token = issuer.sign(sub=subject, email=account.email)
    async with accepting() as replica, client_of(replica) as elsewhere:
        # Both replicas remember it.
        assert (await me(client, token)).status_code == (await me(elsewhere, token)).status_code == 200
        (item,) = (await client.get(IDENTITIES, headers=account.headers)).json()["items"]
        path = f"{IDENTITIES}/{item['id']}"
        stranger = await register()
        assert refused(await client.delete(path, headers=stranger.headers)) == (404, "identity_not_found")
        assert (await client.delete(path, headers=account.headers)).status_code == 204
        assert refused(await me(client, token)) == (401, "unauthenticated")
        assert refused(await me(elsewhere, token)) == (401, "unauthenticated")
    forget(app)
    later = issuer.sign(sub=subject, email=account.email, iat=issuer.claims()["iat"] + 20)
    assert refused(await me(client, later)) == (401, "unauthenticated")
    assert (await client.get(ME, headers=account.headers)).status_code == 200
    linked = await client.post(IDENTITIES, json={"token": later}, headers=account.headers)
    assert linked.status_code == 201
    assert (await me(client, later)).json()["id"] == account.user["id"]
    trail = await kinds(owner, account.user["id"])
    assert [kind for kind in trail if kind.startswith("identity")] == [
        "identity_linked",
        "identity_unlinked",
        "identity_linked",
    ]


async def test_the_token_of_a_deleted_account_is_like_none(
    app: FastAPI, client: httpx.AsyncClient, issuer: Issuer, account: Any, verify: Any
) -> None:
    await verify(account)
    subject = uuid4().hex
    token = issuer.sign(sub=subject, email=account.email)
    assert (await me(client, token)).json()["id"] == account.user["id"]
    gone = await client.request("DELETE", ME, json={"password": PASSWORD}, headers=account.headers)
    assert gone.status_code == 204
    assert refused(await me(client, token)) == (401, "unauthenticated")
    # Neither what is remembered nor Valkey says so.
    forget(app)
    await app.state.resources.redis.delete(f"lm:rate:requests:{account.user['id']}")
    assert refused(await me(client, token)) == (401, "unauthenticated")
    later = await me(client, issuer.sign(sub=subject, email=account.email, iat=issuer.claims()["iat"] + 20))
    assert later.status_code == 200
    assert later.json()["id"] != account.user["id"]


async def test_a_role_counts_at_once(client: httpx.AsyncClient, issuer: Issuer, register_as: Any) -> None:
    admin, token = await register_as("admin"), issuer.sign()
    user = (await me(client, token)).json()
    queue, seen = "/api/v1/moderation/comments", []
    for role in ("moderator", "student"):
        path = f"/api/v1/admin/users/{user['id']}"
        changed = await client.patch(path, json={"role": role}, headers=admin.headers)
        assert changed.status_code == 200
        seen.append((await client.get(queue, headers=bearer(token))).status_code)
    assert seen == [200, 403]


async def test_requests_are_not_looked_up_one_by_one(
    app: FastAPI, client: httpx.AsyncClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = ForeignTokens.read, 0

    async def counted(self: ForeignTokens, token: str) -> Any:
        nonlocal calls
        calls += 1
        return await read(self, token)

    monkeypatch.setattr(ForeignTokens, "read", counted)
    token = issuer.sign()
    assert {(await me(client, token)).status_code for _ in range(5)} == {200}
    assert calls == 1
    (principal, until) = app.state.resources.foreign_tokens._known[token]
    assert 0 < until - issuer.claims()["iat"] <= KNOWN_S + 2
    app.state.resources.foreign_tokens._known[token] = principal, 0
    assert (await me(client, token)).status_code == 200
    assert calls == 2


async def test_an_issuer_that_is_away_is_no_error_of_ours(
    accepting: Any, client_of: Any, issuer: Issuer, account: Any
) -> None:
    async with accepting() as app, client_of(app) as client:
        issuer.status = 500
        try:
            answer = await me(client, issuer.sign())
            assert refused(answer) == (503, "unavailable")
            assert 1 <= int(answer.headers["retry-after"]) <= 30
            assert (await client.get(ME, headers=account.headers)).status_code == 200
            assert (await client.get("/livez", headers=bearer(issuer.sign()))).status_code == 200
        finally:
            issuer.status = 200


async def test_a_key_of_the_issuer_is_replaced(accepting: Any, client_of: Any, issuer: Issuer) -> None:
    kept = [*issuer.published]
    async with accepting(keys_pause_s=0.01) as app, client_of(app) as client:
        issuer.published[:] = [one for one in kept if one["kid"] != "EdDSA"]
        assert (await me(client, issuer.sign("EdDSA"))).status_code == 401
        await asyncio.sleep(0.02)
        issuer.published[:] = [one for one in kept if one["kid"] == "EdDSA"]
        assert (await me(client, issuer.sign("EdDSA"))).status_code == 200
        assert (await me(client, issuer.sign("ES256"))).status_code == 401
    issuer.published[:] = kept
