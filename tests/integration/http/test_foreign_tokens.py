"""Tokens of another issuer: which are good, which are not, and that all of those look alike."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from fastapi import FastAPI

from little_monster.platform.settings import Settings
from tests.fixtures.issuers import AUDIENCE, KEYS, Issuer, bearer, jwk_of, serve_issuer

ME = "/api/v1/users/me"
SECRET = "an-old-project-has-a-shared-secret-0123456789"
OTHER_RSA = rsa.generate_private_key(65537, 2048)
OTHER_EC = ec.generate_private_key(ec.SECP256R1())
OTHER_ED = ed25519.Ed25519PrivateKey.generate()
P384 = ec.generate_private_key(ec.SECP384R1())
SMALL = rsa.generate_private_key(65537, 1024)


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with serve_issuer() as issuer:
        issuer.published += [
            jwk_of(P384, "ES256", kid="p384"),
            jwk_of(SMALL, "RS256", kid="small"),
            jwk_of(OTHER_RSA, "RS256", kid="for encryption") | {"use": "enc"},
            jwk_of(OTHER_RSA, "RS256", kid="RS512", alg="RS512"),
            jwk_of(OTHER_RSA, "RS256", kid="PS256", alg="PS256"),
            {"kty": "oct", "kid": "secret", "k": encoded(SECRET.encode()), "alg": "HS256"},
            {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
            {"kty": "EC", "crv": "P-256", "kid": "no point", "x": "AA", "y": "AA"},
            {"kty": "unheard of", "kid": "unheard of"},
            {"kid": ["list"]},
            "no key",  # type: ignore[list-item]
        ]
        yield issuer


@pytest.fixture(scope="module")
def with_issuers(settings: Settings) -> Callable[..., Settings]:
    def make(*issuers: dict[str, Any]) -> Settings:
        auth = {**dict(settings.auth), "issuers": [*issuers]}
        return Settings.model_validate({**dict(settings), "auth": auth})

    return make


@asynccontextmanager
async def _open(running: Any, client_of: Any, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(settings) as app, client_of(app) as client:
        yield client


@pytest.fixture
async def accepting(
    running: Any, client_of: Any, with_issuers: Any, issuer: Issuer
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that accepts the issuer."""
    async with _open(running, client_of, with_issuers(issuer.settings(keys_pause_s=600))) as client:
        yield client


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def by_hand(head: Any, payload: Any, key: bytes = b"") -> str:
    """Return a token of any header and payload, signed with HS256."""
    texts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (head, payload)]
    signing_input = ".".join(map(encoded, texts))
    return f"{signing_input}.{encoded(hmac.digest(key, signing_input.encode(), hashlib.sha256))}"


def pem(algorithm: str) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    made: bytes = KEYS[algorithm].public_key().public_bytes(encoding, form)
    return made


def der(algorithm: str) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    made: bytes = KEYS[algorithm].public_key().public_bytes(encoding, form)
    return made


def now(**shift: float) -> int:
    return int((datetime.now(UTC) + timedelta(**shift)).timestamp())


def parts(token: str, **changes: str) -> str:
    head, body, signature = token.split(".")
    return ".".join({"head": head, "body": body, "signature": signature, **changes}.values())


def unsigned(i: Issuer, alg: str) -> str:
    return by_hand({"alg": alg, "kid": "ES256"}, i.claims()).rpartition(".")[0] + "."


def confused(i: Issuer, key: bytes, kid: str = "RS256", alg: str = "HS256") -> str:
    return by_hand({"alg": alg, "typ": "JWT", "kid": kid}, i.claims(), key)


def raw(i: Issuer, payload: bytes, algorithm: str = "ES256") -> str:
    """Sign any payload rightly."""
    signing_input = f"{encoded(json.dumps({'alg': algorithm, 'kid': algorithm}).encode())}.{encoded(payload)}"
    made = jwt.get_algorithm_by_name(algorithm)
    return f"{signing_input}.{encoded(made.sign(signing_input.encode(), KEYS[algorithm]))}"


def with_claim(i: Issuer, name: str, value: str) -> str:
    """Sign claims of which one is a piece of JSON."""
    text = json.dumps(i.claims(**{name: "@"})).replace('"@"', value)
    return raw(i, text.encode())


FORGERIES: dict[str, Callable[[Issuer], str | bytes]] = {
    # Algorithm.
    "alg none": lambda i: unsigned(i, "none"),
    "alg None": lambda i: unsigned(i, "None"),
    "alg nOnE": lambda i: unsigned(i, "nOnE"),
    "alg empty": lambda i: unsigned(i, ""),
    "alg is a number": lambda i: by_hand({"alg": 256, "kid": "ES256"}, i.claims()),
    "alg is a list": lambda i: by_hand({"alg": ["ES256"], "kid": "ES256"}, i.claims()),
    "no alg": lambda i: by_hand({"kid": "ES256"}, i.claims()),
    "HS256 with the public key as PEM": lambda i: confused(i, pem("RS256")),
    "HS256 with the public key as DER": lambda i: confused(i, der("RS256")),
    "HS256 with the public key of P-256": lambda i: confused(i, pem("ES256"), "ES256"),
    "HS256 with the public key of Ed25519": lambda i: confused(i, pem("EdDSA"), "EdDSA"),
    "HS256 with the JWK": lambda i: confused(i, json.dumps(i.published[2]).encode()),
    "HS256 with nothing": lambda i: confused(i, b""),
    "HS256 with a symmetric key that is published": lambda i: confused(i, SECRET.encode(), "secret"),
    "RS256 said, HS256 done": lambda i: confused(i, pem("RS256"), alg="RS256"),
    "RS384 with the right key": lambda i: jwt.encode(
        i.claims(), KEYS["RS256"], "RS384", headers={"kid": "RS256"}
    ),
    "RS512 with the right key": lambda i: jwt.encode(
        i.claims(), KEYS["RS256"], "RS512", headers={"kid": "RS256"}
    ),
    "PS256 with the right key": lambda i: jwt.encode(
        i.claims(), KEYS["RS256"], "PS256", headers={"kid": "RS256"}
    ),
    "RS256 with a key for PS256": lambda i: i.sign("RS256", key=OTHER_RSA, header={"kid": "PS256"}),
    "RS512 with a key for it": lambda i: jwt.encode(i.claims(), OTHER_RSA, "RS512", headers={"kid": "RS512"}),
    "ES384 with a published key": lambda i: jwt.encode(i.claims(), P384, "ES384", headers={"kid": "p384"}),
    "RS256 with a short key": lambda i: i.sign("RS256", key=SMALL, header={"kid": "small"}),
    "another algorithm's key": lambda i: i.sign("EdDSA", header={"kid": "ES256"}),
    # Key.
    "other RSA key": lambda i: i.sign("RS256", key=OTHER_RSA),
    "other P-256 key": lambda i: i.sign("ES256", key=OTHER_EC),
    "other Ed25519 key": lambda i: i.sign("EdDSA", key=OTHER_ED),
    "a key for encryption": lambda i: i.sign("RS256", key=OTHER_RSA, header={"kid": "for encryption"}),
    "kid is unknown": lambda i: i.sign(header={"kid": uuid4().hex}),
    "no kid": lambda i: by_hand({"alg": "ES256"}, i.claims()),
    "kid is a number": lambda i: by_hand({"alg": "ES256", "kid": 7}, i.claims()),
    "kid is a list": lambda i: by_hand({"alg": "ES256", "kid": ["ES256"]}, i.claims()),
    "kid is an object": lambda i: by_hand({"alg": "ES256", "kid": {"a": 1}}, i.claims()),
    "kid is null": lambda i: by_hand({"alg": "ES256", "kid": None}, i.claims()),
    "kid is a path": lambda i: i.sign(header={"kid": "../../dev/null"}, key=OTHER_EC),
    "kid is SQL": lambda i: i.sign(header={"kid": "' OR '1'='1"}, key=OTHER_EC),
    "kid is a URL": lambda i: i.sign(header={"kid": f"{i.url}/jwks"}, key=OTHER_EC),
    "kid of a broken key": lambda i: i.sign("RS256", header={"kid": "broken"}),
    "kid in another case": lambda i: i.sign(header={"kid": "es256"}),
    "jwk in the header": lambda i: i.sign(
        key=OTHER_EC, header={"jwk": jwk_of(OTHER_EC, "ES256", kid="ES256")}
    ),
    "jku in the header": lambda i: i.sign(key=OTHER_EC, header={"jku": f"{i.url}/evil"}),
    "x5u in the header": lambda i: i.sign(key=OTHER_EC, header={"x5u": f"{i.url}/evil"}),
    "x5c in the header": lambda i: i.sign(key=OTHER_EC, header={"x5c": [encoded(der("ES256"))]}),
    "jku and a kid of one's own": lambda i: i.sign(
        key=OTHER_EC, header={"jku": f"{i.url}/evil", "kid": "evil"}
    ),
    "crit": lambda i: i.sign(header={"crit": ["exp"]}),
    "crit of what nobody knows": lambda i: i.sign(header={"crit": ["nobody"], "nobody": 1}),
    "b64 false": lambda i: i.sign(header={"crit": ["b64"], "b64": False}),
    # Issuer and audience.
    "other issuer": lambda i: i.sign(iss="https://evil.example.com"),
    "issuer with a slash": lambda i: i.sign(iss=i.url + "/"),
    "issuer in another case": lambda i: i.sign(iss=i.url.upper()),
    "issuer is a list": lambda i: with_claim(i, "iss", f'["{i.url}"]'),
    "issuer is ours": lambda i: i.sign(iss="little-monster"),
    "no issuer": lambda i: i.sign(iss=None),
    "other audience": lambda i: i.sign(aud="anon"),
    "other audiences": lambda i: i.sign(aud=["anon", "service_role"]),
    "audience is an object": lambda i: i.sign(aud={AUDIENCE: 1}),
    "no audience": lambda i: i.sign(aud=None),
    # Time.
    "expired": lambda i: i.sign(exp=now(seconds=-31)),
    "expired long ago": lambda i: i.sign(exp=1),
    "no expiry": lambda i: i.sign(exp=None),
    "expiry is a word": lambda i: with_claim(i, "exp", '"tomorrow"'),
    "expiry is infinite": lambda i: with_claim(i, "exp", "1e999"),
    "expiry is no number": lambda i: with_claim(i, "exp", "NaN"),
    "not before the future": lambda i: i.sign(nbf=now(minutes=5)),
    "issued in the future": lambda i: i.sign(iat=now(minutes=5)),
    "issued before the calendar": lambda i: with_claim(i, "iat", "-1e18"),
    "no time of issue": lambda i: i.sign(iat=None),
    # Subject.
    "no subject": lambda i: i.sign(sub=None),
    "subject is empty": lambda i: i.sign(sub=""),
    "subject is a number": lambda i: with_claim(i, "sub", "7"),
    "subject is a list": lambda i: with_claim(i, "sub", "[]"),
    "subject holds NUL": lambda i: i.sign(sub="a\x00b"),
    "subject is half of a character": lambda i: with_claim(i, "sub", r'"\ud800"'),
    "subject is too long": lambda i: i.sign(sub="x" * 256),
    # Shape.
    "claims are a list": lambda i: raw(i, b"[]"),
    "claims are no JSON": lambda i: raw(i, b"{iss}"),
    "claims are nested too deep": lambda i: raw(i, b'{"iss":' + b"[" * 8000),
    "header is nested too deep": lambda i: f"{encoded(b'[' * 9000)}.e30.e30",
    "payload changed": lambda i: parts(
        i.sign(), body=encoded(json.dumps(i.claims(email="admin@example.com")).encode())
    ),
    "signature of another token": lambda i: parts(i.sign(), signature=i.sign().split(".")[2]),
    "signature empty": lambda i: parts(i.sign(), signature=""),
    "signature of zeros": lambda i: parts(i.sign(), signature=encoded(bytes(64))),
    "signature cut": lambda i: i.sign()[:-5],
    "four parts": lambda i: i.sign() + ".e30",
    "encrypted": lambda i: i.sign() + ".e30.e30",
    "huge": lambda i: i.sign(pad="x" * 20_000),
    "no text": lambda i: i.sign().encode() + b"\xff",
}


def test_there_are_enough() -> None:
    assert len(FORGERIES) >= 40


@pytest.fixture(scope="module")
async def shared_app(
    settings: Settings, with_issuers: Any, issuer: Issuer, app_of: Any
) -> AsyncIterator[FastAPI]:
    app = app_of(with_issuers(issuer.settings(keys_pause_s=600)))
    async with app.router.lifespan_context(app):
        yield app


@pytest.mark.parametrize("name", FORGERIES)
async def test_forgeries_are_answered_alike(
    shared_app: FastAPI, client_of: Any, issuer: Issuer, name: str
) -> None:
    token = FORGERIES[name](issuer)
    value = b"Bearer " + (token if isinstance(token, bytes) else token.encode())
    async with client_of(shared_app) as client:
        # Keys are known, so that a forgery is judged by them.
        assert (await client.get(ME, headers=bearer(issuer.sign()))).status_code == 200
        without = await client.get(ME)
        response = await client.get(ME, headers={b"Authorization": value})
    assert (response.status_code, without.status_code) == (401, 401)
    assert response.headers["www-authenticate"] == "Bearer"
    assert _without_id(response) == _without_id(without)
    assert {*issuer.fetched} == {"/jwks"}


async def test_no_forgery_has_made_an_account(shared_app: FastAPI, client_of: Any, issuer: Issuer) -> None:
    """The faults are faults: without them the same claims are good."""
    async with client_of(shared_app) as client:
        for token in (raw(issuer, json.dumps(issuer.claims()).encode()), with_claim(issuer, "name", "7")):
            assert (await client.get(ME, headers=bearer(token))).status_code == 200


@pytest.mark.parametrize("algorithm", KEYS)
async def test_each_kind_of_key(accepting: httpx.AsyncClient, issuer: Issuer, algorithm: str) -> None:
    token = issuer.sign(algorithm, aud=["another", AUDIENCE], nbf=now(seconds=20), exp=now(seconds=-20))
    shown = await accepting.get(ME, headers=bearer(token))
    assert shown.status_code == 200, shown.text


async def test_an_algorithm_that_is_not_listed(
    running: Any, client_of: Any, with_issuers: Any, issuer: Issuer
) -> None:
    settings = with_issuers(issuer.settings(algorithms=["RS256"]))
    async with _open(running, client_of, settings) as client:
        assert (await client.get(ME, headers=bearer(issuer.sign("ES256")))).status_code == 401
        assert (await client.get(ME, headers=bearer(issuer.sign("RS256")))).status_code == 200


async def test_an_old_project_with_a_shared_secret(
    running: Any, client_of: Any, with_issuers: Any, issuer: Issuer
) -> None:
    url = "https://old.supabase.co/auth/v1"
    given = {"issuer": url, "audience": AUDIENCE, "algorithms": ["HS256"], "secret": SECRET}
    async with _open(running, client_of, with_issuers(given)) as client:
        for token, status in (
            (jwt.encode(issuer.claims(iss=url), SECRET, "HS256"), 200),
            (jwt.encode(issuer.claims(iss=url), SECRET, "HS512"), 401),
            (jwt.encode(issuer.claims(iss=url), SECRET[:-1] + "x", "HS256"), 401),
            (issuer.sign(iss=url), 401),
            (unsigned(issuer, "none"), 401),
        ):
            assert (await client.get(ME, headers=bearer(token))).status_code == status


async def test_one_issuer_does_not_sign_for_another(
    running: Any, client_of: Any, with_issuers: Any, issuer: Issuer
) -> None:
    async with serve_issuer() as other:
        other.published = [jwk_of(OTHER_EC, "ES256", kid="ES256")]
        settings = with_issuers(issuer.settings(), other.settings(audience="other"))
        async with _open(running, client_of, settings) as client:
            good = other.sign(key=OTHER_EC, aud="other")
            assert (await client.get(ME, headers=bearer(good))).status_code == 200
            for token in (
                issuer.sign(key=OTHER_EC),
                other.sign(aud="other"),
                other.sign(key=OTHER_EC),
                issuer.sign(aud="other"),
            ):
                assert (await client.get(ME, headers=bearer(token))).status_code == 401


async def test_without_issuers_nothing_is_accepted(client: httpx.AsyncClient, issuer: Issuer) -> None:
    before = issuer.fetched.total()
    assert (await client.get(ME, headers=bearer(issuer.sign()))).status_code == 401
    assert issuer.fetched.total() == before


async def test_our_own_tokens_stay_good(accepting: httpx.AsyncClient, account: Any) -> None:
    shown = await accepting.get(ME, headers=account.headers)
    assert shown.json()["id"] == account.user["id"]


def _without_id(response: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    body.pop("request_id")
    return body
