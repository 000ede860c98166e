"""`little-monster register`."""

import asyncio
from typing import Annotated

import typer

from little_monster.platform.cli.login import Email, PasswordStdin, read_password
from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import command_name, output


def register(
    email: Email,
    name: Annotated[str, typer.Option(help="Name that others see. Empty: the address up to its @.")] = "",
    password_stdin: PasswordStdin = False,
) -> None:
    """Make an account and log in to it. The password has at least 10 characters."""
    password = read_password(from_stdin=password_stdin, confirm=True)

    async def run() -> None:
        async with open_session().client() as client:
            await client.register(email, password, name or email.split("@")[0])

    asyncio.run(run())
    output.print(f"[green]✓[/] Account {email} made. Next: {command_name()} ingest FILE")
