"""`little-monster ingest PATH...`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.cli.uploads import UploadResult, find_files, results_table, upload_all


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders to search through.")],
) -> None:
    """Upload files and folders (PDF, DOCX, PPTX, EPUB, HTML, Markdown, text) to your account and wait until
    they are read.
    """
    files, left_out = find_files(paths)
    results = asyncio.run(_upload(files)) if files else []
    output.print(results_table([*results, *left_out]))
    if any(result.failed for result in [*results, *left_out]):
        raise typer.Exit(1)


async def _upload(files: list[Path]) -> list[UploadResult]:
    async with open_session().client() as client:
        return await upload_all(client, files, output)
