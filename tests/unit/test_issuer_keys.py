"""When the keys of another issuer are fetched, and what becomes of those that are known."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from little_monster.platform import issuer_keys
from little_monster.platform.errors import ConfigurationError, Unavailable
from little_monster.platform.issuer_keys import MAX_BYTES, FetchedKeys
from little_monster.platform.settings import IssuerSettings, load_settings
from tests.fixtures.issuers import Issuer, serve_issuer

LIFETIME_S, PAUSE_S = 1000.0, 10.0


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with serve_issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


def keys_of(issuer: Issuer, clock: Clock, **more: Any) -> FetchedKeys:
    given = {"keys_lifetime_s": LIFETIME_S, "keys_pause_s": PAUSE_S, **more}
    return FetchedKeys(IssuerSettings(**issuer.settings(**given)), clock)


async def settled(keys: FetchedKeys) -> None:
    """Return when what was begun is done."""
    if keys._fetching is not None:
        await keys._fetching


async def test_one_fetch_serves_all_who_come_at_once(issuer: Issuer, clock: Clock) -> None:
    keys = keys_of(issuer, clock)
    found = await asyncio.gather(*(keys.find(name) for name in ("ES256", "RS256", "EdDSA") * 20))
    assert {key.algorithm for key in found if key} == {"ES256", "RS256", "EdDSA"}
    assert issuer.fetched == {"/jwks": 1}


async def test_unknown_keys_cause_no_storm(issuer: Issuer, clock: Clock) -> None:
    keys = keys_of(issuer, clock)
    assert await keys.find("ES256")
    assert {await keys.find(f"forged {number}") for number in range(500)} == {None}
    assert issuer.fetched["/jwks"] == 1
    clock.now += PAUSE_S
    found = await asyncio.gather(*(keys.find(f"forged {number}") for number in range(500)))
    assert {*found} == {None}
    assert issuer.fetched["/jwks"] == 2


async def test_who_gives_up_does_not_start_the_fetch_anew(issuer: Issuer, clock: Clock) -> None:
    keys = keys_of(issuer, clock)
    for _ in range(20):
        asking = asyncio.create_task(keys.find("ES256"))
        await asyncio.sleep(0)
        asking.cancel()
    assert await keys.find("ES256")
    assert issuer.fetched["/jwks"] == 1


async def test_a_new_key_is_found_and_an_old_one_forgotten(issuer: Issuer, clock: Clock) -> None:
    keys = keys_of(issuer, clock)
    old = issuer.published.pop(0)
    assert await keys.find("ES256")
    issuer.published[:] = [old]
    assert await keys.find(old["kid"]) is None
    clock.now += PAUSE_S
    assert await keys.find(old["kid"])
    assert await keys.find("ES256") is None


async def test_keys_are_fetched_anew_before_they_end_and_nobody_waits(issuer: Issuer, clock: Clock) -> None:
    keys = keys_of(issuer, clock)
    assert await keys.find("ES256")
    clock.now += LIFETIME_S / 2 - 1
    assert await keys.find("ES256")
    assert keys._fetching is None
    clock.now += 2
    assert await keys.find("ES256")
    assert issuer.fetched["/jwks"] == 1
    await settled(keys)
    assert issuer.fetched["/jwks"] == 2


async def test_an_issuer_that_is_away(issuer: Issuer, clock: Clock) -> None:
    keys = keys_of(issuer, clock)
    assert await keys.find("ES256")
    issuer.status = 500
    clock.now += LIFETIME_S - 1
    assert await keys.find("ES256")
    await settled(keys)
    assert await keys.find("ES256")
    with pytest.raises(Unavailable) as caught:
        await keys.find("perhaps a new one")
    assert caught.value.retry_after_s == round(PAUSE_S)
    clock.now += 2
    with pytest.raises(Unavailable) as caught:
        await keys.find("ES256")
    assert caught.value.retry_after_s == round(PAUSE_S) - 2
    assert issuer.fetched["/jwks"] == 2
    issuer.status = 200
    clock.now += PAUSE_S
    assert await keys.find("ES256")
    assert await keys.find("forged") is None


async def test_nobody_answers(clock: Clock) -> None:
    settings = IssuerSettings(issuer="http://127.0.0.1:1", audience="a", keys_pause_s=PAUSE_S)
    with pytest.raises(Unavailable):
        await FetchedKeys(settings, clock).find("ES256")


async def test_discovery(issuer: Issuer, clock: Clock) -> None:
    keys = keys_of(issuer, clock, jwks_url=None)
    assert await keys.find("ES256")
    assert issuer.fetched == {"/.well-known/openid-configuration": 1, "/jwks": 1}


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example.com"},
        {"jwks_uri": None},
        {"jwks_uri": "http://metadata.example.com/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "//[broken"},
    ],
)
async def test_discovery_of_something_else(issuer: Issuer, clock: Clock, discovery: Any) -> None:
    issuer.discovery = discovery
    with pytest.raises(Unavailable):
        await keys_of(issuer, clock, jwks_url=None).find("ES256")
    assert issuer.fetched == {"/.well-known/openid-configuration": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'{"keys": {}}',
        b"<html>",
        b"\xff",
        b"[" * 100_000,
        json.dumps({"keys": [], "pad": "x" * MAX_BYTES}).encode(),
    ],
    ids=lambda body: body[:12],
)
async def test_what_is_no_set_of_keys_is_as_nothing(issuer: Issuer, clock: Clock, body: bytes) -> None:
    keys = keys_of(issuer, clock)
    assert await keys.find("ES256")
    issuer.body = body
    clock.now += PAUSE_S
    with pytest.raises(Unavailable):
        await keys.find("new")
    assert await keys.find("ES256")


@pytest.mark.parametrize(
    ("status", "headers"),
    [(302, [(b"location", b"/jwks")]), (200, [(b"content-encoding", b"gzip")]), (404, [])],
)
async def test_no_redirect_is_followed_and_nothing_is_unpacked(
    issuer: Issuer, clock: Clock, status: int, headers: Any
) -> None:
    issuer.status, issuer.headers = status, headers
    with pytest.raises(Unavailable):
        await keys_of(issuer, clock).find("ES256")
    assert issuer.fetched == {"/jwks": 1}


async def test_a_slow_issuer_is_given_up(
    issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("little_monster.platform.issuer_keys.TIMEOUT_S", 0.2)
    monkeypatch.setattr(Issuer, "__call__", lambda *_: asyncio.sleep(2))
    with pytest.raises(Unavailable):
        await keys_of(issuer, clock).find("ES256")


async def test_an_issuer_elsewhere_points_at_nothing_on_this_machine(
    issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = "https://accounts.example.com", []

    async def get_json(_client: Any, asked_url: str) -> Any:
        asked.append(asked_url)
        return {"issuer": url, "jwks_uri": f"{issuer.url}/jwks"}

    monkeypatch.setattr(issuer_keys, "_get_json", get_json)
    with pytest.raises(Unavailable):
        await FetchedKeys(IssuerSettings(issuer=url, audience="a"), clock).find("ES256")
    assert asked == [f"{url}/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://accounts.example.com"},
        {"issuer": "accounts.example.com"},
        {"issuer": "https://"},
        {"issuer": "http://127.0.0.1.example.com"},
        {"jwks_url": "http://accounts.example.com/jwks"},
        {"jwks_url": "file:///jwks"},
        {"audience": ""},
        {"algorithms": []},
        {"algorithms": ["none"]},
        {"algorithms": ["HS256"]},
        {"algorithms": ["HS256", "RS256"], "secret": "s" * 32},
        {"algorithms": ["HS256"], "secret": "short"},
        {"secret": "s" * 32},
        {"leeway_s": 3600},
    ],
)
def test_settings_that_are_not_safe(wrong: Any) -> None:
    good = {"issuer": "https://accounts.example.com", "audience": "a"}
    assert IssuerSettings(**good)
    with pytest.raises(ValidationError):
        IssuerSettings(**{**good, **wrong})


def test_no_issuer_stands_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"issuer": "https://accounts.example.com", "audience": "a"}
    monkeypatch.setenv("LM_AUTH__ISSUERS", json.dumps([one]))
    assert load_settings().auth.issuers == [IssuerSettings(**one)]
    monkeypatch.setenv("LM_AUTH__ISSUERS", json.dumps([one, {**one, "audience": "b"}]))
    with pytest.raises(ConfigurationError, match="LM_AUTH"):
        load_settings()
    monkeypatch.setenv("LM_AUTH__ISSUERS", json.dumps([one]))
    monkeypatch.setenv("LM_AUTH__ISSUER", one["issuer"])
    with pytest.raises(ConfigurationError, match="LM_AUTH"):
        load_settings()
