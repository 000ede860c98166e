"""After a walk over all routes, good and bad, nothing personal stands in a log line, a metric or an error."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.repositories import users
from little_monster.platform.logs import setup_logs
from little_monster.platform.rate_limits import Decision
from little_monster.platform.settings import TelemetrySettings
from tests.fixtures.operations import Operation, operations, replaced, texts
from tests.fixtures.watch import WATCH


@dataclass(frozen=True)
class Canary:
    """Somebody whose every trait is a word that stands nowhere else."""

    email: str
    password: str
    name: str
    access_token: str = ""
    refresh_token: str = ""
    personal_token: str = ""

    @property
    def secrets(self) -> dict[str, str]:
        """By the name of the field that takes it."""
        return {
            "email": self.email,
            "password": self.password,
            "current_password": self.password,
            "new_password": self.password,
            "display_name": self.name,
            "refresh_token": self.refresh_token,
        }

    @property
    def words(self) -> list[str]:
        local = self.email.partition("@")[0]
        whole = [self.email, local, local.partition("$")[0], self.password, self.name, self.name.split()[1]]
        # The signature is what makes a token worth stealing; its head is the same in each.
        signature = self.access_token.rpartition(".")[2]
        tokens = (self.access_token, signature, self.refresh_token, self.personal_token)
        return [word for word in (*whole, *tokens) if word]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(log_level="DEBUG"), stream)
    yield stream
    WATCH.hear()


@asynccontextmanager
async def _visitor(client: httpx.AsyncClient) -> AsyncIterator[Canary]:
    mark = uuid4().hex[:12]
    body = {
        "email": f"o'canary!{mark}$mail@example.com",
        "password": f"canary password {mark} Pq7",
        "display_name": f"Canaria Quietbird{mark}",
    }
    made = (await client.post("/api/v1/auth/register", json=body)).json()
    tokens = made["tokens"]
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    wanted = {"name": "script", "scopes": ["read", "write"]}
    personal = (await client.post("/api/v1/auth/tokens", json=wanted, headers=headers)).json()["token"]
    yield Canary(
        body["email"],
        body["password"],
        body["display_name"],
        tokens["access_token"],
        tokens["refresh_token"],
        personal,
    )


# Texts that a body with anything else in them is refused for.
_CHOSEN = {"subject", "difficulty", "type", "status", "scopes", "time_zone", "recurrence", "role"}
_CHOSEN |= {"start_date", "end_date", "exdates", "video_id", "code", "avatar_color", "document_ids"}


def _bodies(operation: Operation, canary: Canary, ids: dict[str, str]) -> Iterator[bytes | None]:
    """Yield bodies that hold all that there is to hide: good ones, wrong ones, broken ones."""
    if operation.path.endswith("/import"):
        yield from _calendars(canary)
    if operation.example is None:
        yield None
        return
    good = operation.example
    kept = {**good, **{name: ids[name] for name in good.keys() & ids.keys()}}
    for place in texts(good):
        if place[-1] != "model":
            word = canary.secrets.get(str(place[-1]), canary.name)
            good = replaced(good, place, word)
            kept = kept if _CHOSEN & {*map(str, place)} else replaced(kept, place, word)
    yield json.dumps(kept).encode()
    yield json.dumps(good).encode()
    yield json.dumps({**good, "unknown": canary.secrets}).encode()
    yield json.dumps(good).encode()[:-1]
    yield json.dumps([good]).encode()
    for name, value in good.items():
        yield json.dumps({**good, name: [value]}).encode()
        yield json.dumps({**good, name: f"{value}\x00"}).encode()
        if isinstance(value, str):
            yield json.dumps({**good, name: f"{value} {value} " * 40}).encode()


def _calendars(canary: Canary) -> Iterator[bytes]:
    # The answer says by its UID, to who sent the file, which event cannot be kept.
    good = f"UID:{uuid4()}\r\nATTENDEE:mailto:{canary.email}\r\nLOCATION:{canary.email}\r\n"
    good += f"DTSTART:20261019T091500Z\r\nSUMMARY:{canary.name}\r\n"
    for lines in (
        good,
        good.replace("20261019", canary.name),
        f"{good}RRULE:{canary.name}\r\n",
        f"{good}EXDATE;TZID={canary.name}:{canary.email}\r\n",
        f"{good}SUMMARY:{canary.name}\x00\r\n",
        f"{good}{canary.password}\r\n",
        f"{good}SUMMARY:{canary.name * 200}\r\n",
    ):
        event = f"BEGIN:VEVENT\r\n{lines}END:VEVENT\r\n"
        yield f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{event}END:VCALENDAR\r\n".encode()
    yield canary.name.encode()


def _headers(canary: Canary) -> Iterator[dict[str, str]]:
    good = {"Authorization": f"Bearer {canary.access_token}", "Content-Type": "application/json"}
    yield good
    for forged, request_id in (
        (f"Bearer {canary.access_token}x", canary.personal_token),
        (f"Basic {canary.access_token}", canary.refresh_token),
        (canary.access_token, canary.name.split()[1]),
        (f"Bearer {canary.refresh_token}", canary.email),
    ):
        yield {**good, "Authorization": forged, "X-Request-ID": request_id}
    yield {
        **good,
        "X-Request-ID": canary.access_token,
        "Idempotency-Key": canary.access_token,
        "If-Match": f'"{canary.access_token}"',
        "If-None-Match": f'"{canary.email}"',
        "X-Password": f"{canary.password} no",
        "Origin": f"https://{canary.refresh_token}.example",
        "User-Agent": canary.name,
    }


async def _walk(client: httpx.AsyncClient, app: FastAPI, canary: Canary) -> list[httpx.Response]:
    answers = []
    ids = await _things(client, canary)
    for operation in operations(app.openapi()):
        ends = operation.method == "DELETE" and "/users/" in operation.path
        logs_out = operation.path.endswith(("/logout", "/logout-everywhere"))
        if ends or logs_out:
            continue  # Last, below: they would end the visit.
        for path in _paths(operation, canary, ids):
            for headers in _headers(canary):
                for content in _bodies(operation, canary, ids):
                    sent = client.request(operation.method, path, content=content, headers=headers)
                    answers.append(await sent)
    return answers


async def _things(client: httpx.AsyncClient, canary: Canary) -> dict[str, str]:
    """Make what the visitor then changes."""
    headers = {"Authorization": f"Bearer {canary.access_token}"}
    made: dict[str, str] = {}
    for name, path, body in (
        ("video_id", "videos", {"title": canary.name, "topic": canary.name, "subject": "biology"}),
        ("comment_id", "comments", {"text": canary.name}),
        ("event_id", "planner/events", {"title": canary.name, "start_date": "2026-10-19T09:15:00Z"}),
    ):
        named = {"video_id": made["video_id"]} if name == "comment_id" else {}
        answer = await client.post(f"/api/v1/{path}", json={**body, **named}, headers=headers)
        assert answer.status_code == 201, answer.text
        made[name] = answer.json()["id"]
    return made


def _paths(operation: Operation, canary: Canary, ids: dict[str, str]) -> Iterator[str]:
    there = {} if operation.method == "DELETE" else ids
    path = operation.path.format_map(_Ids(user_id="me", model="tiny", **there))
    yield path
    yield f"{path}?cursor={canary.name}&limit={canary.email}"
    yield f"{path}?q={canary.name}&tags={canary.name}&time_zone={canary.name}&video_id={canary.email}"


class _Ids(dict[str, str]):
    """Ids of nothing, but for those given."""

    def __missing__(self, _name: str) -> str:
        return str(uuid4())


@pytest.fixture(autouse=True)
def _unlimited(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hit(name: str, _key: str, limit: int) -> Decision:
        return Decision(name, allowed=True, limit=limit, remaining=limit, reset_s=60)

    monkeypatch.setattr(app.state.resources.limiter, "hit", hit)


async def test_a_walk_over_all_routes(app: FastAPI, client: httpx.AsyncClient, log: io.StringIO) -> None:
    async with _visitor(client) as canary:
        answers = await _walk(client, app, canary)
        login = {"email": canary.email, "password": canary.password}
        for body in (login, {**login, "password": f"{canary.password} no"}):
            answers.append(await client.post("/api/v1/auth/login", json=body))
        # The log-in of the visitor ends with its refresh token, which is used twice.
        good = {"Authorization": f"Bearer {answers[-2].json()['tokens']['access_token']}"}
        for _ in range(2):
            body = {"refresh_token": canary.refresh_token}
            answers.append(await client.post("/api/v1/auth/refresh-token", json=body))
            answers.append(await client.post("/api/v1/auth/logout", json=body))
        for password in (f"{canary.password} no", canary.password):
            body = {"password": password}
            answers.append(await client.request("DELETE", "/api/v1/users/me", json=body, headers=good))
        assert answers[-1].status_code == 204
        answers.append(await client.post("/api/v1/auth/logout-everywhere", headers=good))
        metrics = (await client.get("/metrics")).text
    lines = log.getvalue()
    assert lines.count('"event": "request"') > 300
    assert "refresh_token_reused" in lines
    errors = [answer for answer in answers if answer.status_code >= 400]
    assert {400, 401, 403, 404, 422} <= {answer.status_code for answer in errors}
    assert not [answer.text for answer in errors if answer.status_code >= 500]
    for word in canary.words:
        assert word not in lines, _around(lines, word)
        assert word not in metrics
        for answer in errors:
            told = answer.text.replace(str(answer.request.url.path), "")
            assert word not in told, (answer.request.method, answer.request.url.path, told)


async def test_an_error_of_the_database_quotes_nothing(
    app: FastAPI, client: httpx.AsyncClient, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's own errors quote rows, and SQLAlchemy's what statements were given."""
    canary = Canary(f"canary.mail.{uuid4().hex}@example.com", "canary password Pq7", "Canaria Quietbird")
    create = users.create

    async def create_wrongly(*args: Any, **values: Any) -> Any:
        return await create(*args, **{**values, "password_hash": None})

    monkeypatch.setattr(users, "create", create_wrongly)
    body = {key: canary.secrets[key] for key in ("email", "password", "display_name")}
    answer = await client.post("/api/v1/auth/register", json=body)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    lines = log.getvalue()
    assert "unexpected_error" in lines
    assert "null value in column" in lines
    for word in canary.words:
        assert word not in lines, _around(lines, word)
        assert word not in answer.text


def _around(text: str, word: str) -> str:
    at = text.index(word)
    return text[max(0, at - 300) : at + 100]
