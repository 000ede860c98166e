"""A token that is not good is answered in one way, whatever is wrong with it."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from fastapi import FastAPI

from little_monster.platform.security import Principal

SECRET = "0123456789abcdef0123456789abcdef"


def claims(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    good = {
        "iss": "little-monster",
        "aud": "little-monster-api",
        "typ": "access",
        "sub": str(uuid4()),
        "role": "student",
        "iat": now,
        "exp": now + timedelta(minutes=5),
        "jti": "1",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(key: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm)


def tampered() -> str:
    head, _, signature = signed().split(".")
    payload = json.dumps({**claims(iat=1, exp=4102444800), "role": "admin"}).encode()
    return ".".join([head, base64.urlsafe_b64encode(payload).decode().rstrip("="), signature])


def unsigned() -> str:
    return jwt.encode(claims(), None, "none")


BAD_TOKENS = {
    "expired": signed(exp=datetime.now(UTC) - timedelta(seconds=1)),
    "not yet issued": signed(iat=datetime.now(UTC) + timedelta(hours=1)),
    "alg none": unsigned(),
    "alg none, signature kept": unsigned() + signed().split(".")[2],
    "other key": signed(key="x" * 32),
    "other algorithm": signed(key="x" * 64, algorithm="HS512"),
    "right key, other algorithm": signed(key=SECRET * 2, algorithm="HS384"),
    "wrong audience": signed(aud="another"),
    "wrong issuer": signed(iss="another"),
    "wrong type": signed(typ="refresh"),
    "no type": signed(typ=None),
    "no expiry": signed(exp=None),
    "subject is no id": signed(sub="ada"),
    "tampered payload": tampered(),
    "garbage": "garbage",
    "three dots": "a.b.c",
    "empty": "",
    "long": "x" * 10_000,
}


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_bad_tokens_are_answered_alike(client: httpx.AsyncClient, name: str) -> None:
    without = await client.get("/api/v1/users/me")
    response = await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {BAD_TOKENS[name]}"})
    assert (response.status_code, without.status_code) == (401, 401)
    assert response.headers["www-authenticate"] == "Bearer"
    assert _without_id(response) == _without_id(without)


async def test_other_schemes_are_answered_alike(client: httpx.AsyncClient) -> None:
    good = signed()
    for header in (f"Basic {good}", f"Token {good}", good, "Bearer"):
        response = await client.get("/api/v1/users/me", headers={"Authorization": header})
        assert response.status_code == 401
        assert response.json()["code"] == "unauthenticated"


def test_issued_token_names_its_key_and_can_be_read(app: FastAPI) -> None:
    tokens = app.state.resources.tokens
    principal = Principal(uuid4(), "moderator")
    token = tokens.issue(principal)
    assert tokens.read(token) == principal
    assert jwt.get_unverified_header(token)["kid"]
    found = jwt.decode(token, options={"verify_signature": False})
    assert set(found) == {"iss", "aud", "typ", "sub", "role", "iat", "exp", "jti"}


def _without_id(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    body.pop("request_id")
    return body
