"""The tables, one file each."""

from little_monster.db.models.chat_conversations import ChatConversation, ContextType
from little_monster.db.models.chat_messages import ChatMessage, MessageRole, MessageStatus
from little_monster.db.models.comments import Comment, ModerationStatus
from little_monster.db.models.document_chunks import DocumentChunk
from little_monster.db.models.jobs import Job, JobStatus
from little_monster.db.models.ratings import Rating
from little_monster.db.models.refresh_tokens import RefreshToken
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject, UserDocument
from little_monster.db.models.users import User, UserRole
from little_monster.db.models.videos import Difficulty, Video, VideoStatus

__all__ = [
    "ChatConversation",
    "ChatMessage",
    "Comment",
    "ContextType",
    "Difficulty",
    "DocumentChunk",
    "EmbeddingStatus",
    "FileType",
    "Job",
    "JobStatus",
    "MessageRole",
    "MessageStatus",
    "ModerationStatus",
    "Rating",
    "RefreshToken",
    "Subject",
    "User",
    "UserDocument",
    "UserRole",
    "Video",
    "VideoStatus",
]
