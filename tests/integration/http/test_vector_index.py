"""What admins ask of the vector index as a whole."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from little_monster.db.models.embedding_collections import CollectionState
from little_monster.db.repositories import embedding_collections, jobs
from little_monster.db.repositories.embedding_collections import NewCollection
from little_monster.platform.services.vector_index import KIND, VERIFY, Action, Change

INDEX = "/api/v1/admin/index"


@pytest.fixture
async def admin(register_as: Callable[[str], Awaitable[Any]], app: FastAPI) -> Any:
    """An admin, and no collections and jobs of others."""
    database = app.state.resources.database
    async with database.session(None) as session:
        for state in CollectionState:
            await embedding_collections.remove(session, state)
    return await register_as("admin")


async def cancel(client: httpx.AsyncClient, admin: Any, job: dict[str, Any]) -> None:
    path = f"{job['_links']['self']['href']}/cancel"
    assert (await client.post(path, headers=admin.headers)).status_code == 200


async def test_a_change_is_a_job_of_which_there_is_one(
    app: FastAPI,
    client: httpx.AsyncClient,
    admin: Any,
    register_as: Callable[[str], Awaitable[Any]],
) -> None:
    body = {"action": "reembed", "model": "package:other/model", "dataset": "/set", "tolerance": 0.05}
    asked = await client.post(f"{INDEX}/changes", json=body, headers=admin.headers)
    assert asked.status_code == 202, asked.text
    job = asked.json()
    assert asked.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"]) == (KIND, "queued")
    async with app.state.resources.database.session(UUID(admin.user["id"])) as session:
        row = await jobs.get(session, UUID(job["id"]))
    assert row is not None
    assert Change.of(row.payload) == Change(Action.REEMBED, "package:other/model", "/set", 0.05)
    assert row.max_attempts > 3
    # Also for another admin, who does not see the job.
    for who in (admin, await register_as("admin")):
        again = await client.post(f"{INDEX}/changes", json={"action": "rebuild"}, headers=who.headers)
        assert (again.status_code, again.json()["code"]) == (409, "change_under_way")
    # A check is of another kind.
    other = await client.post(f"{INDEX}/verifications", json={"repair": True}, headers=admin.headers)
    assert (other.status_code, other.json()["kind"]) == (202, VERIFY)
    await cancel(client, admin, job)
    await cancel(client, admin, other.json())


@pytest.mark.parametrize("action", ["rollback", "drop_old"])
async def test_without_a_collection_from_before_there_is_no_way_back(
    client: httpx.AsyncClient, admin: Any, action: str
) -> None:
    refused = await client.post(f"{INDEX}/changes", json={"action": action}, headers=admin.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "no_previous")


async def test_the_way_back_names_the_collection(app: FastAPI, client: httpx.AsyncClient, admin: Any) -> None:
    """So that a job that is done twice does not go forth again."""
    database = app.state.resources.database
    async with database.session(None) as session:
        new = NewCollection("passages-old", "small", "small", 64, 256)
        assert await embedding_collections.add(session, new, CollectionState.PREVIOUS)
    asked = await client.post(f"{INDEX}/changes", json={"action": "rollback"}, headers=admin.headers)
    assert asked.status_code == 202, asked.text
    async with database.session(UUID(admin.user["id"])) as session:
        row = await jobs.get(session, UUID(asked.json()["id"]))
    assert row is not None
    assert Change.of(row.payload).target == "passages-old"
    listed = await client.get(f"{INDEX}/collections", headers=admin.headers)
    (item,) = listed.json()["items"]
    assert (item["name"], item["state"], item["model"]) == ("passages-old", "previous", "small")
    await cancel(client, admin, asked.json())


@pytest.mark.parametrize(
    "body",
    [
        {"action": "reembed"},
        {"action": "rebuild", "model": "package:other/model"},
        {"action": "reembed", "model": "a", "tolerance": 2},
        {"action": "burn"},
        {"action": "reembed", "model": "a\x00b"},
    ],
)
async def test_a_wrong_change_is_told(client: httpx.AsyncClient, admin: Any, body: dict[str, Any]) -> None:
    refused = await client.post(f"{INDEX}/changes", json=body, headers=admin.headers)
    assert refused.status_code == 422
