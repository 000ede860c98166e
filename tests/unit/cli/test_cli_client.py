"""The API client of the command line: tokens that renew themselves, problems in one line, events."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.credentials import Credentials, FileKeeper, MemoryKeeper
from little_monster.platform.cli.problems import ApiProblem, ApiUnreachable, NotLoggedIn

URL = "http://api"
TOKENS = {"access_token": "new", "refresh_token": "r2", "expires_in": 900}


def client(answer: Callable[[httpx.Request], httpx.Response], keeper: MemoryKeeper | FileKeeper) -> ApiClient:
    return ApiClient(URL, keeper, httpx.MockTransport(answer))


def keeper(expires_in: float = 900) -> MemoryKeeper:
    kept = MemoryKeeper()
    kept.save(Credentials("ada@example.com", "old", "r1", time.time() + expires_in))
    return kept


async def test_a_fresh_token_is_sent() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.url.path} {request.headers.get('authorization')}")
        return httpx.Response(200, json={})

    async with client(answer, keeper()) as api:
        await api.get("/api/v1/users/me")
    assert seen == ["/api/v1/users/me Bearer old"]


async def test_an_old_token_is_renewed_first_and_kept() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.url.path} {request.headers.get('authorization', '-')}")
        return httpx.Response(200, json=TOKENS)

    kept = keeper(expires_in=5)
    async with client(answer, kept) as api:
        await api.get("/a")
        await api.get("/b")
    assert seen == ["/api/v1/auth/refresh-token -", "/a Bearer new", "/b Bearer new"]
    saved = kept.load()
    assert saved is not None
    assert saved.refresh_token == "r2"


async def test_a_token_that_another_process_renewed_is_taken() -> None:
    class Renewed(MemoryKeeper):
        @contextmanager
        def locked(self) -> Iterator[None]:
            self.save(Credentials("ada@example.com", "theirs", "r9", time.time() + 900))
            yield

    kept = Renewed()
    kept.save(Credentials("ada@example.com", "old", "r1", 0))
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={})

    async with client(answer, kept) as api:
        await api.get("/a")
    assert seen == ["Bearer theirs"], "a refresh token that is used twice would end the log-in"


async def test_a_log_in_that_has_ended_is_forgotten() -> None:
    kept = keeper(expires_in=0)
    async with client(lambda _: httpx.Response(401, json={"code": "unauthenticated"}), kept) as api:
        with pytest.raises(NotLoggedIn, match="has ended"):
            await api.get("/a")
    assert kept.load() is None


async def test_no_account_is_said_before_anything_is_sent() -> None:
    async with client(lambda _: pytest.fail("sent"), MemoryKeeper()) as api:
        with pytest.raises(NotLoggedIn, match="little-monster login"):
            await api.get("/a")


@pytest.mark.parametrize("nested", [True, False])
async def test_logging_in_keeps_the_tokens(nested: bool) -> None:
    kept = MemoryKeeper()
    body = {"user": {}, "tokens": TOKENS} if nested else {"user": {}, **TOKENS}
    async with client(lambda _: httpx.Response(200, json=body), kept) as api:
        await api.login("ada@example.com", "password")
    saved = kept.load()
    assert saved is not None
    assert (saved.email, saved.access_token) == ("ada@example.com", "new")
    assert saved.fresh()


async def test_a_problem_is_one_line_with_its_code() -> None:
    problem = {
        "title": "Invalid input",
        "detail": "The request breaks a rule.",
        "code": "invalid_input",
        "errors": [{"field": "body.email", "message": "is no address"}],
    }
    async with client(lambda _: httpx.Response(422, json=problem), keeper()) as api:
        with pytest.raises(ApiProblem) as raised:
            await api.get("/a")
    assert str(raised.value) == "The request breaks a rule. body.email: is no address (invalid_input)"


async def test_a_proxys_error_page_is_a_problem_too() -> None:
    async with client(lambda _: httpx.Response(502, text="<html>"), keeper()) as api:
        with pytest.raises(ApiProblem, match=r"HTTP 502 \(http_502\)"):
            await api.get("/a")


async def test_an_api_that_is_away_says_how_to_start_it() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with client(refuse, keeper()) as api:
        with pytest.raises(ApiUnreachable, match="make up"):
            await api.get("/a")


async def test_events_come_by_name_and_heartbeats_do_not() -> None:
    frames = [
        "retry: 2000",
        'event: delta\ndata: {"text": "Hi"}',
        ": heartbeat",
        "id: 2\nevent: done\ndata: {}",
    ]
    text = "".join(f"{frame}\n\n" for frame in frames)
    headers = {"content-type": "text/event-stream"}
    async with client(lambda _: httpx.Response(200, text=text, headers=headers), keeper()) as api:
        events = [(event.name, event.data) async for event in api.stream("/a", {})]
    assert events == [("delta", {"text": "Hi"}), ("done", {})]


async def test_a_refused_stream_is_a_problem() -> None:
    async with client(lambda _: httpx.Response(404, json={"code": "not_found"}), keeper()) as api:
        with pytest.raises(ApiProblem, match="not_found"):
            [event async for event in api.stream("/a", {})]


async def test_pages_are_followed_to_the_end() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        last = request.url.params.get("cursor") == "c"
        return httpx.Response(200, json={"items": [2] if last else [1], "next_cursor": None if last else "c"})

    async with client(answer, keeper()) as api:
        assert [item async for item in api.pages("/list")] == [1, 2]


def test_the_file_of_tokens_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "little-monster" / "credentials.json"
    mine, other = FileKeeper(URL, path), FileKeeper("http://other", path)
    account = Credentials("ada@example.com", "a", "r", 1.0)
    mine.save(account)
    other.save(account)
    mine.save(None)
    assert (mine.load(), other.load()) == (None, account)
    assert path.stat().st_mode & 0o777 == 0o600
    with other.locked():
        pass
    path.write_text("torn {")
    assert other.load() is None
