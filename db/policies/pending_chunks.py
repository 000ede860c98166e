"""Who sees passages of documents that are being read: their owner, as whom workers write them."""

from collections.abc import Iterator

from little_monster.db.policies.tenancy import protect

TENANT_TABLES = ("pending_chunks",)


def create() -> Iterator[str]:
    """Yield what protects the table."""
    for table in TENANT_TABLES:
        yield from protect(table)
