"""Migration 0004 on a database that is in use: who is logged in stays so."""

from uuid import UUID

import asyncpg

from little_monster.db import migrate
from little_monster.db.base import new_id

APP_ROLE = "lm_service"
_TOKEN = """
    INSERT INTO refresh_tokens (id, user_id, family_id, token_hash, expires_at, created_at, revoked_at)
    VALUES ($1::uuid, $2, $3, uuid_send($1::uuid), now() + interval '1 day', $4::timestamptz, $5::timestamptz)
"""


async def fill(url: str) -> tuple[UUID, UUID, UUID]:
    """Make a user with one log-in that lasts and one that has ended; return all three ids."""
    user_id, lasting, ended = new_id(), new_id(), new_id()
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO users (id, email, password_hash, display_name) VALUES ($1, 'a@b.org', '', '')", user_id
    )
    moments = await connection.fetchrow("SELECT now() - interval '3 h', now() - interval '2 h', now()")
    for family_id, created, revoked in (
        (lasting, moments[0], moments[1]),
        (lasting, moments[1], None),
        (ended, moments[0], moments[1]),
        (ended, moments[1], moments[2]),
    ):
        await connection.execute(_TOKEN, new_id(), user_id, family_id, created, revoked)
    await connection.close()
    return user_id, lasting, ended


async def test_each_family_becomes_a_session(owned_database):
    owner_url, admin_url = owned_database
    await migrate.upgrade(owner_url, APP_ROLE, revision="0003")
    user_id, lasting, ended = await fill(admin_url)
    await migrate.upgrade(owner_url, APP_ROLE, revision="0004")
    connection = await asyncpg.connect(admin_url)
    rows = {row["id"]: row for row in await connection.fetch("SELECT * FROM sessions")}
    assert set(rows) == {lasting, ended}
    assert {row["user_id"] for row in rows.values()} == {user_id}
    assert rows[lasting]["revoked_at"] is None
    assert rows[ended]["revoked_at"] == await connection.fetchval(
        "SELECT max(revoked_at) FROM refresh_tokens"
    )
    assert rows[lasting]["created_at"] < rows[lasting]["last_used_at"]
    forced = "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'refresh_tokens'"
    assert await connection.fetchval(forced) is True
    await connection.close()


async def test_back_and_forth(owned_database):
    owner_url, admin_url = owned_database
    await migrate.upgrade(owner_url, APP_ROLE, revision="0003")
    before = await catalogue(admin_url)
    await fill(admin_url)
    for _ in range(2):
        await migrate.upgrade(owner_url, APP_ROLE, revision="0004")
        assert await catalogue(admin_url) != before
        await migrate.downgrade(owner_url, "0003")
        assert await catalogue(admin_url) == before
    connection = await asyncpg.connect(admin_url)
    assert await connection.fetchval("SELECT count(*) FROM refresh_tokens") == 4
    await connection.close()


async def catalogue(url: str) -> list[tuple[str, ...]]:
    """Return what there is of tables, columns, functions, types, triggers and policies, with rights."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("""
        SELECT 'column', a.attrelid::regclass::text, a.attname::text, coalesce(a.attacl::text, '')
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT 'table', oid::regclass::text, coalesce(relacl::text, ''), relforcerowsecurity::text
            FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'function', oid::regprocedure::text, coalesce(proacl::text, ''), ''
            FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'auth'::regnamespace)
        UNION ALL SELECT 'type', typname, '', '' FROM pg_type
            WHERE typnamespace = 'public'::regnamespace
        UNION ALL SELECT 'trigger', tgname, tgrelid::regclass::text, '' FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'policy', polname, polrelid::regclass::text, polcmd::text FROM pg_policy
        UNION ALL SELECT 'schema', nspname, coalesce(nspacl::text, ''), '' FROM pg_namespace
            WHERE nspname IN ('auth', 'queue', 'public')
        ORDER BY 1, 2, 3, 4
    """)
    await connection.close()
    return [tuple(row) for row in rows]
