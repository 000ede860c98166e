"""Bring the schema up to date, and prepare the role that services connect as.

Only here a connection is opened as the role that owns the tables: a superuser, or a role with CREATEROLE that
owns the database.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from little_monster.db.engine import plain_dsn
from little_monster.db.errors import DatabaseUnavailable, MigrationFailed
from little_monster.db.policies import roles

# Any number, the same for all who migrate: the second waits until the first is done.
_LOCK = 7_045_771_203


async def upgrade(owner_url: str, app_role: str, *, revision: str = "head") -> None:
    """Run all migrations that are missing, in one transaction, and let the login role `app_role` use the
    tables.

    Raises:
        MigrationFailed: a right or a role is missing, or a migration failed; nothing has changed.
        DatabaseUnavailable: the database does not answer.
    """
    async with owner_connection(owner_url) as connection:
        await connection.run_sync(lambda sync: _run(sync, command.upgrade, revision))
        await _admit(connection, app_role)
        # The services, which may have no owner's URL beside them, compare the revision with their own.
        await connection.execute(text(f"GRANT SELECT ON alembic_version TO {roles.APP}"))


async def downgrade(owner_url: str, revision: str = "base") -> None:
    """Undo migrations down to `revision`. What they made is lost; the roles, which belong to the server,
    stay.

    Raises:
        MigrationFailed: a migration failed; nothing has changed.
        DatabaseUnavailable: the database does not answer.
    """
    async with owner_connection(owner_url) as connection:
        await connection.run_sync(lambda sync: _run(sync, command.downgrade, revision))


async def current_revision(url: str) -> str | None:
    """Return the revision of the database; None when it has none yet.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    async with owner_connection(url) as connection:
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


def head_revision() -> str:
    """Return the revision that this code wants."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None, "there is always a first migration"
    return head


async def ensure_app_role(owner_url: str, role: str, password: str, database: str) -> None:
    """Make the login role of the services and the database, where missing, and set the role's password.

    Used for the embedded server, whose owner is a superuser.

    Raises:
        MigrationFailed: a right is missing.
        DatabaseUnavailable: the server does not answer.
    """
    connection = await _connect(owner_url)
    try:
        await connection.execute(roles.ENSURE)
        verb = "ALTER" if await _exists(connection, "pg_roles", "rolname", role) else "CREATE"
        await _format(connection, f"{verb} ROLE %I LOGIN NOCREATEDB NOCREATEROLE PASSWORD %L", role, password)
        await _format(connection, f"GRANT {roles.APP} TO %I", role)
        if not await _exists(connection, "pg_database", "datname", database):
            await _format(connection, "CREATE DATABASE %I", database)
        await _format(connection, "GRANT CONNECT ON DATABASE %I TO %I", database, role)
    except asyncpg.PostgresError as error:
        raise MigrationFailed(f"cannot prepare the role {role}: {error}") from error
    finally:
        await connection.close()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _run(connection: Connection, verb: Callable[[Config, str], Any], revision: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = _config()
    config.attributes["connection"] = connection
    verb(config, revision)


async def _admit(connection: AsyncConnection, role: str) -> None:
    member = "SELECT pg_has_role(oid, 'lm_app', 'USAGE') FROM pg_roles WHERE rolname = :role"
    admitted = (await connection.execute(text(member), {"role": role})).scalar_one_or_none()
    if admitted is None:
        raise MigrationFailed(
            f"there is no role {role}: create it first (CREATE ROLE ... LOGIN PASSWORD ...)"
        )
    if not admitted:
        quoted = await connection.scalar(text("SELECT quote_ident(:role)"), {"role": role})
        await connection.execute(text(f"GRANT {roles.APP} TO {quoted}"))


@asynccontextmanager
async def owner_connection(url: str) -> AsyncIterator[AsyncConnection]:
    """One transaction as the role that owns the tables.

    Raises:
        MigrationFailed: a statement failed; nothing has changed.
        DatabaseUnavailable: the database does not answer.
    """

    async def connect() -> Any:
        return await _connect(url)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise MigrationFailed(str(error.orig)) from error
    finally:
        await engine.dispose()


async def _connect(url: str) -> Any:
    try:
        return await asyncpg.connect(plain_dsn(url), timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"no connection: {type(error).__name__}: {error}") from error


async def _exists(connection: Any, catalog: str, column: str, name: str) -> bool:
    found: bool = await connection.fetchval(
        f"SELECT EXISTS (SELECT FROM {catalog} WHERE {column} = $1)", name
    )
    return found


async def _format(connection: Any, template: str, *names: str) -> None:
    """Run a statement that takes no parameters, with `names` quoted by the server."""
    quoted = await connection.fetchval(f"SELECT format('{template}', VARIADIC $1::text[])", [*names])
    await connection.execute(quoted)
