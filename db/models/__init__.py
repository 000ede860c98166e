"""The tables, one file each."""

from little_monster.db.models.audit_events import AuditEvent
from little_monster.db.models.calendar_feeds import CalendarFeed
from little_monster.db.models.chat_conversations import ChatConversation, ContextType
from little_monster.db.models.chat_messages import ChatMessage, MessageRole, MessageStatus
from little_monster.db.models.chat_runs import ChatRun, RunStatus
from little_monster.db.models.comments import Comment
from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.email_codes import EmailCode, EmailCodePurpose
from little_monster.db.models.embedding_collections import CollectionState, EmbeddingCollection
from little_monster.db.models.ended_identities import EndedIdentity
from little_monster.db.models.external_identities import ExternalIdentity
from little_monster.db.models.index_outbox import ChangeKind, IndexChange
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.models.notifications import Notification
from little_monster.db.models.pending_chunks import PendingChunk
from little_monster.db.models.personal_access_tokens import PersonalAccessToken
from little_monster.db.models.planner_events import EventType, PlannerEvent
from little_monster.db.models.ratings import Rating
from little_monster.db.models.recovery_codes import RecoveryCode
from little_monster.db.models.refresh_tokens import RefreshToken
from little_monster.db.models.sessions import LoginSession
from little_monster.db.models.totp_credentials import TotpCredential
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.models.users import User, UserRole
from little_monster.db.models.videos import Difficulty, Video, VideoStatus

__all__ = [
    "AuditEvent",
    "CalendarFeed",
    "ChangeKind",
    "ChatConversation",
    "ChatMessage",
    "ChatRun",
    "CollectionState",
    "Comment",
    "ContextType",
    "Difficulty",
    "DocumentChunk",
    "EmailCode",
    "EmailCodePurpose",
    "EmbeddingCollection",
    "EmbeddingStatus",
    "EndedIdentity",
    "EventType",
    "ExternalIdentity",
    "FileType",
    "IndexChange",
    "Job",
    "JobStatus",
    "LoginSession",
    "MessageRole",
    "MessageStatus",
    "ModerationStatus",
    "Notification",
    "PendingChunk",
    "PersonalAccessToken",
    "PlannerEvent",
    "Rating",
    "RecoveryCode",
    "RefreshToken",
    "RunStatus",
    "Subject",
    "TotpCredential",
    "User",
    "UserDocument",
    "UserRole",
    "Video",
    "VideoStatus",
]
