"""Passwords and tokens: how they are made, and how what a client shows is checked.

Passwords are argon2id (RFC 9106) with OWASP's parameters of 2024: 19 MiB, two passes, one lane. Access
tokens are JSON Web Tokens (RFC 7519) that live minutes and need no look-up; refresh tokens, personal access
tokens and the codes of e-mails are 32 random bytes of which only a digest is kept.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import jwt
from argon2 import PasswordHasher as Argon2
from argon2.exceptions import Argon2Error, InvalidHashError

from little_monster.platform.access_keys import access_keys, signing_secrets
from little_monster.platform.errors import Unauthenticated
from little_monster.platform.settings import AuthSettings

PERSONAL_TOKEN_PREFIX = "lmp_"
"""What personal access tokens begin with, so that people and scanners for leaked secrets know them."""
# Some 2 MB; checking a signature again costs a tenth of a short request.
MAX_KNOWN_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request; `role` is student, moderator or admin. `scopes` narrow down what a personal access
    token is good for; None, for somebody who logged in, does not. `session_id` is the log-in; there is none
    where another issuer vouches for it (`foreign`), whose tokens end by themselves."""

    user_id: UUID
    role: str
    session_id: UUID | None = None
    scopes: frozenset[str] | None = None
    foreign: bool = False


class PasswordHasher:
    """Hashes passwords in threads, at most `concurrency` at once: each takes 19 MiB and some 20 ms of a
    core."""

    def __init__(self, concurrency: int) -> None:
        self._argon2 = Argon2(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._slots = asyncio.Semaphore(concurrency)
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Return the encoded hash of `password`, with a salt of its own."""
        async with self._slots:
            return await asyncio.to_thread(self._argon2.hash, password)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Say whether `password` belongs to `encoded`; None, for an unknown user, or nothing, for one who has
        no password, costs the same and is False."""
        if not encoded:
            return await self._refuse(password)
        async with self._slots:
            return await asyncio.to_thread(self._matches, encoded, password)

    async def _refuse(self, password: str) -> bool:
        if self._decoy is None:
            self._decoy = await self.hash(secrets.token_urlsafe(16))
        async with self._slots:
            await asyncio.to_thread(self._matches, self._decoy, password)
        return False

    async def warm_up(self) -> None:
        """Make the decoy hash, so that not even the first unknown user can be told from a known one by
        time."""
        await self._refuse("")

    def _matches(self, encoded: str, password: str) -> bool:
        try:
            return self._argon2.verify(encoded, password)
        except (Argon2Error, InvalidHashError):
            return False


class AccessTokens:
    """Issues and reads access tokens. Every token names its key (`kid`), and the key its one algorithm.

    New ones are signed with the private key, or without one with the secret; those that the previous keys of
    the same kind signed are still read.

    Raises:
        ConfigurationError: there is no secret, or a key cannot be used.
    """

    def __init__(self, settings: AuthSettings) -> None:
        keys = access_keys(settings)
        self._signing, self._first = keys.signing, keys.reading[0]
        self._keys = {key.id: key for key in keys.reading}
        self._secret = signing_secrets(settings)[0]
        self.public_keys = [key.jwk for key in keys.reading if key.jwk is not None]
        self._issuer, self._audience = settings.issuer, settings.audience
        self._known: dict[str, tuple[Principal, int]] = {}
        # A hash for every line of the log would cost more than the line.
        self.pseudonym = lru_cache(MAX_KNOWN_TOKENS)(self._pseudonym)
        self.lifetime = timedelta(minutes=settings.access_token_minutes)

    def issue(self, principal: Principal, now: datetime | None = None) -> str:
        """Return a token for `principal` that lives `lifetime` from `now` on."""
        issued = now or datetime.now(UTC)
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "typ": "access",
            "sub": str(principal.user_id),
            "role": principal.role,
            "iat": issued,
            "exp": issued + self.lifetime,
            "jti": secrets.token_hex(16),
        }
        if principal.session_id is not None:
            claims["sid"] = str(principal.session_id)
        return jwt.encode(claims, self._signing, self._first.algorithm, headers={"kid": self._first.id})

    def read(self, token: str) -> Principal:
        """Return whom the token was issued to. One that was found good is remembered until it expires.

        Raises:
            Unauthenticated: it is expired, forged, or none of ours; the message is the same for each.
        """
        principal, expires = self._known.get(token, (None, 0))
        if principal is not None and expires > time.time():
            return principal
        principal, expires = self._verify(token)
        if len(self._known) >= MAX_KNOWN_TOKENS:
            self._known.clear()
        self._known[token] = principal, expires
        return principal

    def _verify(self, token: str) -> tuple[Principal, int]:
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["iss", "aud", "typ", "sub", "role", "iat", "exp", "jti"]},
            )
            if claims["typ"] != "access":
                raise invalid_token()
            session_id = UUID(claims["sid"]) if "sid" in claims else None
            return Principal(UUID(claims["sub"]), str(claims["role"]), session_id), int(claims["exp"])
        except (jwt.InvalidTokenError, LookupError, ValueError, TypeError, AttributeError):
            raise invalid_token() from None

    def _pseudonym(self, user_id: UUID) -> str:
        """Return 16 hex digits that stand for a user in logs: stable, and not to be turned back without the
        secret."""
        return hmac.digest(self._secret, b"log:" + user_id.bytes, "sha256").hex()[:16]


def invalid_token() -> Unauthenticated:
    """Return the one error for every token that is missing, expired or forged."""
    return Unauthenticated("A valid access token is needed: log in, or refresh the token.")


def new_token() -> str:
    """Return a refresh token, or the code of an e-mail: 32 random bytes, URL-safe text."""
    return secrets.token_urlsafe(32)


def new_personal_token() -> str:
    """Return a personal access token: `lmp_` and 32 random bytes."""
    return PERSONAL_TOKEN_PREFIX + new_token()


def digest_token(token: str) -> bytes:
    """Return what is kept of a token: its SHA-256 (32 bytes). A fast hash is right, as the token is
    random."""
    return hashlib.sha256(token.encode()).digest()
