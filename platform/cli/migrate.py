"""`little-monster migrate`."""

from little_monster.platform.cli.session import open_session
from little_monster.platform.cli.terminal import output
from little_monster.platform.embedded.instance import read_instance
from little_monster.platform.embedded.migration import migrate_embedded, migrate_given
from little_monster.platform.embedded.postgres import Postgres
from little_monster.platform.errors import StartupError


def migrate() -> None:
    """Bring the database to this version: yours (LM_DATABASE__OWNER_URL), or the embedded one that runs."""
    session = open_session()
    if session.settings.database.url:
        revision = migrate_given(session.settings.database)
    else:
        instance = read_instance(session.data)
        if instance is None or "postgres" not in instance.children:
            raise StartupError(
                "migrate", "the embedded PostgreSQL does not run", "`make up` starts it and migrates"
            )
        revision = migrate_embedded(Postgres(session.data))
    output.print(f"[green]✓[/] The database is at {revision}")
