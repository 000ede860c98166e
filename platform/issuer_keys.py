"""The public keys of another issuer of tokens: fetched when they are needed, and kept for a while.

PyJWT's own client waits for the network in the event loop, and fetches for each key that it does not know;
its parser of keys is used here.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httpx
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from little_monster.platform.access_keys import ReadingKey, algorithm_of
from little_monster.platform.errors import Unavailable
from little_monster.platform.settings import IssuerSettings, is_safe_url

MAX_BYTES = 256 * 1024
MAX_KEYS = 100
TIMEOUT_S = 5.0

_DISCOVERY = "/.well-known/openid-configuration"

_log = structlog.get_logger(__name__)


class IssuerKeys(Protocol):
    """What checks the signatures of an issuer."""

    async def find(self, key_id: object, /) -> ReadingKey | None:
        """Return the key that a token names; None when the issuer has none of that name.

        Raises:
            Unavailable: the issuer does not answer, and no key of it is known or it may be a new one.
        """


class SharedSecret:
    """The secret of an issuer that has no other key, whatever its tokens name."""

    def __init__(self, secret: str) -> None:
        self._key = ReadingKey("", "HS256", secret.encode())

    async def find(self, _key_id: object, /) -> ReadingKey | None:
        return self._key


class FetchedKeys:
    """The keys that an issuer publishes. They are fetched at most once in `keys_pause_s`, so that forged
    tokens with keys of their own cause no storm; an issuer that is away is not missed before
    `keys_lifetime_s` is over.

    Args:
        clock: seconds that only rise.
    """

    def __init__(self, issuer: IssuerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._clock = issuer, clock
        self._keys: dict[str, ReadingKey] = {}
        self._fetched = self._tried = float("-inf")
        self._away = False
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: object, /) -> ReadingKey | None:
        if not isinstance(key_id, str):
            return None
        key = self._known(key_id)
        if key is None:
            await self._refresh()
            key = self._known(key_id)
        elif self._age() > self._issuer.keys_lifetime_s / 2:
            # Nobody waits for what is only due.
            self._start()
        if key is None and (self._away or self._age() > self._issuer.keys_lifetime_s):
            wait = self._tried + self._issuer.keys_pause_s - self._clock()
            raise Unavailable(
                "The issuer of this token does not answer now. Try again soon.",
                retry_after_s=max(1, round(wait)),
            )
        return key

    def _known(self, key_id: str) -> ReadingKey | None:
        return self._keys.get(key_id) if self._age() <= self._issuer.keys_lifetime_s else None

    def _age(self) -> float:
        return self._clock() - self._fetched

    async def _refresh(self) -> None:
        self._start()
        if self._fetching is not None:
            # A request that is given up does not end the fetch that others wait for.
            await asyncio.shield(self._fetching)

    def _start(self) -> None:
        """Begin a fetch, unless there is one, or was one a moment ago."""
        if self._fetching is None and self._clock() - self._tried >= self._issuer.keys_pause_s:
            self._tried = self._clock()
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                self._keys = dict(_read_keys(await self._get_keys()))
            self._fetched, self._away = self._clock(), False
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, RecursionError) as error:
            self._away = True
            _log.warning("issuer_away", issuer=self._issuer.issuer, error=type(error).__name__)
        finally:
            self._fetching = None

    async def _get_keys(self) -> Any:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            url = self._issuer.jwks_url or await self._discover(client)
            return await _get_json(client, url)

    async def _discover(self, client: httpx.AsyncClient) -> str:
        """Return where the keys are (OpenID Connect Discovery 1.0, section 4)."""
        issuer = self._issuer.issuer
        found = await _get_json(client, issuer.rstrip("/") + _DISCOVERY)
        url = found.get("jwks_uri") if isinstance(found, dict) and found.get("issuer") == issuer else None
        if not isinstance(url, str) or not is_safe_url(url):
            raise ValueError("no discovery document of this issuer")
        if issuer.startswith("https:") and not url.startswith("https:"):
            raise ValueError("an issuer elsewhere has no keys on this machine")
        return url


async def _get_json(client: httpx.AsyncClient, url: str) -> Any:
    """Return what is at `url`, which must be no redirect, and not larger than `MAX_BYTES`."""
    # What was compressed would tell its size too late.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = b""
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code != httpx.codes.OK or "content-encoding" in response.headers:
            raise ValueError(f"status {response.status_code}")
        async for part in response.aiter_raw():
            body += part
            if len(body) > MAX_BYTES:
                raise ValueError("too large")
    return json.loads(body)


def _read_keys(document: Any) -> Iterator[tuple[str, ReadingKey]]:
    """Yield the keys of a JWK set (RFC 7517) that sign tokens, each with the one algorithm that it is for.

    Raises:
        ValueError: it is no JWK set.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("no JWK set")
    for jwk in keys[:MAX_KEYS]:
        key = _read_key(jwk) if isinstance(jwk, dict) else None
        if key is not None:
            yield key.id, key


def _read_key(jwk: dict[str, Any]) -> ReadingKey | None:
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or jwk.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(jwk).key
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    # None for a symmetric one: a secret that is published is none.
    algorithm = algorithm_of(key)
    if algorithm is None or jwk.get("alg", algorithm) != algorithm:
        return None
    return ReadingKey(key_id, algorithm, key)
