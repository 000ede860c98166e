"""Sessions, one-time codes and the audit trail."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import identity

revision = "0004"
down_revision = "0003"

TABLES = (*identity.TENANT_TABLES, identity.AUDIT_TABLE)


def upgrade() -> None:
    """Make them; each family of refresh tokens that is there becomes a session."""
    op.add_column("users", sa.Column("email_verified_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    for create_table in (
        _sessions,
        _email_codes,
        _personal_access_tokens,
        _totp_credentials,
        _recovery_codes,
        _audit_events,
    ):
        create_table()
    _fill_sessions()
    _run(identity.create())


def downgrade() -> None:
    """Remove them."""
    _run(identity.drop_functions())
    for table in reversed(TABLES):
        op.drop_table(table)
    op.execute("DROP TYPE email_code_purpose")
    op.drop_column("users", "email_verified_at")


def _run(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(statement)


def _fill_sessions() -> None:
    # Forced row level security hides the tokens from an owner that is no superuser.
    op.execute("ALTER TABLE refresh_tokens NO FORCE ROW LEVEL SECURITY")
    op.execute("""
        INSERT INTO sessions (id, user_id, created_at, last_used_at, revoked_at)
        SELECT family_id, user_id, min(created_at), max(created_at),
            CASE WHEN bool_and(revoked_at IS NOT NULL) THEN max(revoked_at) END
        FROM refresh_tokens GROUP BY family_id, user_id
    """)
    op.execute("ALTER TABLE refresh_tokens FORCE ROW LEVEL SECURITY")


def _moment(name: str, *, now: bool = False) -> sa.Column[Any]:
    default = sa.text("now()") if now else None
    return sa.Column(name, postgresql.TIMESTAMP(timezone=True), server_default=default, nullable=not now)


def _owned(table: str) -> tuple[Any, ...]:
    """Return what each table of a user has: key, owner, time of making."""
    return (
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _moment("created_at", now=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f(f"{table}_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"{table}_pkey")),
    )


def _newest_first(name: str, table: str) -> None:
    op.create_index(
        name,
        table,
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )


def _sessions() -> None:
    op.create_table(
        "sessions",
        *_owned("sessions"),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("address_prefix", sa.Text(), nullable=True),
        _moment("last_used_at", now=True),
        _moment("revoked_at"),
    )
    _newest_first("sessions_user_idx", "sessions")


def _email_codes() -> None:
    op.create_table(
        "email_codes",
        *_owned("email_codes"),
        sa.Column(
            "purpose",
            sa.Enum("verify_email", "reset_password", name="email_code_purpose"),
            nullable=False,
        ),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        _moment("used_at"),
        sa.UniqueConstraint("code_hash", name=op.f("email_codes_code_hash_key")),
    )
    op.create_index(
        "email_codes_user_idx",
        "email_codes",
        ["user_id", "purpose", sa.literal_column("created_at DESC")],
        unique=False,
    )


def _personal_access_tokens() -> None:
    op.create_table(
        "personal_access_tokens",
        *_owned("personal_access_tokens"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        _moment("expires_at"),
        _moment("last_used_at"),
        _moment("revoked_at"),
        sa.CheckConstraint(
            "scopes <@ ARRAY['read', 'write'] AND cardinality(scopes) > 0",
            name=op.f("personal_access_tokens_scopes_check"),
        ),
        sa.UniqueConstraint("token_hash", name=op.f("personal_access_tokens_token_hash_key")),
    )
    _newest_first("personal_access_tokens_user_idx", "personal_access_tokens")


def _totp_credentials() -> None:
    op.create_table(
        "totp_credentials",
        *_owned("totp_credentials"),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        _moment("confirmed_at"),
        sa.Column("last_used_step", sa.BigInteger(), nullable=True),
        sa.UniqueConstraint("user_id", name=op.f("totp_credentials_user_id_key")),
    )


def _recovery_codes() -> None:
    op.create_table(
        "recovery_codes",
        *_owned("recovery_codes"),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        _moment("used_at"),
        sa.UniqueConstraint("user_id", "code_hash", name=op.f("recovery_codes_user_id_code_hash_key")),
    )


def _audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("address_prefix", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        _moment("created_at", now=True),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_events_pkey")),
    )
    _newest_first("audit_events_user_idx", "audit_events")
