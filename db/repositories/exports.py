"""Everything that belongs to one user, as plain values for a file that they take away."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, inspect, select

from little_monster.db.base import Base
from little_monster.db.models.audit_events import AuditEvent
from little_monster.db.models.chat_conversations import ChatConversation
from little_monster.db.models.chat_messages import ChatMessage
from little_monster.db.models.comments import Comment
from little_monster.db.models.external_identities import ExternalIdentity
from little_monster.db.models.notifications import Notification
from little_monster.db.models.personal_access_tokens import PersonalAccessToken
from little_monster.db.models.planner_events import PlannerEvent
from little_monster.db.models.ratings import Rating
from little_monster.db.models.sessions import LoginSession
from little_monster.db.models.user_documents import UserDocument
from little_monster.db.models.users import User
from little_monster.db.models.videos import Video
from little_monster.db.repositories.rows import Rows
from little_monster.db.session import Session

Record = dict[str, Any]

SECTIONS: Final[dict[str, tuple[type[Base], str]]] = {
    "profile": (User, "id"),
    "documents": (UserDocument, "user_id"),
    "conversations": (ChatConversation, "user_id"),
    "planner_events": (PlannerEvent, "user_id"),
    "videos": (Video, "created_by"),
    "comments": (Comment, "user_id"),
    "ratings": (Rating, "user_id"),
    "notifications": (Notification, "user_id"),
    "sessions": (LoginSession, "user_id"),
    "personal_access_tokens": (PersonalAccessToken, "user_id"),
    "external_identities": (ExternalIdentity, "user_id"),
    "audit_events": (AuditEvent, "user_id"),
}
"""The model of each section, and its column that names whose a row is: row level security would also show
what others made public, and more to a moderator."""

# Where files are kept, and what a comment copies of somebody else's video. Hashes are left out as well.
_HIDDEN = {"file_url", "video_created_by", "video_status"}


async def rows(session: Session, section: str, user_id: UUID) -> Rows[Record]:
    """Return all rows of a section of `SECTIONS`, the oldest first."""
    model, owner = SECTIONS[section]
    return await _records(session, model, owner, user_id)


async def messages(session: Session, conversation_id: UUID) -> Rows[Record]:
    """Return all messages of a conversation in the order they were said."""
    return await _records(session, ChatMessage, "conversation_id", conversation_id)


async def _records(session: Session, model: type[Base], owner: str, key: UUID) -> Rows[Record]:
    table = inspect(model).local_table
    assert isinstance(table, Table)
    columns = [one for one in table.columns if one.name not in _HIDDEN and not one.name.endswith("_hash")]
    query = select(*columns).where(table.c[owner] == key).order_by(table.c.created_at, table.c.id)
    found = (await session.execute(query)).mappings()
    # SQLAlchemy's names are of a class of their own, which no JSON library takes for text.
    return [{str(name): value for name, value in row.items()} for row in found]
