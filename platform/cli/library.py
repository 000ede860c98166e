"""The operator's side of `little-monster ingest`: a whole library, by a Ray job of the stack that runs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from little_monster.db.errors import DatabaseError
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.repositories import jobs
from little_monster.db.session import Database
from little_monster.platform.cli.session import CliSession
from little_monster.platform.embedded import ray_jobs
from little_monster.platform.embedded.instance import read_instance
from little_monster.platform.embedded.postgres import Postgres
from little_monster.platform.embedded.ray import Ray
from little_monster.platform.errors import ConfigurationError, StartupError
from little_monster.platform.resources import open_database
from little_monster.platform.services.jobs import has_ended
from little_monster.platform.services.library import Order, close_run, find_owner, find_run, open_run
from little_monster.platform.settings import DatabaseSettings, Settings

_PROGRAM = "little_monster.pipelines.library.run"
_MANIFESTS = (".csv", ".jsonl", ".ndjson")
_POLL_S = 0.5
_LOOK_S = 3.0
_DRIVER_CPUS = 0.1
# Files a second are told of the last so many seconds.
_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended."""

    job: Job

    @property
    def failed(self) -> bool:
        """Whether the command failed: the job did, or some of its files."""
        return self.job.status != JobStatus.COMPLETED or bool((self.job.result or {}).get("failed"))


def order_of(source: str, **values: Any) -> Order:
    """Return the order for a source as the operator wrote it.

    Raises:
        ConfigurationError: there is no such file or folder here, or nobody lets us look at it.
    """
    if not source.startswith("s3://"):
        path = Path(source).expanduser().resolve()
        try:
            path.stat()
        except FileNotFoundError:
            raise ConfigurationError(f"{path}: there is no such file or folder") from None
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from None
        source = str(path)
    manifest = values.pop("manifest") or Path(source).suffix.lower() in _MANIFESTS
    return Order(source, manifest=manifest, **values)


async def ingest_library(session: CliSession, owner: str, order: Order, console: Console) -> Result:
    """Have the cluster ingest a library for the account `owner`, and show it until it has ended. A job on the
    same source that runs is shown, and no second one is made.

    Raises:
        StartupError: no stack is ready on the data folder, Ray refused the job, or the database does not
            answer.
        NotFound: there is no such account.
    """
    ray, url, settings = _stack(session)
    with ray.dashboard(url) as dashboard:
        async with _database(settings) as database:
            user_id = await find_owner(database, owner)
            job_id = await _running(database, dashboard, user_id, order)
            if job_id is None:
                job_id = (await open_run(database, user_id, order)).id
                await _submit(database, dashboard, user_id, job_id, order)
            return Result(await _follow(database, dashboard, user_id, job_id, console))


def _stack(session: CliSession) -> tuple[Ray, str, Settings]:
    """Return the Ray of the stack that runs, its dashboard, and the settings with its database."""
    data, settings = session.data, session.settings
    instance = read_instance(data)
    if instance is None or instance.state != "ready" or instance.supervisor() is None:
        raise StartupError("ingest", f"nothing is ready on {data.root}", "`make up` starts it")
    if settings.database.url is None:
        url = Postgres(data).app_url
        database = DatabaseSettings.model_validate({**settings.database.model_dump(), "url": url})
        settings = settings.model_copy(update={"database": database})
    return Ray(data, settings.runtime), instance.urls["dashboard"], settings


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    database = open_database(settings)
    try:
        yield database
    except DatabaseError as error:
        reason = " ".join(str(error).split())
        raise StartupError("ingest", reason, "the same command goes on when the database answers") from None
    finally:
        await database.close()


async def _running(database: Database, dashboard: httpx.Client, owner: UUID, order: Order) -> UUID | None:
    """Return the job that is at it already; one whose program is gone ends here."""
    job = await find_run(database, owner, order)
    if job is None:
        return None
    reason = await asyncio.to_thread(ray_jobs.ended, dashboard, _name(job.id))
    if reason is None:
        return job.id
    await close_run(database, owner, job.id, reason)
    return None


async def _submit(
    database: Database, dashboard: httpx.Client, owner: UUID, job_id: UUID, order: Order
) -> None:
    try:
        await asyncio.to_thread(
            ray_jobs.submit,
            dashboard,
            _PROGRAM,
            str(job_id),
            name=_name(job_id),
            cpus=_DRIVER_CPUS,
            nice=order.nice,
        )
    except StartupError as error:
        await close_run(database, owner, job_id, error.reason)
        raise


def _name(job_id: UUID) -> str:
    return f"ingest-{job_id}"


async def _follow(
    database: Database, dashboard: httpx.Client, owner: UUID, job_id: UUID, console: Console
) -> Job:
    """Show a job until it has ended; one whose program is gone ends here."""
    looked, pace = time.monotonic(), Pace()
    with _progress(console) as progress:
        bar = progress.add_task("ingest", total=None, state="starting the pipeline", rate="")
        while True:
            job = await _read(database, owner, job_id)
            pace.add(job.done or 0, time.monotonic())
            progress.update(
                bar,
                completed=job.done or 0,
                total=job.total,
                state=job.stage or "starting",
                rate=pace.line(job),
            )
            if has_ended(job):
                return job
            if time.monotonic() - looked > _LOOK_S:
                looked = time.monotonic()
                if reason := await asyncio.to_thread(ray_jobs.ended, dashboard, _name(job_id)):
                    await close_run(database, owner, job_id, reason)
                    continue
            await asyncio.sleep(_POLL_S)


async def _read(database: Database, owner: UUID, job_id: UUID) -> Job:
    async with database.session(owner) as session:
        job = await jobs.get(session, job_id)
    if job is None:
        raise ConfigurationError("the account, and with it the job, was deleted")
    return job


class Pace:
    """How fast a job goes, over the last half minute."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = []

    def add(self, done: int, now: float) -> None:
        """Note how much is done at a time in seconds."""
        self._points = [point for point in self._points if now - point[0] <= _WINDOW_S]
        self._points.append((now, done))

    def rate(self) -> float:
        """Return files a second; 0 when there is nothing to tell it from."""
        (first, before), (last, after) = self._points[0], self._points[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def line(self, job: Job) -> str:
        """Return `2.5 files/s, 40 s left`."""
        rate = self.rate()
        if not rate or job.total is None or job.started_at is None:
            return ""
        left = round((job.total - (job.done or 0)) / rate)
        return f"{rate:.1f} files/s, {left} s left"


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.fields[state]}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[rate]}[/]"),
        TimeElapsedColumn(),
        console=console,
    )


def show_result(result: Result, console: Console) -> None:
    """Print what became of the files, and each that failed with its reason."""
    job, told = result.job, result.job.result or {}
    if job.status != JobStatus.COMPLETED:
        console.print(f"[red]✗[/] {escape(job.error_reason or job.status.value)}", soft_wrap=True)
        console.print("  The same command goes on with what is left.")
        return
    if told["failures"]:
        console.print(_failures(told))
    seconds = ((job.finished_at or datetime.now(UTC)) - (job.started_at or job.created_at)).total_seconds()
    counts = f"{told['completed']} read, {told['skipped']} there before, {told['failed']} failed"
    mark = "[red]✗[/]" if result.failed else "[green]✓[/]"
    console.print(f"{mark} {told['files']} files in {seconds:.0f} s: {counts}")


def _failures(told: dict[str, Any]) -> Table:
    table = Table("File", "Code", "Reason", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for failure in told["failures"]:
        table.add_row(escape(failure["file"]), failure["code"], escape(failure["reason"]))
    if (more := told["failed"] - len(told["failures"])) > 0:
        table.add_row(f"... and {more} more", "", "")
    return table
