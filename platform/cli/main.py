"""`little-monster VERB`: the verbs, and how an error looks."""

import sys
from collections.abc import Callable

import typer

from little_monster.platform.cli.ask import ask
from little_monster.platform.cli.demo import demo
from little_monster.platform.cli.deploy import deploy
from little_monster.platform.cli.documents import documents
from little_monster.platform.cli.down import down
from little_monster.platform.cli.download import download
from little_monster.platform.cli.evaluate import evaluate
from little_monster.platform.cli.ingest import ingest
from little_monster.platform.cli.login import login
from little_monster.platform.cli.migrate import migrate
from little_monster.platform.cli.openapi import openapi
from little_monster.platform.cli.outbox import outbox
from little_monster.platform.cli.promote import promote
from little_monster.platform.cli.reembed import reembed
from little_monster.platform.cli.register import register
from little_monster.platform.cli.reprocess import reprocess
from little_monster.platform.cli.seed import seed
from little_monster.platform.cli.settings import settings
from little_monster.platform.cli.status import status
from little_monster.platform.cli.terminal import show_error
from little_monster.platform.cli.up import up
from little_monster.platform.cli.verify import verify
from little_monster.platform.cli.version import version
from little_monster.platform.errors import LittleMonsterError

app = typer.Typer(
    name="little-monster",
    help="Little Monster: cited answers over your own documents, on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    "The stack on this machine": (up, down, status, deploy, migrate, promote, seed, verify, reembed),
    "Use it": (demo, ask, ingest, documents, download, reprocess, login, register),
    "Measure it": (evaluate,),
    "Look up": (outbox, settings, openapi, version),
}
for panel, verbs in _VERBS.items():
    for verb in verbs:
        app.command(rich_help_panel=panel)(verb)


def main() -> None:
    """Run the verb of the command line; an error of ours is one clear line and status 1."""
    try:
        app()
    except LittleMonsterError as error:
        show_error(error)
        sys.exit(1)
    except ExceptionGroup as group:
        known, other = group.split(LittleMonsterError)
        if known is None or other is not None:
            raise
        show_error(_first(known))
        sys.exit(1)


def _first(group: ExceptionGroup[LittleMonsterError]) -> LittleMonsterError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


if __name__ == "__main__":
    main()
