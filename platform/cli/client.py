"""The API as the command line calls it: with the account's token, which it renews by itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
from httpx_sse import EventSource

from little_monster.platform.cli.credentials import Credentials, Keeper
from little_monster.platform.cli.problems import ApiProblem, ApiUnreachable, NotLoggedIn

_TIMEOUT = httpx.Timeout(60, connect=5)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event."""

    name: str
    data: dict[str, Any]


class ApiClient:
    """A logged-in client. Every method raises `ApiProblem`, `ApiUnreachable` or `NotLoggedIn`.

    Args:
        url: of the API.
        keeper: where the account's tokens are.
        transport: another way to the API, for tests.
    """

    def __init__(self, url: str, keeper: Keeper, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url, self._keeper = url, keeper
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, transport=transport)
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> "ApiClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def register(self, email: str, password: str, display_name: str) -> None:
        """Make an account and log in to it."""
        body = {"email": email, "password": password, "display_name": display_name}
        await self._enter("register", email, body)

    async def login(self, email: str, password: str, totp_code: str | None = None) -> None:
        """Log in; `totp_code` is of the authenticator application when the second factor is on."""
        second = {} if totp_code is None else {"totp_code": totp_code}
        await self._enter("login", email, {"email": email, "password": password, **second})

    async def _enter(self, how: str, email: str, body: dict[str, Any]) -> None:
        response = await self._send("POST", f"/api/v1/auth/{how}", json=body)
        self._keeper.save(Credentials.of(email, response.json()))

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Return a resource."""
        return await self._json("GET", path, params=params)

    async def post(self, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Post, and return the status and the body."""
        response = await self._authorised("POST", path, **options)
        return response.status_code, response.json()

    async def delete(self, path: str, **options: Any) -> None:
        """Delete a resource."""
        await self._authorised("DELETE", path, **options)

    async def pages(self, path: str, **params: Any) -> AsyncIterator[dict[str, Any]]:
        """Yield the items of a list, page by page."""
        cursor: str | None = None
        while True:
            page = await self.get(path, limit=100, **params, **({"cursor": cursor} if cursor else {}))
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if not cursor:
                return

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[StreamEvent]:
        """Post, and yield the events of the answer."""
        headers = {"Authorization": f"Bearer {await self._token()}", "Accept": "text/event-stream"}
        with _reachable(self.url):
            async with self._http.stream("POST", path, json=body, headers=headers) as response:
                if response.is_error:
                    await response.aread()
                    raise ApiProblem.of(response)
                async for event in EventSource(response).aiter_sse():
                    if event.data:  # `retry:` alone is no event.
                        yield StreamEvent(event.event, json.loads(event.data))

    @asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[httpx.Response]:
        """Open a file, whose bytes are still to come."""
        headers = {"Authorization": f"Bearer {await self._token()}"}
        with _reachable(self.url):
            async with self._http.stream("GET", path, headers=headers) as response:
                if response.is_error:
                    await response.aread()
                    raise ApiProblem.of(response)
                yield response

    async def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        body: dict[str, Any] = (await self._authorised(method, path, **options)).json()
        return body

    async def _authorised(self, method: str, path: str, **options: Any) -> httpx.Response:
        token = await self._token()
        return await self._send(method, path, headers={"Authorization": f"Bearer {token}"}, **options)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with _reachable(self.url):
            response = await self._http.request(method, path, **options)
        if response.is_error:
            raise ApiProblem.of(response)
        return response

    async def _token(self) -> str:
        async with self._renewing:
            credentials = self._keeper.load()
            if credentials is None:
                raise NotLoggedIn
            if not credentials.fresh():
                credentials = await self._renew()
            return credentials.access_token

    async def _renew(self) -> Credentials:
        with self._keeper.locked():
            credentials = self._keeper.load()
            if credentials is None:
                raise NotLoggedIn
            if credentials.fresh():  # Another process has just renewed it.
                return credentials
            body = {"refresh_token": credentials.refresh_token}
            try:
                response = await self._send("POST", "/api/v1/auth/refresh-token", json=body)
            except ApiProblem as problem:
                if problem.status != httpx.codes.UNAUTHORIZED:
                    raise
                self._keeper.save(None)
                raise NotLoggedIn("Your log-in has ended") from None
            renewed = Credentials.of(credentials.email, response.json())
            self._keeper.save(renewed)
            return renewed


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    """Turn a failed connection into `ApiUnreachable`."""
    try:
        yield
    except httpx.TransportError as error:
        raise ApiUnreachable(url, error) from None
