"""A token that is not good is answered in one way, whatever is wrong with it.

Each forgery has one fault: but for it, the token would be good. Those that are signed with the right key are
no attacks; they show that each check is made by itself.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import FastAPI
from pydantic import SecretStr

from little_monster.platform.errors import ConfigurationError, Unauthenticated
from little_monster.platform.security import AccessTokens, Principal
from little_monster.platform.settings import AuthSettings

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


def key_id(secret: str) -> str:
    return hmac.digest(secret.encode(), b"key id", "sha256").hex()[:12]


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims with some changed, and those that are None left out."""
    now = datetime.now(UTC)
    good = {
        "iss": "little-monster",
        "aud": "little-monster-api",
        "typ": "access",
        "sub": str(uuid4()),
        "sid": str(uuid4()),
        "role": "student",
        "iat": now,
        "exp": now + timedelta(days=1),
        "jti": "1",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str | None = "HS256", kid: Any = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid or key_id(SECRET)})


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def by_hand(header: bytes | dict[str, Any], payload: bytes, *, key: str = SECRET) -> str:
    """Return a token of any header and payload with a right HS256 signature."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    signing_input = f"{encoded(head)}.{encoded(payload)}"
    signature = hmac.digest(key.encode(), signing_input.encode(), hashlib.sha256)
    return f"{signing_input}.{encoded(signature)}"


def header(**changes: Any) -> dict[str, Any]:
    good = {"alg": "HS256", "typ": "JWT", "kid": key_id(SECRET)}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def payload(**changes: Any) -> bytes:
    now = int(datetime.now(UTC).timestamp())
    return json.dumps(claims(**{"iat": now, "exp": now + 86_400, **changes})).encode()


def parts(token: str, **changes: str) -> str:
    head, body, signature = token.split(".")
    found = {"head": head, "body": body, "signature": signature, **changes}
    return ".".join(found.values())


def unsigned() -> str:
    return jwt.encode(claims(), None, "none", headers={"kid": key_id(SECRET)})


def past() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=1)


def future() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


# Made when the tests are collected, and used when their turn comes.
GOOD = signed()
FORGERIES: dict[str, Callable[[], str | bytes]] = {
    # Time.
    "expired": lambda: signed(exp=past()),
    "expired long ago": lambda: signed(exp=1),
    "issued in the future": lambda: signed(iat=future()),
    "not before the future": lambda: signed(nbf=future()),
    "expiry is a word": lambda: by_hand(header(), payload(exp="tomorrow")),
    "expiry is a list": lambda: by_hand(header(), payload(exp=[4102444800])),
    "not before is a word": lambda: by_hand(header(), payload(nbf="now")),
    # Algorithm.
    "alg none": unsigned,
    "alg none, signature kept": lambda: unsigned() + GOOD.split(".")[2],
    "alg None": lambda: parts(GOOD, head=encoded(json.dumps(header(alg="None")).encode()), signature=""),
    "alg nOnE": lambda: by_hand(header(alg="nOnE"), payload()),
    "no alg": lambda: by_hand(header(alg=None), payload()),
    "alg is a number": lambda: by_hand(header(alg=256), payload()),
    "alg is empty": lambda: by_hand(header(alg=""), payload()),
    "HS384 with the right key": lambda: signed(algorithm="HS384"),
    "HS512 with the right key": lambda: signed(algorithm="HS512"),
    "HS256 said, HS512 done": lambda: parts(
        signed(algorithm="HS512"), head=encoded(json.dumps(header()).encode())
    ),
    "RS256": lambda: signed(rsa.generate_private_key(65537, 2048), "RS256"),
    "ES256": lambda: signed(ec.generate_private_key(ec.SECP256R1()), "ES256"),
    # Key.
    "other key": lambda: signed(OTHER),
    "other key under its own id": lambda: signed(OTHER, kid=key_id(OTHER)),
    "right key, other id": lambda: signed(kid=key_id(OTHER)),
    "no key id": lambda: by_hand(header(kid=None), payload()),
    "key id is a number": lambda: by_hand(header(kid=7), payload()),
    "key id is a list": lambda: by_hand(header(kid=[key_id(SECRET)]), payload()),
    "key id is a path": lambda: by_hand(header(kid="../../../dev/null"), payload(), key=""),
    "key id is SQL": lambda: by_hand(header(kid="' OR '1'='1"), payload()),
    "key in the header": lambda: by_hand(
        header(jwk={"kty": "oct", "k": encoded(OTHER.encode())}, jku="http://127.0.0.1/"),
        payload(),
        key=OTHER,
    ),
    "empty key": lambda: by_hand(header(), payload(), key=""),
    "key id as the key": lambda: by_hand(header(), payload(), key=key_id(SECRET)),
    # Claims.
    "wrong audience": lambda: signed(aud="another"),
    "wrong audiences": lambda: signed(aud=["another", "third"]),
    "wrong issuer": lambda: signed(iss="another"),
    "issuer is a prefix": lambda: signed(iss="little"),
    "wrong type": lambda: signed(typ="refresh"),
    "subject is no id": lambda: signed(sub="ada"),
    "subject is a number": lambda: by_hand(header(), payload(sub=7)),
    "subject is SQL": lambda: signed(sub=f"{uuid4()}' OR '1'='1"),
    "session is no id": lambda: signed(sid="all"),
    "session is a number": lambda: by_hand(header(), payload(sid=7)),
    **{
        f"no {name}": lambda name=name: signed(**{name: None})  # type: ignore[misc]
        for name in ("iss", "aud", "typ", "sub", "role", "iat", "exp", "jti")
    },
    "no claims": lambda: by_hand(header(), b"{}"),
    "claims are a list": lambda: by_hand(header(), b"[]"),
    "claims are a word": lambda: by_hand(header(), b'"admin"'),
    "claims are null": lambda: by_hand(header(), b"null"),
    "claims are no JSON": lambda: by_hand(header(), b"{role: admin}"),
    "claims are no UTF-8": lambda: by_hand(header(), b"\xff\xfe"),
    # Tampering.
    "role raised": lambda: parts(GOOD, body=encoded(payload(role="admin"))),
    "signature of another token": lambda: parts(GOOD, signature=signed().split(".")[2]),
    "signature cut": lambda: GOOD[:-4],
    "signature empty": lambda: parts(GOOD, signature=""),
    "signature changed": lambda: parts(GOOD, signature=encoded(bytes(32))),
    "payload cut": lambda: parts(GOOD, body=GOOD.split(".")[1][:-3]),
    "header cut": lambda: parts(GOOD, head=GOOD.split(".")[0][:-3]),
    "two parts": lambda: GOOD.rpartition(".")[0],
    "four parts": lambda: GOOD + ".e30",
    "encrypted": lambda: GOOD + ".e30.e30",
    # Encoding.
    "base64 of the other alphabet": lambda: parts(GOOD, signature="++++//" + GOOD.split(".")[2][6:]),
    "signature is no base64": lambda: parts(GOOD, signature="!" * 43),
    "length that base64 does not have": lambda: parts(GOOD, signature="A"),
    "percent": lambda: GOOD.replace(".", "%2E"),
    "space inside": lambda: GOOD.replace(".", ". "),
    "unicode": lambda: "ключ.ключ.ключ".encode(),
    "unicode dots": lambda: GOOD.replace(".", "\u2024").encode(),
    "unicode appended": lambda: GOOD.encode() + "é".encode(),
    "bytes that are no text": lambda: b"\xff\xfe\xfd.\xff.\xff",
    "header nested too deep": lambda: f"{encoded(b'[' * 30_000)}.e30.e30",
    "header is an array": lambda: by_hand(b"[]", payload()),
    "header is huge": lambda: by_hand(header(pad="x" * 40_000), payload(), key=OTHER),
    "huge": lambda: "x" * 60_000,
    "many dots": lambda: "." * 30_000,
    "garbage": lambda: "garbage",
    "three letters": lambda: "a.b.c",
    "two dots": lambda: "..",
    "empty": lambda: "",
    "null": lambda: "null",
    "quoted": lambda: f'"{GOOD}"',
    "the secret itself": lambda: SECRET,
}


def test_there_are_enough() -> None:
    assert len(FORGERIES) >= 40


async def test_without_its_fault_a_forgery_is_good(app: FastAPI) -> None:
    tokens = app.state.resources.tokens
    for token in (GOOD, signed(), by_hand(header(), payload())):
        assert tokens.read(token).role == "student"


@pytest.mark.parametrize("name", FORGERIES)
async def test_forgeries_are_answered_alike(client: httpx.AsyncClient, name: str) -> None:
    token = FORGERIES[name]()
    value = b"Bearer " + (token if isinstance(token, bytes) else token.encode())
    without = await client.get("/api/v1/users/me")
    response = await client.get("/api/v1/users/me", headers={b"Authorization": value})
    assert (response.status_code, without.status_code) == (401, 401)
    assert response.headers["www-authenticate"] == "Bearer"
    assert _without_id(response) == _without_id(without)


async def test_other_schemes_are_answered_alike(client: httpx.AsyncClient) -> None:
    good = signed()
    for header_ in (f"Basic {good}", f"Token {good}", good, "Bearer"):
        response = await client.get("/api/v1/users/me", headers={"Authorization": header_})
        assert response.status_code == 401
        assert response.json()["code"] == "unauthenticated"


def test_issued_token_names_its_key_and_can_be_read(app: FastAPI) -> None:
    tokens = app.state.resources.tokens
    principal = Principal(uuid4(), "moderator", uuid4())
    token = tokens.issue(principal)
    assert tokens.read(token) == principal
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": key_id(SECRET)}
    found = jwt.decode(token, options={"verify_signature": False})
    assert set(found) == {"iss", "aud", "typ", "sub", "sid", "role", "iat", "exp", "jti"}
    assert UUID(found["sid"]) == principal.session_id


def made(secret: str, *previous: str) -> AccessTokens:
    keys = [SecretStr(one) for one in previous]
    return AccessTokens(AuthSettings(secret=SecretStr(secret), previous_secrets=keys))


def test_after_a_rotation_old_tokens_are_read_and_new_ones_signed_with_the_new_key() -> None:
    principal = Principal(uuid4(), "student", uuid4())
    old = made(SECRET).issue(principal)
    rotated = made(OTHER, SECRET)
    assert rotated.read(old) == principal
    new = rotated.issue(principal)
    assert jwt.get_unverified_header(new)["kid"] == key_id(OTHER)
    assert made(OTHER).read(new) == principal
    for tokens, token in ((made(SECRET), new), (made(OTHER), old)):
        with pytest.raises(Unauthenticated):
            tokens.read(token)


def test_a_previous_key_does_not_vouch_for_the_present_one() -> None:
    rotated = made(OTHER, SECRET)
    for key, kid in ((SECRET, OTHER), (OTHER, SECRET)):
        with pytest.raises(Unauthenticated):
            rotated.read(signed(key, kid=key_id(kid)))


def test_previous_secrets_must_be_long() -> None:
    with pytest.raises(ConfigurationError, match="LM_AUTH__PREVIOUS_SECRETS"):
        made(SECRET, "short")


def _without_id(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    body.pop("request_id")
    return body
