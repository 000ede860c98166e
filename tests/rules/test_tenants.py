"""Each table belongs to somebody: a new one cannot be added without its policies."""

from little_monster.db import models
from little_monster.db.base import Base
from little_monster.db.policies import (
    content,
    external_identities,
    identity,
    outbox,
    pending_chunks,
    planner,
    runs,
)
from little_monster.db.policies.tenancy import TENANT_TABLES

IDENTITY_TABLES = {*identity.TENANT_TABLES, identity.AUDIT_TABLE}
# What tells no user's secrets, each with its reason.
WITHOUT_TENANT = {
    # Digests, which only functions of lm_system see.
    external_identities.ENDED_TABLE,
    # Ids of what has to be changed elsewhere, which triggers write and workers read.
    outbox.OUTBOX,
    # Names of models.
    outbox.COLLECTIONS,
}


def test_every_table_has_policies() -> None:
    """tests/integration/test_rls.py then proves what the policies of each do."""
    assert models
    known = {"users", *TENANT_TABLES, *content.TABLES, *IDENTITY_TABLES, *planner.TABLES}
    known |= {*external_identities.TENANT_TABLES, *pending_chunks.TENANT_TABLES, *runs.TENANT_TABLES}
    assert set(Base.metadata.tables) == known | WITHOUT_TENANT
