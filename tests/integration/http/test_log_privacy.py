"""A whole visit leaves no e-mail address, password or token in the logs."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import pyotp
import pytest

from little_monster.db.base import new_id
from little_monster.platform.logs import setup_logs
from little_monster.platform.settings import TelemetrySettings
from tests.fixtures.watch import PASSWORD, WATCH


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    setup_logs(TelemetrySettings(log_level="DEBUG"), stream)
    yield stream
    WATCH.hear()


async def test_codes_and_tokens(
    client: httpx.AsyncClient, log: io.StringIO, account: Any, mail_to: Any, code_of: Any
) -> None:
    """Everything that is shown once is shown to one reader only."""
    auth, headers = "/api/v1/auth", account.headers
    body = {"name": "private name", "scopes": ["read"]}
    token = (await client.post(f"{auth}/tokens", json=body, headers=headers)).json()["token"]
    await client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    begun = (await client.post(f"{auth}/totp", json={"password": PASSWORD}, headers=headers)).json()
    totp = pyotp.TOTP(begun["secret"]).now()
    confirmed = await client.post(f"{auth}/totp/confirm", json={"code": totp}, headers=headers)
    recovery = confirmed.json()["recovery_codes"]
    login = {"email": account.email, "password": PASSWORD, "recovery_code": recovery[0]}
    assert (await client.post(f"{auth}/login", json=login)).status_code == 200
    await client.post(f"{auth}/password/reset/request", json={"email": account.email})
    codes = [code_of(message) for message in await mail_to(account.email)]
    assert len(codes) == 2
    await client.post(f"{auth}/verify-email", json={"code": codes[0]})
    new = "quiet lantern orbit 42"
    reset = {"code": codes[1], "new_password": new}
    assert (await client.post(f"{auth}/password/reset", json=reset)).status_code == 204
    login = {**login, "password": new, "recovery_code": recovery[1]}
    tokens = (await client.post(f"{auth}/login", json=login)).json()["tokens"]
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    change = {"current_password": new, "new_password": PASSWORD}
    assert (await client.post(f"{auth}/password/change", json=change, headers=headers)).status_code == 204

    text = log.getvalue()
    kinds = ["token_created", "totp_enabled", "recovery_code_used", "login", "password_reset_requested"]
    for kind in (*kinds, "email_verified", "password_reset", "password_changed"):
        assert f'"kind": "{kind}"' in text
    for secret in (token, begun["secret"], *recovery, *codes, new, PASSWORD, "private name", account.email):
        assert secret not in text


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
