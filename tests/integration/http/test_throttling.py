"""Attempts by address, by account and by both, and whose address counts behind proxies."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.base import new_id
from little_monster.platform.settings import Settings
from tests.fixtures.watch import PASSWORD

LOGIN = "/api/v1/auth/login"
# Addresses of the public internet; those for documentation count as private.
PUBLIC, ELSEWHERE = "9.9.9.9", "8.8.4.4"


@pytest.fixture
def strict(settings: Settings) -> Callable[..., Settings]:
    def make(**api: Any) -> Settings:
        return Settings.model_validate({**dict(settings), "api": {**dict(settings.api), **api}})

    return make


def at(app: FastAPI, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def fresh() -> str:
    """Return an address of the public internet that no other test has."""
    return f"2600:{new_id().hex[-12:-8]}:{new_id().hex[-8:-4]}:{new_id().hex[-4:]}::1"


async def attempt(client: httpx.AsyncClient, email: str | None = None, **headers: str) -> httpx.Response:
    body = {"email": email or f"{new_id()}@example.com", "password": "wrong password"}
    return await client.post(LOGIN, json=body, headers=headers)


async def enter(client: httpx.AsyncClient, email: str) -> httpx.Response:
    return await client.post(LOGIN, json={"email": email, "password": PASSWORD})


async def test_one_address_tries_many_accounts(strict: Any, running: Any) -> None:
    async with running(strict(attempts_per_address_per_minute=4)) as app:
        network = fresh()
        async with at(app, network) as client, at(app, fresh()) as other:
            answers = [await attempt(client) for _ in range(6)]
            assert [answer.status_code for answer in answers] == [401] * 4 + [429] * 2
            assert answers[-1].headers["ratelimit-policy"] == '"address_attempts";q=4;w=60'
            assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
            assert (await attempt(other)).status_code == 401
        # The rest of its /64 is the same customer's.
        async with at(app, network.removesuffix("1") + "abcd:2") as neighbour:
            assert (await attempt(neighbour)).status_code == 429


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.7", "172.17.0.1"])
async def test_an_address_that_many_share_is_not_limited_by_itself(
    strict: Any, running: Any, address: str
) -> None:
    async with running(strict(attempts_per_address_per_minute=2)) as app, at(app, address) as client:
        assert {(await attempt(client)).status_code for _ in range(8)} == {401}


async def test_one_account_is_tried_from_many_addresses(strict: Any, running: Any, register: Any) -> None:
    account = await register()
    async with running(strict(login_attempts_per_account_per_minute=5)) as app:
        # At home, before the attack.
        async with at(app, PUBLIC) as home:
            assert (await enter(home, account.email)).status_code == 200
        answers = []
        for _ in range(8):
            async with at(app, fresh()) as stranger:
                answers.append(await attempt(stranger, account.email))
        assert [answer.status_code for answer in answers] == [401] * 4 + [429] * 4
        assert answers[-1].json()["code"] == "rate_limited"
        async with at(app, fresh()) as stranger:
            # Not even the right password is told from a wrong one there.
            assert (await enter(stranger, account.email)).status_code == 429
        async with at(app, "9.9.9.200") as home:
            assert (await attempt(home, account.email)).status_code == 401
            assert (await enter(home, account.email)).status_code == 200
        tokens = {"refresh_token": account.tokens["refresh_token"]}
        async with at(app, fresh()) as abroad:
            assert (await abroad.post("/api/v1/auth/refresh-token", json=tokens)).status_code == 200


async def test_an_account_that_there_is_none_of_is_limited_alike(strict: Any, running: Any) -> None:
    email, answers = f"{new_id()}@example.com", []
    async with running(strict(login_attempts_per_account_per_minute=2)) as app:
        for _ in range(4):
            async with at(app, fresh()) as stranger:
                answers.append((await attempt(stranger, email)).status_code)
    assert answers == [401, 401, 429, 429]


async def test_a_trusted_proxy_names_the_address(strict: Any, running: Any) -> None:
    given = strict(attempts_per_address_per_minute=2, trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"])
    async with running(given) as app, at(app, "127.0.0.1") as proxy:
        client, other = fresh(), fresh()
        answers = [
            await attempt(proxy, **{"X-Forwarded-For": value})
            for value in (
                client,
                # What the client wrote stands on the left, and what further proxies of ours added on the
                # right.
                f"{fresh()}, {client}, 10.0.0.7",
                f"{fresh()}, {client}",
                f"127.0.0.1, {client}",
                f"{client}, 10.0.0.7, 127.0.0.9",
            )
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 429, 429, 429]
        assert (await attempt(proxy, **{"X-Forwarded-For": f"{client}, {other}"})).status_code == 401
        # A private client that a proxy names is one client.
        named = [await attempt(proxy, **{"X-Forwarded-For": "192.168.7.7"}) for _ in range(3)]
        assert [answer.status_code for answer in named] == [401, 401, 429]


async def test_two_header_lines_are_one(strict: Any, running: Any) -> None:
    given = strict(attempts_per_address_per_minute=2, trusted_proxies=["127.0.0.1/32"])
    async with running(given) as app, at(app, "127.0.0.1") as proxy:
        client, statuses = fresh(), []
        for _ in range(3):
            body = {"email": f"{new_id()}@example.com", "password": "wrong password"}
            lines = [("X-Forwarded-For", fresh()), ("X-Forwarded-For", client)]
            statuses.append((await proxy.post(LOGIN, json=body, headers=lines)).status_code)
        assert statuses == [401, 401, 429]


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8"]])
async def test_nobody_else_names_an_address(strict: Any, running: Any, proxies: list[str]) -> None:
    given = strict(attempts_per_address_per_minute=2, trusted_proxies=proxies)
    async with running(given) as app, at(app, fresh()) as client:
        answers = [
            await attempt(
                client, **{"X-Forwarded-For": fresh(), "Forwarded": f"for={fresh()}", "X-Real-IP": "9.1.1.1"}
            )
            for _ in range(3)
        ]
        assert [answer.status_code for answer in answers] == [401, 401, 429]


async def test_a_session_remembers_the_network_that_the_proxy_named(
    strict: Any, running: Any, register: Any
) -> None:
    account = await register()
    async with running(strict(trusted_proxies=["127.0.0.1/32"])) as app, at(app, "127.0.0.1") as proxy:
        body = {"email": account.email, "password": PASSWORD}
        made = await proxy.post(LOGIN, json=body, headers={"X-Forwarded-For": f"1.1.1.1, {ELSEWHERE}"})
        headers = {"Authorization": f"Bearer {made.json()['tokens']['access_token']}"}
        items = (await proxy.get("/api/v1/auth/sessions", headers=headers)).json()["items"]
        assert items[0]["address_prefix"] == "8.8.4.0/24"


async def test_requests_without_a_token_are_counted_by_network(strict: Any, running: Any) -> None:
    async with running(strict(requests_per_minute=3)) as app:
        network, statuses = fresh().removesuffix("1"), []
        for host in range(5):
            async with at(app, f"{network}{host + 1}") as client:
                statuses.append((await client.get("/api/v1/users/me")).status_code)
    assert statuses == [401, 401, 401, 429, 429]
