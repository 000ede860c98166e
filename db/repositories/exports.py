"""Everything that belongs to one user, as plain values for a file that they take away."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, Table, func, inspect, literal, select, tuple_

from little_monster.db.base import Base
from little_monster.db.models.audit_events import AuditEvent
from little_monster.db.models.calendar_feeds import CalendarFeed
from little_monster.db.models.chat_conversations import ChatConversation
from little_monster.db.models.chat_messages import ChatMessage
from little_monster.db.models.chat_runs import ChatRun
from little_monster.db.models.comments import Comment
from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.email_codes import EmailCode
from little_monster.db.models.external_identities import ExternalIdentity
from little_monster.db.models.jobs import Job
from little_monster.db.models.notifications import Notification
from little_monster.db.models.personal_access_tokens import PersonalAccessToken
from little_monster.db.models.planner_events import PlannerEvent
from little_monster.db.models.ratings import Rating
from little_monster.db.models.recovery_codes import RecoveryCode
from little_monster.db.models.sessions import LoginSession
from little_monster.db.models.totp_credentials import TotpCredential
from little_monster.db.models.user_documents import UserDocument
from little_monster.db.models.users import User
from little_monster.db.models.videos import Video
from little_monster.db.repositories.rows import Rows
from little_monster.db.session import Session

Record = dict[str, Any]

PAGE = 500
"""Rows that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Section:
    """A table, its column that names whose a row is, and the columns that its rows are ordered by."""

    model: type[Base]
    owner: str = "user_id"
    order: tuple[str, ...] = ("created_at", "id")


SECTIONS: Final[dict[str, Section]] = {
    "profile": Section(User, "id"),
    "documents": Section(UserDocument),
    "document_chunks": Section(DocumentChunk, order=("document_id", "chunk_index")),
    # Messages stand in the files of their conversations: both in one order.
    "conversations": Section(ChatConversation, order=("id",)),
    "messages": Section(ChatMessage, order=("conversation_id", "created_at", "id")),
    "planner_events": Section(PlannerEvent),
    "calendar_feeds": Section(CalendarFeed),
    "videos": Section(Video, "created_by"),
    "comments": Section(Comment),
    "ratings": Section(Rating),
    "notifications": Section(Notification),
    "runs": Section(ChatRun),
    "jobs": Section(Job),
    "sessions": Section(LoginSession),
    "personal_access_tokens": Section(PersonalAccessToken),
    "totp_credentials": Section(TotpCredential),
    "recovery_codes": Section(RecoveryCode),
    "email_codes": Section(EmailCode),
    "external_identities": Section(ExternalIdentity),
    "audit_events": Section(AuditEvent),
}
"""Row level security alone would also show what others made public, and more to a moderator."""

LEFT_OUT: Final = {
    "pending_chunks": "passages of documents that are being read, and soon in `document_chunks`",
    "refresh_tokens": "their log-ins are in `sessions`, and the rest of them is secret",
    "index_outbox": "ids of what is being removed or written elsewhere, for seconds",
}
"""Tables with rows of a user that no section shows, each with its reason."""

# Where files are kept, secrets, the queue's notes, and what a comment copies of somebody else's video. Hashes
# are left out as well.
_HIDDEN = {
    "file_url",
    "secret",
    "last_used_step",
    "queue_id",
    "leased_by",
    "video_created_by",
    "video_status",
}


async def count(session: Session, user_id: UUID) -> dict[str, int]:
    """Return how many rows each section of `SECTIONS` has."""
    query = select(
        *(
            select(func.count()).where(_owner(section) == user_id).scalar_subquery().label(name)
            for name, section in SECTIONS.items()
        )
    )
    return dict((await session.execute(query)).mappings().one())


async def rows(session: Session, name: str, user_id: UUID, after: Record | None) -> Rows[Record]:
    """Return at most `PAGE` rows of a section of `SECTIONS`, in its order, behind the row `after`."""
    section = SECTIONS[name]
    table = _table(section)
    order = [table.c[column] for column in section.order]
    columns = [one for one in table.columns if one.name not in _HIDDEN and not one.name.endswith("_hash")]
    query = select(*columns).where(_owner(section) == user_id).order_by(*order).limit(PAGE)
    if after is not None:
        seen = [literal(after[column.name], column.type) for column in order]
        query = query.where(tuple_(*order) > tuple_(*seen))
    found = (await session.execute(query)).mappings()
    # SQLAlchemy's names are of a class of their own, which no JSON library takes for text.
    return [{str(column): value for column, value in row.items()} for row in found]


def _owner(section: Section) -> Column[UUID]:
    return _table(section).c[section.owner]


def _table(section: Section) -> Table:
    table = inspect(section.model).local_table
    assert isinstance(table, Table)
    return table
