"""Jobs wait in PgQueuer's tables."""

import sqlalchemy as sa
from alembic import op

from little_monster.db import queue as tables
from little_monster.db.policies import former_queue, queue

revision = "0009"
down_revision = "0008"

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

# One that runs is taken from its worker, as after an outage.
_LEAVE_QUEUE = """
    UPDATE jobs
    SET run_after = q.execute_after, leased_until = CASE WHEN jobs.status = 'running' THEN now() END
    FROM queue.pgqueuer q WHERE q.id = jobs.queue_id
"""


def upgrade() -> None:
    """Make the tables, and let what waits or runs wait there."""
    for statement in (*former_queue.drop(), *tables.install()):
        op.execute(statement)
    op.add_column("jobs", sa.Column("queue_id", sa.BigInteger(), nullable=True))
    _over_all_rows(_ENQUEUE_WAITING)
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
    _over_all_rows(_LEAVE_QUEUE)
    op.drop_column("jobs", "queue_id")
    for name, column, status in (
        ("jobs_queued_idx", "run_after", "queued"),
        ("jobs_running_idx", "leased_until", "running"),
    ):
        where = sa.text(f"status = '{status}'")
        op.create_index(name, "jobs", [column], unique=False, postgresql_where=where)
    for statement in (*tables.uninstall(), *former_queue.create()):
        op.execute(statement)


def _over_all_rows(statement: str) -> None:
    """Run a statement over all rows, which forced row level security hides from their tables' owner, and
    leave no trace of it in `updated_at`."""
    op.execute("ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY, DISABLE TRIGGER touch_updated_at")
    op.execute("ALTER TABLE queue.pgqueuer NO FORCE ROW LEVEL SECURITY")
    op.execute(statement)
    op.execute("ALTER TABLE queue.pgqueuer FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE jobs FORCE ROW LEVEL SECURITY, ENABLE TRIGGER touch_updated_at")
