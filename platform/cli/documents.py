"""`little-monster documents`."""

import asyncio

from rich.markup import escape
from rich.table import Table

from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output


def documents() -> None:
    """List the documents of your account, the newest first."""
    asyncio.run(_list())


async def _list() -> None:
    table = Table(
        "Id", "Title", "Type", "Status", "Pages", "Passages", "Added", box=None, padding=(0, 2, 0, 0)
    )
    async with open_session().client() as client:
        async for document in client.pages("/api/v1/documents"):
            error = document.get("error") or {}
            status = document["status"] + (f": {error['reason']}" if error else "")
            table.add_row(
                document["id"],
                escape(document["title"]),
                document["file_type"],
                escape(status),
                str(document["pages"] or ""),
                str(document["chunk_count"]),
                document["created_at"][:16].replace("T", " "),
            )
    output.print(
        table if table.row_count else "[dim]No documents yet: `little-monster ingest FILE` adds one.[/]"
    )
