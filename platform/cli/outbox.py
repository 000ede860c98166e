"""`little-monster outbox`."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output


def outbox(
    number: Annotated[int, typer.Argument(min=0, help="Show this message; 1 is the newest.")] = 0,
) -> None:
    """List the mail that was written to the data folder because no SMTP server is set, or show a message."""
    paths = _newest_first(open_session().data.outbox)
    if not paths:
        output.print("[dim]No mail was written here.[/]")
    elif number == 0:
        output.print(_table(paths))
    elif number <= len(paths):
        _show(_read(paths[number - 1]))
    else:
        raise typer.BadParameter(f"there are only {len(paths)} messages")


def _newest_first(folder: Path) -> list[Path]:
    """Return the messages; their names begin with the time."""
    return sorted(folder.glob("*.eml"), key=lambda path: path.name, reverse=True)


def _table(paths: list[Path]) -> Table:
    table = Table("", "When", "To", "Subject", box=None, padding=(0, 2, 0, 0))
    for number, path in enumerate(paths, start=1):
        message = _read(path)
        shown = (escape(str(message[name])) for name in ("Date", "To", "Subject"))
        table.add_row(str(number), *shown)
    return table


def _show(message: EmailMessage) -> None:
    for name in ("Date", "From", "To", "Subject"):
        output.print(f"{name}: {message[name]}", markup=False, soft_wrap=True)
    body = message.get_body(("plain",))
    output.print()
    output.print(body.get_content() if body else "", markup=False, soft_wrap=True)


def _read(path: Path) -> EmailMessage:
    return message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=policy.default)
