"""`little-monster login`."""

import asyncio
import sys
from typing import Annotated

import typer

from little_monster.platform.cli.problems import ApiProblem
from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output

Email = Annotated[str, typer.Option(help="Address of the account.", prompt="E-mail")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


def login(email: Email, password_stdin: PasswordStdin = False) -> None:
    """Log in; the token is kept in your configuration folder, for you alone."""
    password = read_password(from_stdin=password_stdin)

    async def run(totp_code: str | None) -> str:
        async with open_session().client() as client:
            await client.login(email, password, totp_code)
            return client.url

    try:
        url = asyncio.run(run(None))
    except ApiProblem as problem:
        if problem.code != "totp_required":
            raise
        url = asyncio.run(run(typer.prompt("Code of the authenticator application")))
    output.print(f"[green]✓[/] Logged in to {url} as {email}")


def read_password(*, from_stdin: bool, confirm: bool = False) -> str:
    """Ask for a password without showing it, or read one line of standard input."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=confirm)
    return password
