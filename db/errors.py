"""What goes wrong with the database, named by what the caller can do.

DatabaseError
├── DatabaseUnavailable    the same call may work later: no connection, statement timeout
│   ├── WriteConflict      it may work at once: a deadlock or serialization failure ended the transaction
│   ├── NoneFree           all connections of this process are in use
│   ├── StatementTimeout   the server ended a statement that took too long
│   ├── DiskFull           the server has no room left: the operator must make some
│   ├── CommitUnknown      what it was to write may stand there already
│   └── IndexUnavailable   the same, of the vector index
├── DuplicateKey           somebody was first: `constraint` says with what
├── RowRefused             what the row hangs on is gone, or the user no longer sees it
│   └── MissingParent      what the row belongs to is not there: `constraint` says what
├── UnsafeRole             the operator must give the services a role that row level security binds
├── IncompatibleIndex      the vector index is of another shape: it must be filled anew from PostgreSQL
│   └── DimensionMismatch  its vectors, or those given, are another model's
├── MigrationFailed        the operator must prepare a role or a right; the message says which
└── SeedRefused            the operator asked to fill a database that must not or cannot be filled
"""


class DatabaseError(Exception):
    """Base of the errors that db raises on purpose."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot answer now; the same call may work later."""


class WriteConflict(DatabaseUnavailable):
    """PostgreSQL rolled the transaction back, as others held what it needed; `Database.run` repeats it."""


class NoneFree(DatabaseUnavailable):
    """All connections of the pool are in use, and none came free in time."""


class StatementTimeout(DatabaseUnavailable):
    """The server ended a statement that took longer than the settings allow."""


class DiskFull(DatabaseUnavailable):
    """The server has no room for what is to be written."""


class CommitUnknown(DatabaseUnavailable):
    """The connection broke while the transaction was committed, and nobody knows whether it was."""


class DuplicateKey(DatabaseError):
    """A unique constraint refused the row.

    Args:
        constraint: name of the constraint or unique index (`users_email_key`).
    """

    def __init__(self, constraint: str) -> None:
        super().__init__(f"duplicate key: {constraint}")
        self.constraint = constraint


class RowRefused(DatabaseError):
    """Row level security or a foreign key refused the row: what it hangs on is gone, or the user does not see
    it."""


class MissingParent(RowRefused):
    """A foreign key refused the row: what it belongs to was deleted, or never there.

    Args:
        constraint: name of the foreign key (`chat_conversations_user_id_fkey`).
    """

    def __init__(self, constraint: str) -> None:
        super().__init__(f"missing parent: {constraint}")
        self.constraint = constraint


class UnsafeRole(DatabaseError):
    """The role is a superuser, bypasses row level security, or owns a table; the message says which."""


class MigrationFailed(DatabaseError):
    """The schema cannot be brought up to date; the message is one line and says what is missing."""


class SeedRefused(DatabaseError):
    """The database is not filled, and has not changed; the message is one line and says why."""


class IndexUnavailable(DatabaseUnavailable):
    """The vector index cannot answer now: its server is away, or another process holds the embedded one."""


class IncompatibleIndex(DatabaseError):
    """What the vector index holds was written by another version; PostgreSQL holds what fills it anew."""


class DimensionMismatch(IncompatibleIndex):
    """A vector, or a collection that exists already, has another dimension than the embedding model."""
