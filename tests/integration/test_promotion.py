"""Roles that the operator gives from the command line."""

import asyncio
import json

import asyncpg
import pytest
from typer.testing import CliRunner

from little_monster.db import migrate
from little_monster.db.base import new_id
from little_monster.db.engine import create_engine
from little_monster.db.errors import DatabaseUnavailable
from little_monster.db.models.users import UserRole
from little_monster.db.promotion import LastAdmin, NoSuchAccount, promote
from little_monster.db.repositories import users
from little_monster.db.session import Database
from little_monster.platform.cli import main

APP_ROLE = "lm_service"
EMAIL = "ada@example.org"


@pytest.fixture
async def owner_url(postgres):
    """An owner that is no superuser, of a database with one account."""
    name = await postgres.new_database()
    owner = f"owner_{name}"
    admin = await asyncpg.connect(postgres.url("postgres", name))
    await admin.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE")
    await admin.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
    await admin.execute(f"GRANT lm_system, lm_app TO {owner} WITH ADMIN OPTION")
    await admin.execute(f"ALTER SCHEMA public OWNER TO {owner}")
    await admin.close()
    url = postgres.url(owner, name)
    await migrate.upgrade(url, APP_ROLE)
    database, user_id = Database(create_engine(postgres.url(APP_ROLE, name), pool_size=1)), new_id()
    async with database.session(user_id) as session:
        await users.create(session, user_id=user_id, email=EMAIL, password_hash="x", display_name="A")
    await database.close()
    return url, postgres.url("postgres", name)


async def read(url, query):
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(query)
    await connection.close()
    return [tuple(row) for row in rows]


async def test_the_first_admin(owner_url):
    url, superuser = owner_url
    assert await promote(url, EMAIL.upper(), UserRole.ADMIN) == "student"
    assert await promote(url, EMAIL, UserRole.ADMIN) == "admin"
    assert await read(superuser, "SELECT email, role FROM users") == [(EMAIL, "admin")]
    ((kind, actor, mine, details),) = await read(
        superuser, "SELECT kind, actor_id, user_id = (SELECT id FROM users), details FROM audit_events"
    )
    assert (kind, actor, mine) == ("role_changed", None, True)
    assert json.loads(details) == {"from": "student", "to": "admin", "by": "operator"}


async def test_the_last_admin_stays(owner_url):
    url, superuser = owner_url
    await promote(url, EMAIL, UserRole.ADMIN)
    with pytest.raises(LastAdmin):
        await promote(url, EMAIL, UserRole.MODERATOR)
    assert await read(superuser, "SELECT role FROM users") == [("admin",)]


async def test_nobody_and_nowhere(owner_url):
    with pytest.raises(NoSuchAccount):
        await promote(owner_url[0], "nobody@example.org", UserRole.ADMIN)
    with pytest.raises(DatabaseUnavailable):
        await promote("postgresql://nobody@/nothing?host=/nonexistent", EMAIL, UserRole.ADMIN)


def run(*arguments):
    return CliRunner().invoke(main.app, ["promote", *arguments])


async def test_the_verb(owner_url, monkeypatch, tmp_path):
    url, superuser = owner_url
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LM_DATABASE__OWNER_URL", url)
    done = await asyncio.to_thread(run, EMAIL, "admin")
    assert (done.exit_code, "is admin now, and was student" in done.output) == (0, True)
    assert await read(superuser, "SELECT role FROM users") == [("admin",)]
    for arguments, message in (
        ((EMAIL, "student"), "is the last admin"),
        (("nobody@example.org", "admin"), "nobody has the address"),
    ):
        failed = await asyncio.to_thread(run, *arguments)
        assert message in str(failed.exception)
    assert (await asyncio.to_thread(run, EMAIL, "owner")).exit_code == 2


async def test_the_verb_without_an_owner(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "does not run" in str(run(EMAIL, "admin").exception)
    monkeypatch.setenv("LM_DATABASE__URL", "postgresql://app@/nothing")
    assert "LM_DATABASE__OWNER_URL" in str(run(EMAIL, "admin").exception)
