"""Jobs wait in PgQueuer's tables."""

import sqlalchemy as sa
from alembic import op

from little_monster.db import queue as tables
from little_monster.db.policies import former_queue, queue

revision = "0009"
down_revision = "0006"

_ENQUEUE_WAITING = """
    WITH made AS (
        INSERT INTO queue.pgqueuer (priority, status, entrypoint, dedupe_key, payload, headers, execute_after)
        SELECT 0, 'queued', kind, id::text, uuid_send(id), jsonb_build_object('owner', user_id), run_after
        FROM jobs WHERE status IN ('queued', 'running')
        RETURNING id, dedupe_key
    )
    UPDATE jobs SET queue_id = made.id, status = 'queued', leased_by = NULL
    FROM made WHERE jobs.id = made.dedupe_key::uuid
"""


def upgrade() -> None:
    """Make the tables, and let what waits or runs wait there."""
    for statement in (*former_queue.drop(), *tables.install()):
        op.execute(statement)
    op.add_column("jobs", sa.Column("queue_id", sa.BigInteger(), nullable=True))
    _as_owner_of_all(_ENQUEUE_WAITING)
    op.drop_index("jobs_queued_idx", table_name="jobs")
    op.drop_index("jobs_running_idx", table_name="jobs")
    op.drop_column("jobs", "run_after")
    op.drop_column("jobs", "leased_until")
    op.create_index(
        "jobs_active_idx",
        "jobs",
        ["updated_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    for statement in queue.create():
        op.execute(statement)


def downgrade() -> None:
    """Let jobs wait in their own table again."""
    for statement in queue.drop():
        op.execute(statement)
    op.drop_index("jobs_active_idx", table_name="jobs")
    time = sa.TIMESTAMP(timezone=True)
    op.add_column("jobs", sa.Column("run_after", time, server_default=sa.text("now()"), nullable=False))
    op.add_column("jobs", sa.Column("leased_until", time, nullable=True))
    _as_owner_of_all("UPDATE jobs SET leased_until = now() WHERE status = 'running'")
    op.drop_column("jobs", "queue_id")
    for name, column, status in (
        ("jobs_queued_idx", "run_after", "queued"),
        ("jobs_running_idx", "leased_until", "running"),
    ):
        where = sa.text(f"status = '{status}'")
        op.create_index(name, "jobs", [column], unique=False, postgresql_where=where)
    for statement in (*tables.uninstall(), *former_queue.create()):
        op.execute(statement)


def _as_owner_of_all(statement: str) -> None:
    """Run a statement over all rows, which forced row level security hides from their table's owner."""
    op.execute("ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY")
    op.execute(statement)
    op.execute("ALTER TABLE jobs FORCE ROW LEVEL SECURITY")
