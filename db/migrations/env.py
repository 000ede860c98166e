"""What Alembic runs for each command: the migrations, on the connection that `db.migrate` opened."""

from alembic import context

from little_monster.db import models  # noqa: F401 - fills the metadata.
from little_monster.db.base import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
