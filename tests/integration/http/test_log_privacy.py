"""A whole visit leaves no e-mail address, password or token in the logs."""

import io
from collections.abc import Iterator

import httpx
import pytest

from little_monster.db.base import new_id
from little_monster.platform.logs import setup_logs
from little_monster.platform.settings import TelemetrySettings


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(log_level="DEBUG"), stream)
    yield stream
    setup_logs(TelemetrySettings())


async def test_visit(client: httpx.AsyncClient, log: io.StringIO) -> None:
    email, password = f"{new_id()}@example.com", "correct horse battery"
    body = {"email": email, "password": password, "display_name": "Ada Lovelace"}
    registered = (await client.post("/api/v1/auth/register", json=body)).json()
    await client.post("/api/v1/auth/register", json=body)
    await client.post("/api/v1/auth/login", json={"email": email, "password": "wrong password"})
    tokens = registered["tokens"]
    for _ in range(2):
        await client.post("/api/v1/auth/refresh-token", json={"refresh_token": tokens["refresh_token"]})
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    await client.get("/api/v1/users/me", headers=headers)

    text = log.getvalue()
    assert text.count('"event": "request"') == 6
    assert "refresh_token_reused" in text
    secrets = (email, password, "wrong password", "Ada Lovelace", registered["user"]["id"], *tokens.values())
    for secret in secrets:
        if isinstance(secret, str) and secret != "Bearer":
            assert secret not in text
