"""Bring the stack's database to this code's revision, or make sure that it is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import unquote, urlsplit

from little_monster.platform.embedded.postgres import APP_ROLE, DATABASE, Postgres
from little_monster.platform.errors import StartupError
from little_monster.platform.settings import DatabaseSettings

STAGE = "migrate"


def migrate_embedded(postgres: Postgres) -> str:
    """Make role and database where missing, migrate, and return the revision.

    Raises:
        StartupError: a migration failed.
    """

    async def run() -> None:
        from little_monster.db import migrate

        await migrate.ensure_app_role(postgres.admin_url, APP_ROLE, postgres.app_password, DATABASE)
        await migrate.upgrade(postgres.owner_url, APP_ROLE)

    return _migrate(run(), "read logs/postgres.log in the data folder")


def migrate_given(settings: DatabaseSettings) -> str:
    """Migrate the operator's own database, or without its owner's URL compare its revision; return it.

    Raises:
        StartupError: a migration failed, or is missing.
    """
    assert settings.url is not None, "the caller has a database of its own"
    url = settings.url.get_secret_value()
    if settings.owner_url:
        return _upgrade_given(settings.owner_url.get_secret_value(), unquote(urlsplit(url).username or ""))
    return _compare(url)


def _upgrade_given(owner_url: str, app_role: str) -> str:
    async def run() -> None:
        from little_monster.db import migrate

        await migrate.upgrade(owner_url, app_role)

    return _migrate(run(), "check LM_DATABASE__OWNER_URL and the rights of its role")


def _compare(url: str) -> str:
    from little_monster.db.errors import DatabaseUnavailable, MigrationFailed
    from little_monster.db.migrate import current_revision, head_revision

    remedy = "set LM_DATABASE__OWNER_URL, or run `little-monster migrate` with it"
    try:
        current = asyncio.run(current_revision(url))
    except DatabaseUnavailable as error:
        raise StartupError(STAGE, _line(error), "check LM_DATABASE__URL and that the server runs") from None
    except MigrationFailed as error:
        raise StartupError(STAGE, f"the revision cannot be read: {_line(error)}", remedy) from None
    if current != head_revision():
        raise StartupError(STAGE, f"the database is at {current}, this code wants {head_revision()}", remedy)
    return head_revision()


def _migrate(run: Coroutine[Any, Any, None], remedy: str) -> str:
    from little_monster.db.errors import DatabaseUnavailable, MigrationFailed
    from little_monster.db.migrate import head_revision

    try:
        asyncio.run(run)
    except (DatabaseUnavailable, MigrationFailed) as error:
        raise StartupError(STAGE, _line(error), remedy) from None
    return head_revision()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__
