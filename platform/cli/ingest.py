"""`little-monster ingest`: your own files through the API, or as an operator a library for an account."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from little_monster.db.models.user_documents import Subject
from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.cli.uploads import UploadResult, find_files, results_table, upload_all

_OPERATOR = "With --owner"


def ingest(
    sources: Annotated[
        list[str], typer.Argument(help="Files and folders; with --owner one of them, s3://... or a manifest.")
    ],
    owner: Annotated[
        str | None,
        typer.Option(
            help="Address or id of the account to ingest for, by the cluster of this stack.",
            rich_help_panel=_OPERATOR,
        ),
    ] = None,
    subject: Annotated[
        Subject | None, typer.Option(help="Subject of all documents.", rich_help_panel=_OPERATOR)
    ] = None,
    manifest: Annotated[
        bool,
        typer.Option(
            "--manifest",
            help="The source lists files, a path a line; .csv and .jsonl do so in a column or field `path`.",
            rich_help_panel=_OPERATOR,
        ),
    ] = False,
    concurrency: Annotated[
        int, typer.Option(min=1, max=256, help="Documents parsed at once.", rich_help_panel=_OPERATOR)
    ] = 2,
    embedders: Annotated[
        int,
        typer.Option(
            min=0,
            max=256,
            help="Models that the pipeline loads for itself; 0: it asks the one that serves.",
            rich_help_panel=_OPERATOR,
        ),
    ] = 0,
    gpus: Annotated[
        float,
        typer.Option(min=0, help="GPUs of each such model, also a part of one.", rich_help_panel=_OPERATOR),
    ] = 0.0,
    nice: Annotated[
        int,
        typer.Option(
            min=0, max=19, help="How far its processes stand back behind others.", rich_help_panel=_OPERATOR
        ),
    ] = 10,
) -> None:
    """Upload files and folders (PDF, DOCX, PPTX, EPUB, HTML, Markdown, text) to your account and wait until
    they are read.

    With --owner, as the operator of this stack: ingest a whole folder, bucket or manifest for an account by a
    Ray job. The same command again skips what is complete and goes on with the rest.
    """
    if owner is not None:
        if len(sources) != 1:
            raise typer.BadParameter("with --owner there is one source")
        _ingest_library(
            owner,
            sources[0],
            manifest=manifest,
            subject=subject,
            readers=concurrency,
            embedders=embedders,
            gpus=gpus,
            nice=nice,
        )
        return
    if subject is not None or manifest:
        raise typer.BadParameter("--subject and --manifest need --owner")
    files, left_out = find_files([Path(source) for source in sources])
    results = asyncio.run(_upload(files)) if files else []
    output.print(results_table([*results, *left_out]))
    if any(result.failed for result in [*results, *left_out]):
        raise typer.Exit(1)


def _ingest_library(owner: str, source: str, **values: object) -> None:
    # The database's driver takes time to import, which no other verb has to wait for.
    from little_monster.platform.cli.library import ingest_library, order_of, show_result

    result = asyncio.run(ingest_library(open_session(), owner, order_of(source, **values), output))
    show_result(result, output)
    if result.failed:
        raise typer.Exit(1)


async def _upload(files: list[Path]) -> list[UploadResult]:
    async with open_session().client() as client:
        return await upload_all(client, files, output)
