"""Upload files, a few at a time, and follow the jobs that read them."""

import asyncio
import errno
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.problems import ApiProblem

MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".epub": "application/epub+zip",
}
_AT_ONCE = 4
_POLL_S = 0.4
_ENDED = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class UploadResult:
    """How one file ended: `read`, `already there`, `failed` or `skipped`, and why."""

    path: Path
    outcome: str
    reason: str = ""
    document_id: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the command failed by it."""
        return self.outcome == "failed"


def find_files(paths: Iterable[Path]) -> tuple[list[Path], list[UploadResult]]:
    """Return the files to upload, those in folders too, and what is left out with its reason; what nobody
    lets us look at has failed."""
    files: list[Path] = []
    left_out: list[UploadResult] = []
    for item in (item for path in paths for item in _look(path)):
        if isinstance(item, OSError):
            left_out.append(UploadResult(Path(item.filename), "failed", _reason(item)))
        elif item.suffix.lower() in MEDIA_TYPES:
            files.append(item)
        else:
            left_out.append(
                UploadResult(item, "skipped", f"{item.suffix or 'no suffix'} is not a known type")
            )
    return list(dict.fromkeys(files)), left_out


def _look(path: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path | OSError]:
    """Yield a file, or those of a folder, in order; an error, which names its file, in the place of one."""
    try:
        mode, here = path.stat().st_mode, path.resolve()
        if here in above:
            # A link that leads back.
            return
        items = sorted(path.iterdir()) if stat.S_ISDIR(mode) else []
    except OSError as error:
        yield error
        return
    if stat.S_ISREG(mode):
        yield path
    elif not stat.S_ISDIR(mode):
        # Reading a pipe might never end.
        yield OSError(errno.EINVAL, "it is neither a file nor a folder", str(path))
    for item in items:
        if not item.name.startswith("."):
            yield from _look(item, above | {here})


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    return error.strerror or str(error)


async def upload_all(
    client: ApiClient, files: Sequence[Path], console: Console, titles: dict[Path, str] | None = None
) -> list[UploadResult]:
    """Upload and wait, with a progress bar a file; return the results in the order of `files`.

    Raises:
        ApiUnreachable: the API is not there; NotLoggedIn: there is no account.
    """
    places = asyncio.Semaphore(_AT_ONCE)
    with _progress(console) as progress:

        async def one(path: Path) -> UploadResult:
            async with places:
                return await _upload(client, path, (titles or {}).get(path), progress)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(path)) for path in files]
    return [task.result() for task in tasks]


async def _upload(client: ApiClient, path: Path, title: str | None, progress: Progress) -> UploadResult:
    bar = progress.add_task(escape(path.name), total=1.0, state="uploading")
    try:
        with path.open("rb") as content:
            status, body = await client.post(
                "/api/v1/documents/upload",
                data={"title": title} if title else {},
                files={"file": (path.name, content, MEDIA_TYPES[path.suffix.lower()])},
            )
        document, job = body["document"], body.get("job")
        if job is not None and job["status"] not in _ENDED:
            document = await _follow(client, document["id"], job["id"], progress, bar)
        result = _result(path, document, was_there=status == 200)
    except OSError as error:
        result = UploadResult(path, "failed", _reason(error))
    except ApiProblem as problem:
        result = UploadResult(path, "failed", str(problem))
    progress.update(bar, completed=1.0, state=result.outcome)
    return result


async def _follow(
    client: ApiClient, document_id: str, job_id: str, progress: Progress, bar: TaskID
) -> dict[str, object]:
    """Show a job's progress until it ends; return the document then."""
    while True:
        job = await client.get(f"/api/v1/jobs/{job_id}")
        if job["status"] in _ENDED:
            return await client.get(f"/api/v1/documents/{document_id}")
        progress.update(bar, completed=float(job["progress"]), state=state_of(job))
        await asyncio.sleep(_POLL_S)


def state_of(job: dict[str, Any]) -> str:
    """Return what a job does now: `embedding 32/120 chunks, 5 s left`."""
    state = str(job.get("stage") or job["status"])
    if counts := job.get("counts"):
        state += f" {counts['done']}/{counts['total']} {counts['unit']}"
    if eta := job.get("eta_seconds"):
        state += f", {eta} s left"
    return state


def _result(path: Path, document: dict[str, object], *, was_there: bool) -> UploadResult:
    identity = str(document["id"])
    if document["status"] == "completed":
        return UploadResult(path, "already there" if was_there else "read", _size(document), identity)
    error = document.get("error")
    reason = error.get("reason") if isinstance(error, dict) else None
    return UploadResult(path, "failed", str(reason or f"its status is {document['status']}"), identity)


def _size(document: dict[str, object]) -> str:
    pages = f"{document['pages']} pages, " if document.get("pages") else ""
    count = document.get("chunk_count")
    return f"{pages}{count} passage{'' if count == 1 else 's'}"


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("[dim]{task.fields[state]}[/]"),
        TimeElapsedColumn(),
        console=console,
    )


def results_table(results: Sequence[UploadResult]) -> Table:
    """Return what became of each file."""
    styles = {"read": "green", "already there": "cyan", "failed": "red", "skipped": "yellow"}
    table = Table("File", "Result", "Detail", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for result in results:
        outcome = f"[{styles[result.outcome]}]{result.outcome}[/]"
        table.add_row(escape(str(result.path)), outcome, escape(result.reason))
    return table
