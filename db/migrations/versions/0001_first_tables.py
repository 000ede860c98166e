"""The first tables: accounts, documents, chat, jobs; under forced row level security from the start."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from little_monster.db.policies import definers, former_queue, roles, tenancy, triggers

revision = "0001"
down_revision = None

TABLES = (
    "users",
    "refresh_tokens",
    "user_documents",
    "document_chunks",
    "chat_conversations",
    "chat_messages",
    "jobs",
)
ENUMS = (
    "context_type",
    "embedding_status",
    "file_type",
    "job_status",
    "message_role",
    "message_status",
    "subject",
    "user_role",
)


def upgrade() -> None:
    """Make roles, tables, policies, functions and triggers."""
    op.execute(roles.ENSURE)
    op.execute(roles.BECOME_SYSTEM)
    _run(tenancy.AUTH_SCHEMA)
    for create_table in (
        _users,
        _refresh_tokens,
        _user_documents,
        _document_chunks,
        _chat_conversations,
        _chat_messages,
        _jobs,
    ):
        create_table()
    _run(tenancy.protect_users())
    for table in tenancy.TENANT_TABLES:
        _run(tenancy.protect(table))
    _run(definers.create())
    _run(triggers.create())
    _run(former_queue.create())


def downgrade() -> None:
    """Remove all of it but the roles, which other databases of the server may use."""
    _run(former_queue.drop())
    op.execute("DROP SCHEMA queue")
    for function in ("auth.find_login(text)", "auth.find_refresh_token_owner(bytea)"):
        op.execute(f"DROP FUNCTION {function}")
    for table in reversed(TABLES):
        op.drop_table(table)
    _run(triggers.drop_functions())
    for enum in ENUMS:
        op.execute(f"DROP TYPE {enum}")
    op.execute("DROP FUNCTION auth.uid()")
    op.execute("DROP SCHEMA auth")
    op.execute("REVOKE USAGE ON SCHEMA public FROM lm_app, lm_system")


def _run(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(statement)


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("avatar_color", sa.Text(), nullable=True),
        sa.Column("subjects", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("preferences", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "role",
            sa.Enum("student", "moderator", "admin", name="user_role"),
            server_default="student",
            nullable=False,
        ),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "last_active_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
    )
    op.create_index("users_email_key", "users", [sa.literal_column("lower(email)")], unique=True)


def _refresh_tokens() -> None:
    op.create_table(
        "refresh_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("refresh_tokens_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("refresh_tokens_pkey")),
        sa.UniqueConstraint("token_hash", name=op.f("refresh_tokens_token_hash_key")),
    )
    op.create_index("refresh_tokens_family_idx", "refresh_tokens", ["user_id", "family_id"], unique=False)


def _user_documents() -> None:
    op.create_table(
        "user_documents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("file_type", sa.Enum("pdf", "docx", "txt", "markdown", name="file_type"), nullable=False),
        sa.Column(
            "subject",
            sa.Enum(
                "mathematics",
                "physics",
                "chemistry",
                "biology",
                "computer_science",
                "history",
                "geography",
                "literature",
                "languages",
                "economics",
                "psychology",
                "philosophy",
                "art",
                "other",
                name="subject",
            ),
            nullable=True,
        ),
        sa.Column("file_url", sa.Text(), nullable=False),
        sa.Column("file_size", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("page_count", sa.BigInteger(), nullable=True),
        sa.Column("chunk_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "embedding_status",
            sa.Enum("pending", "processing", "completed", "failed", name="embedding_status"),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_reason", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("user_documents_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("user_documents_pkey")),
        sa.UniqueConstraint("user_id", "id", name=op.f("user_documents_user_id_id_key")),
    )
    op.create_index(
        "idx_documents_search",
        "user_documents",
        [sa.literal_column("to_tsvector('english', title)")],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index("idx_user_documents_hash", "user_documents", ["user_id", "content_hash"], unique=False)
    op.create_index(
        "idx_user_documents_status",
        "user_documents",
        ["embedding_status", sa.literal_column("created_at DESC")],
        unique=False,
    )
    op.create_index(
        "idx_user_documents_user",
        "user_documents",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )


def _document_chunks() -> None:
    op.create_table(
        "document_chunks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_index", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("token_count", sa.BigInteger(), nullable=False),
        sa.Column("page", sa.BigInteger(), nullable=True),
        sa.Column("page_end", sa.BigInteger(), nullable=True),
        sa.Column("start_offset", sa.BigInteger(), nullable=False),
        sa.Column("end_offset", sa.BigInteger(), nullable=False),
        sa.Column("headings", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("embedding_id", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "document_id"],
            ["user_documents.user_id", "user_documents.id"],
            name=op.f("document_chunks_user_id_document_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("document_chunks_pkey")),
        sa.UniqueConstraint("document_id", "chunk_index", name="idx_document_chunks_document"),
    )
    op.create_index("document_chunks_user_idx", "document_chunks", ["user_id", "document_id"], unique=False)


def _chat_conversations() -> None:
    op.create_table(
        "chat_conversations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column(
            "context_type",
            sa.Enum("general", "video", "document", "research", name="context_type"),
            server_default="general",
            nullable=False,
        ),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("message_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "last_message_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("chat_conversations_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("chat_conversations_pkey")),
        sa.UniqueConstraint("user_id", "id", name=op.f("chat_conversations_user_id_id_key")),
    )
    op.create_index(
        "idx_chat_conversations_user",
        "chat_conversations",
        ["user_id", sa.literal_column("last_message_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )


def _chat_messages() -> None:
    op.create_table(
        "chat_messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Enum("user", "assistant", "system", name="message_role"), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("completed", "interrupted", "failed", name="message_status"),
            server_default="completed",
            nullable=False,
        ),
        sa.Column("token_count", sa.BigInteger(), nullable=True),
        sa.Column(
            "sources",
            postgresql.ARRAY(postgresql.JSONB()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("function_calls", postgresql.JSONB(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["chat_conversations.user_id", "chat_conversations.id"],
            name=op.f("chat_messages_user_id_conversation_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("chat_messages_pkey")),
    )
    op.create_index("chat_messages_user_idx", "chat_messages", ["user_id", "conversation_id"], unique=False)
    op.create_index(
        "idx_chat_messages_conversation",
        "chat_messages",
        ["conversation_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum("queued", "running", "completed", "failed", "cancelled", name="job_status"),
            server_default="queued",
            nullable=False,
        ),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("progress", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("payload", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("result", postgresql.JSONB(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.BigInteger(), server_default=sa.text("3"), nullable=False),
        sa.Column(
            "run_after", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("leased_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name=op.f("jobs_progress_check")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("jobs_user_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("jobs_pkey")),
    )
    op.create_index(
        "jobs_queued_idx", "jobs", ["run_after"], unique=False, postgresql_where=sa.text("status = 'queued'")
    )
    op.create_index(
        "jobs_running_idx",
        "jobs",
        ["leased_until"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index("jobs_subject_idx", "jobs", ["subject_id"], unique=False)
    op.create_index(
        "jobs_user_idx",
        "jobs",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
