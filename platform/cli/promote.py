"""`little-monster promote`."""

import asyncio
from typing import Annotated, Literal, TypeAlias

import typer

from little_monster.platform.cli.session import CliSession, open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.embedded.instance import read_instance
from little_monster.platform.embedded.postgres import Postgres
from little_monster.platform.errors import ConfigurationError, StartupError

_STAGE = "promote"

Role: TypeAlias = Literal["student", "moderator", "admin"]


def promote(
    email: Annotated[str, typer.Argument(help="Address of the account.")],
    role: Annotated[Role, typer.Argument(help="The role that it is to have.")],
) -> None:
    """Give an account a role, as the owner of the database: so the first admin is made."""
    before = asyncio.run(_promote(_owner_url(open_session()), email, role))
    output.print(f"[green]✓[/] {email} is {role} now, and was {before}", highlight=False)


def _owner_url(session: CliSession) -> str:
    """Return the DSN of the role that owns the tables: yours, or that of the embedded database."""
    database = session.settings.database
    if database.owner_url is not None:
        return database.owner_url.get_secret_value()
    if database.url is not None:
        raise ConfigurationError("LM_DATABASE__OWNER_URL: is needed to give a role")
    instance = read_instance(session.data)
    if instance is None or "postgres" not in instance.children:
        raise StartupError(_STAGE, "the embedded PostgreSQL does not run", "`make up` starts it")
    return Postgres(session.data).owner_url


async def _promote(owner_url: str, email: str, role: Role) -> str:
    from little_monster.db.errors import DatabaseError
    from little_monster.db.models.users import UserRole
    from little_monster.db.promotion import LastAdmin, NoSuchAccount
    from little_monster.db.promotion import promote as give

    try:
        return await give(owner_url, email, UserRole(role))
    except NoSuchAccount:
        raise StartupError(_STAGE, f"nobody has the address {email}", "register it first") from None
    except LastAdmin:
        raise StartupError(_STAGE, f"{email} is the last admin", "make somebody else admin first") from None
    except DatabaseError as error:
        raise StartupError(_STAGE, " ".join(str(error).split()), "check LM_DATABASE__OWNER_URL") from None
