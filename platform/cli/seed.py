"""`little-monster seed`."""

import asyncio
import secrets
import time
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from little_monster.db.seed_rows import SeedPlan
from little_monster.platform.cli.session import CliSession, open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.embedded.instance import read_instance
from little_monster.platform.embedded.postgres import Postgres
from little_monster.platform.errors import StartupError
from little_monster.platform.security import PasswordHasher

_STAGE = "seed"


def seed(
    users: Annotated[int, typer.Option(min=1, help="Accounts to make.")] = 100,
    videos: Annotated[int, typer.Option(min=0, help="Videos of theirs.")] = 1_000,
    comments: Annotated[int, typer.Option(min=0, help="Comments, whose writers rate the video too.")] = 5_000,
    chunks: Annotated[int, typer.Option(min=0, help="Passages, 20 a document.")] = 5_000,
    seed: Annotated[int, typer.Option(help="The same numbers and seed make the same rows.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Also where there are accounts already.")] = False,
) -> None:
    """Fill the database with a large demonstration: yours (LM_DATABASE__OWNER_URL), or the embedded one.

    All or nothing, and only into a database without accounts. The accounts can log in with the password that
    is printed. There are no files behind the videos and documents, and the passages are not in the vector
    index. Nobody else can write to these tables meanwhile.
    """
    if comments and not videos:
        raise typer.BadParameter("comments need videos")
    owner_url = _owner_url(open_session())
    plan = SeedPlan(users, videos, comments, chunks, seed)
    password, began = secrets.token_urlsafe(12), time.perf_counter()
    written = asyncio.run(_seed(owner_url, plan, password, force=force))
    rows = ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in written.items())
    output.print(f"[green]✓[/] {rows} in {time.perf_counter() - began:.1f} s", soft_wrap=True)
    output.print(f"  Log in as student1.seed{seed}@example.com (to student{users}) with {password}")


def _owner_url(session: CliSession) -> str:
    """Return the DSN of the tables' owner.

    Raises:
        StartupError: it is not set, or the embedded PostgreSQL does not run.
    """
    database = session.settings.database
    if database.url:
        if database.owner_url is None:
            raise StartupError(_STAGE, "only the owner of the tables can do it", "set LM_DATABASE__OWNER_URL")
        return database.owner_url.get_secret_value()
    instance = read_instance(session.data)
    if instance is None or "postgres" not in instance.children:
        raise StartupError(_STAGE, "the embedded PostgreSQL does not run", "`make up` starts it")
    return Postgres(session.data).owner_url


async def _seed(owner_url: str, plan: SeedPlan, password: str, *, force: bool) -> dict[str, int]:
    # The driver takes time to import, which no other verb has to wait for.
    from little_monster.db import seeding
    from little_monster.db.errors import DatabaseUnavailable, SeedRefused

    hashed = await PasswordHasher(1).hash(password)
    with _progress() as progress:
        bars: dict[str, TaskID] = {}

        def show(table: str, done: int, total: int) -> None:
            if table not in bars:
                bars[table] = progress.add_task(table.replace("_", " "), total=total)
            progress.update(bars[table], completed=done)

        try:
            return await seeding.seed(owner_url, plan, hashed, force=force, progress=show)
        except SeedRefused as error:
            remedy = "see `little-monster seed --help` for --force and --seed, and `little-monster migrate`"
            raise StartupError(_STAGE, str(error), remedy) from None
        except DatabaseUnavailable as error:
            raise StartupError(_STAGE, str(error), "check that the server runs") from None


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]left[/]"),
        TimeRemainingColumn(),
        console=output,
    )
