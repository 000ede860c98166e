"""`little-monster ask "..."`."""

import asyncio
from typing import Annotated

import typer

from little_monster.platform.cli.answers import ask_and_print
from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output


def ask(question: Annotated[str, typer.Argument(help="What you want to know.", metavar="QUESTION")]) -> None:
    """Ask a question about your documents and watch the cited answer come."""

    async def run() -> None:
        async with open_session().client() as client:
            await ask_and_print(client, question, output)

    asyncio.run(run())
