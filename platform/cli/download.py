"""`little-monster download ID`."""

import asyncio
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Final
from urllib.parse import unquote
from uuid import UUID

import typer

from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output

# As the API writes them (RFC 8187, RFC 6266).
_WHOLE: Final = re.compile(r"filename\*=UTF-8''([^;\s]+)")
_PLAIN: Final = re.compile(r'filename="([^"]*)"')


def download(
    document: Annotated[UUID, typer.Argument(help="Its id, as `little-monster documents` shows it.")],
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Empty: its title, here.")
    ] = None,
) -> None:
    """Save the file of a document as it was uploaded; a file that is there is never overwritten."""
    path = asyncio.run(_download(document, target))
    output.print(f"[green]✓[/] {path.stat().st_size} bytes: ", end="")
    output.print(str(path), markup=False, soft_wrap=True)


async def _download(document: UUID, target: Path | None) -> Path:
    async with (
        open_session().client() as client,
        client.download(f"/api/v1/documents/{document}/download") as response,
    ):
        path = target or Path(_name(response.headers.get("Content-Disposition", "")))
        try:
            # The API's files have at most megabytes, and nothing else runs here.
            with path.open("xb") as file:
                async for part in response.aiter_bytes():
                    file.write(part)
        except FileExistsError:
            raise typer.BadParameter(f"{path} is there already; --output names another file") from None
    return path


def _name(disposition: str) -> str:
    """Return the name of a file in the header, without any folder that it might name."""
    whole, plain = _WHOLE.search(disposition), _PLAIN.search(disposition)
    name = unquote(whole[1]) if whole else plain[1] if plain else ""
    name = PurePosixPath(name).name
    return "document" if name in ("", "..") else name
