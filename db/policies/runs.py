"""Who sees the runs of answers: their owner."""

from collections.abc import Iterator

from little_monster.db.policies.tenancy import protect

TENANT_TABLES = ("chat_runs",)

_TOUCH = """
    CREATE OR REPLACE TRIGGER touch_updated_at BEFORE UPDATE ON {table}
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at()
"""


def create() -> Iterator[str]:
    """Yield what protects the table and keeps its `updated_at`."""
    for table in TENANT_TABLES:
        yield from protect(table)
        yield _TOUCH.format(table=table)
