"""The tables, one file each."""

from little_monster.db.models.calendar_feeds import CalendarFeed
from little_monster.db.models.chat_conversations import ChatConversation, ContextType
from little_monster.db.models.chat_messages import ChatMessage, MessageRole, MessageStatus
from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.models.notifications import Notification
from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.refresh_tokens import RefreshToken
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.models.users import User, UserRole

__all__ = [
    "CalendarFeed",
    "ChatConversation",
    "ChatMessage",
    "ContextType",
    "DocumentChunk",
    "EmbeddingStatus",
    "EventType",
    "FileType",
    "Job",
    "JobStatus",
    "MessageRole",
    "MessageStatus",
    "Notification",
    "PlannerEvent",
    "RefreshToken",
    "Subject",
    "User",
    "UserDocument",
    "UserRole",
]
