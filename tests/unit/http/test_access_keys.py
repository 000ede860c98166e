"""Access tokens that a private key signs: who reads them, which are refused, and what the world is shown."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from fastapi import FastAPI
from pydantic import SecretStr

from little_monster.platform.errors import ConfigurationError, Unauthenticated
from little_monster.platform.http.app import create_app
from little_monster.platform.resources import Resources, open_resources
from little_monster.platform.security import AccessTokens, Principal
from little_monster.platform.settings import AuthSettings, Settings

SECRET = "0123456789abcdef0123456789abcdef"
KEYS: dict[str, Any] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(65537, 2048),
}
OTHERS: dict[str, Any] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(65537, 2048),
}
each_algorithm = pytest.mark.parametrize("algorithm", list(KEYS))


def private_pem(key: Any) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem: bytes = key.private_bytes(encoding, form, serialization.NoEncryption())
    return pem.decode()


def public_pem(key: Any) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    pem: bytes = key.public_key().public_bytes(encoding, form)
    return pem.decode()


def auth(key: Any, *previous: Any) -> AuthSettings:
    return AuthSettings(
        secret=SecretStr(SECRET),
        private_key=SecretStr(private_pem(key)),
        previous_public_keys=[public_pem(one) for one in previous],
    )


def made(key: Any, *previous: Any) -> AccessTokens:
    return AccessTokens(auth(key, *previous))


def someone() -> Principal:
    return Principal(uuid4(), "student", uuid4())


@each_algorithm
def test_a_token_names_its_key_and_is_checked_with_what_is_shown(algorithm: str) -> None:
    tokens, principal = made(KEYS[algorithm]), someone()
    token = tokens.issue(principal)
    assert tokens.read(token) == principal
    (shown,) = tokens.public_keys
    header = jwt.get_unverified_header(token)
    assert header == {"alg": algorithm, "typ": "JWT", "kid": shown["kid"]}
    claims = jwt.decode(token, jwt.PyJWK(shown), algorithms=[algorithm], audience="little-monster-api")
    assert claims["sub"] == str(principal.user_id)


@each_algorithm
def test_nothing_private_is_shown(algorithm: str) -> None:
    (shown,) = made(KEYS[algorithm]).public_keys
    members = {"EdDSA": {"crv", "x"}, "ES256": {"crv", "x", "y"}, "RS256": {"n", "e"}}[algorithm]
    assert set(shown) == {"kty", "use", "alg", "kid"} | members
    assert (shown["use"], shown["alg"]) == ("sig", algorithm)


def test_the_name_of_a_key_is_its_thumbprint() -> None:
    """The example of RFC 8037, appendix A.3."""
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    (shown,) = made(ed25519.Ed25519PrivateKey.from_private_bytes(seed)).public_keys
    assert shown["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("before", list(KEYS))
@each_algorithm
def test_after_a_rotation_old_tokens_are_read(algorithm: str, before: str) -> None:
    old, principal = made(OTHERS[before]).issue(someone()), someone()
    rotated = made(KEYS[algorithm], OTHERS[before])
    assert rotated.read(old).role == "student"
    new = rotated.issue(principal)
    assert made(KEYS[algorithm]).read(new) == principal
    assert [key["alg"] for key in rotated.public_keys] == [algorithm, before]
    with pytest.raises(Unauthenticated):
        made(KEYS[algorithm]).read(old)


def claims(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    good = {
        "iss": "little-monster",
        "aud": "little-monster-api",
        "typ": "access",
        "sub": str(uuid4()),
        "role": "admin",
        "iat": now,
        "exp": now + timedelta(minutes=5),
        "jti": "1",
    }
    return {**good, **changes}


def key_id(key: Any) -> str:
    return str(made(key).public_keys[0]["kid"])


def signed(key: Any, algorithm: str | None, kid: str, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid})


def hmac_with(key: bytes, kid: str) -> str:
    """Sign with a public key as if it were a secret, which PyJWT itself refuses to do."""
    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    now = int(datetime.now(UTC).timestamp())
    body = json.dumps(claims(iat=now, exp=now + 300)).encode()
    parts = [base64.urlsafe_b64encode(one).rstrip(b"=") for one in (json.dumps(header).encode(), body)]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(b".".join(parts), key)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


SECRET_ID = hmac.digest(SECRET.encode(), b"key id", "sha256").hex()[:12]
ED, RSA = KEYS["EdDSA"], KEYS["RS256"]
# Of an application whose key is `ED`, and was `RSA` before.
FORGERIES: dict[str, Callable[[], str]] = {
    "none": lambda: signed(None, "none", key_id(ED)),
    "the secret": lambda: signed(SECRET, "HS256", SECRET_ID),
    "the secret under the key's name": lambda: signed(SECRET, "HS256", key_id(ED)),
    "the public PEM as a secret": lambda: hmac_with(public_pem(ED).encode(), key_id(ED)),
    "the previous public PEM as a secret": lambda: hmac_with(public_pem(RSA).encode(), key_id(RSA)),
    "the public bytes as a secret": lambda: hmac_with(ED.public_key().public_bytes_raw(), key_id(ED)),
    "another key": lambda: signed(OTHERS["EdDSA"], "EdDSA", key_id(ED)),
    "another key under its own name": lambda: signed(OTHERS["EdDSA"], "EdDSA", key_id(OTHERS["EdDSA"])),
    "the previous key under the present name": lambda: signed(RSA, "RS256", key_id(ED)),
    "the present key under the previous name": lambda: signed(ED, "EdDSA", key_id(RSA)),
    "RS512 with the right key": lambda: signed(RSA, "RS512", key_id(RSA)),
    "PS256 with the right key": lambda: signed(RSA, "PS256", key_id(RSA)),
    "another curve": lambda: signed(ec.generate_private_key(ec.SECP384R1()), "ES384", key_id(ED)),
    "a key in the header": lambda: jwt.encode(
        claims(),
        OTHERS["EdDSA"],
        "EdDSA",
        headers={"kid": key_id(ED), "jwk": made(OTHERS["EdDSA"]).public_keys[0], "jku": "http://127.0.0.1/"},
    ),
    "no key id": lambda: jwt.encode(claims(), ED, "EdDSA"),
    "expired": lambda: signed(ED, "EdDSA", key_id(ED), exp=datetime.now(UTC) - timedelta(seconds=1)),
    "another audience": lambda: signed(ED, "EdDSA", key_id(ED), aud="another"),
    "another issuer": lambda: signed(ED, "EdDSA", key_id(ED), iss="another"),
    "another type": lambda: signed(ED, "EdDSA", key_id(ED), typ="refresh"),
}


@pytest.fixture(scope="module")
async def signing_app(settings: Settings) -> AsyncIterator[FastAPI]:
    away: Any = SimpleNamespace()
    given = settings.model_copy(update={"auth": auth(ED, RSA)})

    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        async with open_resources(
            given, chat_models={}, embedder=away, retriever=away, moderator=away, index=away
        ) as opened:
            yield opened

    app = create_app(resources)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def asker(signing_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=signing_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def test_without_its_fault_a_forgery_is_good(signing_app: FastAPI) -> None:
    for key, algorithm in ((ED, "EdDSA"), (RSA, "RS256")):
        token = signed(key, algorithm, key_id(key))
        assert signing_app.state.resources.tokens.read(token).role == "admin"


@pytest.mark.parametrize("name", FORGERIES)
async def test_forgeries_are_answered_alike(asker: httpx.AsyncClient, name: str) -> None:
    token = FORGERIES[name]()
    without = await asker.get("/api/v1/users/me")
    forged = await asker.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert (forged.status_code, forged.headers["www-authenticate"]) == (401, "Bearer")
    assert {**forged.json(), "request_id": ""} == {**without.json(), "request_id": ""}


async def test_the_keys_are_public(asker: httpx.AsyncClient) -> None:
    response = await asker.get("/.well-known/jwks.json")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "public, max-age=300"
    assert [key["kid"] for key in response.json()["keys"]] == [key_id(ED), key_id(RSA)]


async def test_with_a_secret_there_are_none(client: httpx.AsyncClient) -> None:
    response = await client.get("/.well-known/jwks.json")
    assert (response.status_code, response.json()["code"]) == (404, "no_keys")


WEAK = {
    "garbage": "garbage",
    "a public key": public_pem(ED),
    "a short RSA key": private_pem(rsa.generate_private_key(65537, 1024)),
    "P-384": private_pem(ec.generate_private_key(ec.SECP384R1())),
    "DSA": private_pem(dsa.generate_private_key(2048)),
}


@pytest.mark.parametrize("name", WEAK)
def test_a_key_that_cannot_be_used_is_named_and_not_shown(name: str) -> None:
    settings = AuthSettings(secret=SecretStr(SECRET), private_key=SecretStr(WEAK[name]))
    with pytest.raises(ConfigurationError, match="LM_AUTH__PRIVATE_KEY: an Ed25519") as caught:
        AccessTokens(settings)
    assert "garbage" not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_a_previous_key_must_be_public_and_good() -> None:
    for pem in ("garbage", private_pem(ED)):
        settings = auth(ED).model_copy(update={"previous_public_keys": [pem]})
        with pytest.raises(ConfigurationError, match="LM_AUTH__PREVIOUS_PUBLIC_KEYS: an Ed25519"):
            AccessTokens(settings)


def test_a_key_may_stand_on_one_line() -> None:
    settings = AuthSettings(
        secret=SecretStr(SECRET), private_key=SecretStr(private_pem(ED).replace("\n", "\\n"))
    )
    assert AccessTokens(settings).public_keys == made(ED).public_keys
