"""`little-monster evaluate`."""

import asyncio
import json
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from little_monster.platform.cli.client import ApiClient
from little_monster.platform.cli.corpus_files import CorpusFormat
from little_monster.platform.cli.corpus_uploads import Shelf, upload_corpus, wait_until_read
from little_monster.platform.cli.credentials import MemoryKeeper
from little_monster.platform.cli.patience import Patience
from little_monster.platform.cli.session import CliSession, open_session
from little_monster.platform.cli.terminal import errors, output
from little_monster.platform.errors import LittleMonsterError
from little_monster.platform.services.evaluation.dataset import Dataset, read_dataset
from little_monster.platform.services.evaluation.evaluate import Scores
from little_monster.platform.services.evaluation.evaluate import evaluate as score

# A document is found by its best passage: more passages are asked for than documents are counted, at most as
# many as the API gives.
_PASSAGES_FOR_ONE, _MAX_PASSAGES = 5, 50
_MAX_QUERY_CHARS: Final = 2_000
_DELETION_S: Final = 1_800.0


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found: how good, how quick a search was (milliseconds, as the client sees it), and
    what the rest took (seconds)."""

    dataset: str
    format: str
    documents: int
    failures: dict[str, int]
    scores: Scores
    search_p50_ms: float
    search_p95_ms: float
    upload_s: float
    read_s: float
    waited_s: float
    refusals: int


@dataclass(frozen=True, slots=True)
class _Run:
    """One evaluation under way."""

    client: ApiClient
    dataset: Dataset
    progress: Progress
    k: int
    patience: Patience
    times_s: list[float] = field(default_factory=list)


def evaluate(
    dataset: Annotated[Path, typer.Option(help="Folder with corpus.jsonl, queries.jsonl and qrels.")],
    format: Annotated[
        CorpusFormat, typer.Option(help="Kind of file that the texts are uploaded as.")
    ] = CorpusFormat.TXT,
    k: Annotated[int, typer.Option(min=1, max=_MAX_PASSAGES, help="Answers that count.")] = 10,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first texts, with their questions; flatters.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, max=64, help="Searches at once.")] = 4,
    min_ndcg: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least nDCG; below it the status is 1.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the search of the running stack: upload a dataset to an account made for it, ask its questions,
    delete the account again."""
    found = read_dataset(dataset)
    if found.strays:
        errors.print(f"[yellow]{found.strays} judgements name what is not there[/]")
    report = asyncio.run(
        _evaluate(open_session(), found.first(limit) if limit else found, format, k, clients)
    )
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        output.print(_table(report))
    if min_ndcg is not None and report.scores.ndcg < min_ndcg:
        errors.print(f"[bold red]✗[/] nDCG@{k} is {report.scores.ndcg:.4f}, less than {min_ndcg}")
        raise typer.Exit(1)


async def _evaluate(
    session: CliSession, dataset: Dataset, kind: CorpusFormat, k: int, clients: int
) -> Report:
    async with _throw_away_account(session) as client:
        with _progress() as progress:
            run = _Run(client, dataset, progress, k, Patience(_tell_of_the_limit))
            begun = perf_counter()
            shelf = await _upload(run, kind)
            uploaded = perf_counter()
            await _wait(run, shelf)
            read = perf_counter()
            scores = await _ask(run, shelf, clients)
    return Report(
        dataset.name,
        kind.value,
        len(shelf.keys),
        dict(shelf.failures),
        scores,
        search_p50_ms=_quantile(run.times_s, 0.5) * 1e3,
        search_p95_ms=_quantile(run.times_s, 0.95) * 1e3,
        upload_s=uploaded - begun,
        read_s=read - uploaded,
        waited_s=run.patience.waited_s,
        refusals=run.patience.refusals,
    )


@asynccontextmanager
async def _throw_away_account(session: CliSession) -> AsyncIterator[ApiClient]:
    """Register an account; however it ends, delete it with all that it has."""
    email, password = f"evaluate-{secrets.token_hex(6)}@example.com", secrets.token_urlsafe(18)
    async with session.client(MemoryKeeper()) as client:
        await client.register(email, password, "Evaluation")
        try:
            yield client
        finally:
            try:
                delete = partial(
                    client.delete, "/api/v1/users/me", json={"password": password}, timeout=_DELETION_S
                )
                await Patience()(delete)
            except LittleMonsterError as error:
                errors.print(f"[yellow]The account {email} is still there:[/] ", end="")
                errors.print(str(error), markup=False)


def _tell_of_the_limit() -> None:
    errors.print("[yellow]The API limits the requests of one user: it sets the pace now[/]")


async def _upload(run: _Run, kind: CorpusFormat) -> Shelf:
    # A file without any text is refused, and nobody would find it.
    texts = {key: entry for key, entry in run.dataset.corpus.items() if entry.text.strip()}
    bar = run.progress.add_task(f"uploading {kind.value}", total=len(texts))
    return await upload_corpus(run.client, texts, kind, run.patience, lambda: run.progress.advance(bar))


async def _wait(run: _Run, shelf: Shelf) -> None:
    bar = run.progress.add_task("reading", total=len(shelf.keys))
    await wait_until_read(
        run.client, shelf, run.patience, lambda done: run.progress.update(bar, completed=done)
    )


async def _ask(run: _Run, shelf: Shelf, clients: int) -> Scores:
    bar = run.progress.add_task("searching", total=len(run.dataset.questions))

    async def find(question: str) -> Sequence[str]:
        passages = await run.patience(partial(_search, run, question))
        run.progress.advance(bar)
        return [key for one in passages for key in shelf.keys.get(one["document_id"], ())]

    return await score(run.dataset, find, k=run.k, at_once=clients)


async def _search(run: _Run, question: str) -> list[dict[str, Any]]:
    begun = perf_counter()
    limit = min(_PASSAGES_FOR_ONE * run.k, _MAX_PASSAGES)
    _, body = await run.client.post(
        "/api/v1/documents/search", json={"query": question[:_MAX_QUERY_CHARS], "limit": limit}
    )
    run.times_s.append(perf_counter() - begun)
    passages: list[dict[str, Any]] = body["items"]
    return passages


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the nearest rank."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=errors,
    )


def _table(report: Report) -> Table:
    scores = report.scores
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row(
        "Dataset",
        f"{escape(report.dataset)}: {report.documents} {report.format} files, {scores.questions} questions",
    )
    for name, value in (("nDCG", scores.ndcg), ("recall", scores.recall), ("MRR", scores.mrr)):
        table.add_row(f"{name}@{scores.k}", f"[bold]{value:.4f}[/]")
    table.add_row("Search", f"p50 {report.search_p50_ms:.0f} ms, p95 {report.search_p95_ms:.0f} ms")
    table.add_row("Ingestion", f"{report.upload_s:.0f} s to upload, then {report.read_s:.0f} s to read")
    if report.refusals:
        table.add_row(
            "Rate limit",
            f"refused {report.refusals} requests, {report.waited_s:.0f} s waited by all together: the API's"
            " LM_API__REQUESTS_PER_MINUTE",
        )
    for reason, count in report.failures.items():
        table.add_row("[red]Not read[/]", f"{count}: {escape(reason)}")
    return table
