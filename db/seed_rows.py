"""The rows of a demonstration database: the same numbers and the same seed make the same rows.

They are made as they are read, a table at a time, with all counts in them that triggers would have kept.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from random import Random
from typing import Any
from uuid import UUID

from little_monster.db.models.moderation_status import ModerationStatus
from little_monster.db.models.user_documents import EmbeddingStatus, FileType, Subject
from little_monster.db.models.videos import Difficulty, VideoStatus

CHUNKS_PER_DOCUMENT = 20
_BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
_SPAN = timedelta(days=365)
# How many digits PostgreSQL's own division of small numbers keeps: a recount gives exactly the same.
_AVERAGE_DIGITS = Decimal("1e-16")

_DIFFICULTIES = [difficulty.value for difficulty in Difficulty]
_STATUSES = [VideoStatus.PUBLIC.value] * 17 + [
    VideoStatus.DRAFT.value,
    VideoStatus.PRIVATE.value,
    VideoStatus.ARCHIVED.value,
]
_VERDICTS = [ModerationStatus.APPROVED.value] * 17 + [
    ModerationStatus.PENDING.value,
    ModerationStatus.FLAGGED.value,
    ModerationStatus.REJECTED.value,
]
_TAGS = ("exam", "basics", "homework", "revision", "experiment", "theory", "practice", "history")
_TOPICS = {
    Subject.MATHEMATICS: ("derivatives", "prime numbers", "matrices"),
    Subject.PHYSICS: ("momentum", "electric fields", "waves"),
    Subject.CHEMISTRY: ("acids and bases", "covalent bonds", "oxidation"),
    Subject.BIOLOGY: ("photosynthesis", "cell walls", "heredity"),
    Subject.COMPUTER_SCIENCE: ("sorting", "graphs", "relational databases"),
    Subject.HISTORY: ("the printing press", "the Roman republic", "decolonisation"),
    Subject.GEOGRAPHY: ("plate tectonics", "monsoons", "river deltas"),
    Subject.LITERATURE: ("the sonnet", "unreliable narrators", "tragedy"),
    Subject.LANGUAGES: ("the subjunctive", "loan words", "word order"),
    Subject.ECONOMICS: ("supply and demand", "inflation", "comparative advantage"),
    Subject.PSYCHOLOGY: ("working memory", "conditioning", "sleep"),
    Subject.PHILOSOPHY: ("free will", "induction", "the social contract"),
    Subject.ART: ("perspective", "fresco", "the golden ratio"),
}
_TITLES = (
    "{} in ten minutes",
    "What to know about {}",
    "{}: the ideas behind it",
    "{} before the exam",
    "Five questions about {}",
)
_SENTENCES = (
    "The first thing to notice about {} is how often it is met without being named.",
    "A textbook example of {} leaves out what makes it hard in practice.",
    "Those who described {} first had no words for what they saw.",
    "An exercise: explain {} to somebody who has never heard of it.",
    "Measurements of {} agree with the theory, but for one case that is treated below.",
    "It is common to confuse {} with what follows from it.",
    "Three questions help to check whether {} is understood.",
    "In the next section {} returns in a more general form.",
)
_REMARKS = (
    "Now I understand {}, thank you.",
    "Could you say more about {}?",
    "The part about {} helped me in the exam.",
    "I would have liked an example of {}.",
)


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """How many rows of each kind to make, and the seed of chance. Videos and chunks need users, comments need
    videos."""

    users: int
    videos: int
    comments: int
    chunks: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes into one table: `count` records, which are made while they are read."""

    table: str
    columns: tuple[str, ...]
    count: int
    records: Iterator[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Video:
    id: UUID
    creator: UUID
    status: str
    subject: Subject
    topic: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class _Comment:
    created_at: datetime
    video: _Video
    user_id: UUID
    verdict: str
    hidden: bool


class SeedRows:
    """All rows of a plan. `password_hash` is that of every account."""

    def __init__(self, plan: SeedPlan, password_hash: str) -> None:
        self._plan, self._password_hash = plan, password_hash

    def batches(self) -> Iterator[Batch]:
        """Yield the tables in an order in which each row finds what it hangs on."""
        plan = self._plan
        documents = len(self._documents)
        yield Batch("users", _USERS, plan.users, self._users())
        yield Batch("videos", _VIDEOS, plan.videos, self._video_rows())
        yield Batch("comments", _COMMENTS, plan.comments, self._comment_rows())
        yield Batch("ratings", _RATINGS, len(self._stars), self._rating_rows())
        yield Batch("user_documents", _DOCUMENTS, documents, self._document_rows())
        yield Batch("document_chunks", _CHUNKS, plan.chunks, self._chunk_rows())

    def email(self, number: int) -> str:
        """Return the address of the user `number`, from 1 on."""
        return f"student{number}.seed{self._plan.seed}@example.com"

    def _chance(self, name: str) -> Random:
        """Return a chance of its own for each kind of row: more of one kind leaves the others as they are."""
        return Random(f"{self._plan.seed}:{name}")

    @cached_property
    def _people(self) -> list[tuple[UUID, datetime]]:
        chance = self._chance("users")
        return [(_id(chance, time), time) for time in _times(self._plan.users)]

    @cached_property
    def _videos(self) -> list[_Video]:
        chance, topics = self._chance("videos"), [*_TOPICS.items()]
        videos = []
        for number, time in enumerate(_times(self._plan.videos)):
            subject, names = chance.choice(topics)
            # The first is public, so that there is something to comment on.
            status = chance.choice(_STATUSES) if number else VideoStatus.PUBLIC.value
            creator = chance.choice(self._people)[0]
            videos.append(_Video(_id(chance, time), creator, status, subject, chance.choice(names), time))
        return videos

    @cached_property
    def _comments(self) -> list[_Comment]:
        """Comments on public videos, few of which get many; by time, as they would have been written."""
        chance = self._chance("comments")
        public = [video for video in self._videos if video.status == VideoStatus.PUBLIC]
        comments = []
        for _ in range(self._plan.comments):
            video = public[int(len(public) * chance.random() ** 3)]
            time = video.created_at + chance.random() * timedelta(days=30)
            verdict, hidden = chance.choice(_VERDICTS), chance.random() < 0.01
            comments.append(_Comment(time, video, chance.choice(self._people)[0], verdict, hidden))
        return sorted(comments, key=lambda comment: comment.created_at)

    @cached_property
    def _stars(self) -> dict[tuple[UUID, UUID], tuple[int, datetime]]:
        """Stars by video and user: who comments on a video has rated it too."""
        chance = self._chance("ratings")
        stars: dict[tuple[UUID, UUID], tuple[int, datetime]] = {}
        for comment in self._comments:
            given = (chance.choice((2, 3, 4, 4, 5, 5)), comment.created_at)
            stars.setdefault((comment.video.id, comment.user_id), given)
        return stars

    @cached_property
    def _documents(self) -> list[tuple[UUID, UUID, datetime, Subject, str]]:
        """Id, owner, time, subject and topic of each document."""
        chance, topics = self._chance("documents"), [*_TOPICS.items()]
        documents = []
        for time in _times(-(-self._plan.chunks // CHUNKS_PER_DOCUMENT)):
            subject, names = chance.choice(topics)
            owner = chance.choice(self._people)[0]
            documents.append((_id(chance, time), owner, time, subject, chance.choice(names)))
        return documents

    def _users(self) -> Iterator[tuple[Any, ...]]:
        for number, (user_id, time) in enumerate(self._people, start=1):
            name = f"Student {number}"
            yield (user_id, self.email(number), self._password_hash, name, time, time, time, time)

    def _video_rows(self) -> Iterator[tuple[Any, ...]]:
        chance = self._chance("video texts")
        seen = Counter(
            comment.video.id
            for comment in self._comments
            if comment.verdict == ModerationStatus.APPROVED and not comment.hidden
        )
        raters, stars = Counter[UUID](), Counter[UUID]()
        for (video_id, _), (given, _) in self._stars.items():
            raters[video_id] += 1
            stars[video_id] += given
        for video in self._videos:
            watchable = video.status != VideoStatus.DRAFT
            title = chance.choice(_TITLES).format(video.topic)
            count = raters[video.id]
            yield (
                video.id,
                title[0].upper() + title[1:],
                video.subject.value,
                chance.choice(_DIFFICULTIES),
                f"An introduction to {video.topic}",
                video.creator,
                video.status,
                ModerationStatus.APPROVED.value if video.status == VideoStatus.PUBLIC else None,
                f"seed/{video.id}.mp4" if watchable else None,
                chance.randint(60, 900) if watchable else None,
                _average(stars[video.id], count),
                count,
                int(count * chance.uniform(5, 20)),
                seen[video.id],
                chance.sample(_TAGS, 2),
                video.created_at,
                video.created_at,
            )

    def _comment_rows(self) -> Iterator[tuple[Any, ...]]:
        chance = self._chance("comment texts")
        for comment in self._comments:
            video, time = comment.video, comment.created_at
            yield (
                _id(chance, time),
                video.id,
                comment.user_id,
                chance.choice(_REMARKS).format(video.topic),
                comment.hidden,
                comment.verdict,
                video.creator,
                video.status,
                time,
                time,
            )

    def _rating_rows(self) -> Iterator[tuple[Any, ...]]:
        chance = self._chance("rating ids")
        for (video_id, user_id), (stars, time) in self._stars.items():
            yield (_id(chance, time), video_id, user_id, stars, time, time)

    def _document_rows(self) -> Iterator[tuple[Any, ...]]:
        for number, (document_id, owner, time, subject, topic) in enumerate(self._documents):
            chunks = min(CHUNKS_PER_DOCUMENT, self._plan.chunks - number * CHUNKS_PER_DOCUMENT)
            yield (
                document_id,
                owner,
                f"Notes on {topic}",
                FileType.TXT.value,
                subject.value,
                f"{owner}/{document_id}/original",
                chunks * 400,
                _digest(str(document_id)),
                chunks,
                EmbeddingStatus.COMPLETED.value,
                time,
                time,
            )

    def _chunk_rows(self) -> Iterator[tuple[Any, ...]]:
        chance = self._chance("chunks")
        end = 0
        for number in range(self._plan.chunks):
            place, index = divmod(number, CHUNKS_PER_DOCUMENT)
            document_id, owner, time, _, topic = self._documents[place]
            begin = end + 1 if index else 0
            content = " ".join(chance.sample(_SENTENCES, 4)).replace("{}", topic)
            chunk_id, end = _id(chance, time), begin + len(content)
            yield (
                chunk_id,
                owner,
                document_id,
                index,
                content,
                _digest(content),
                len(content) // 4,
                begin,
                end,
                str(chunk_id),
                time,
            )


_USERS = (
    "id",
    "email",
    "password_hash",
    "display_name",
    "created_at",
    "updated_at",
    "last_active_at",
    "email_verified_at",
)
_VIDEOS = (
    "id",
    "title",
    "subject",
    "difficulty",
    "topic",
    "created_by",
    "status",
    "moderation_status",
    "video_url",
    "duration",
    "rating_avg",
    "rating_count",
    "view_count",
    "comment_count",
    "tags",
    "created_at",
    "updated_at",
)
_COMMENTS = (
    "id",
    "video_id",
    "user_id",
    "text",
    "is_hidden",
    "moderation_status",
    "video_created_by",
    "video_status",
    "created_at",
    "updated_at",
)
_RATINGS = ("id", "video_id", "user_id", "stars", "created_at", "updated_at")
_DOCUMENTS = (
    "id",
    "user_id",
    "title",
    "file_type",
    "subject",
    "file_url",
    "file_size",
    "content_hash",
    "chunk_count",
    "embedding_status",
    "created_at",
    "updated_at",
)
_CHUNKS = (
    "id",
    "user_id",
    "document_id",
    "chunk_index",
    "content",
    "content_hash",
    "token_count",
    "start_offset",
    "end_offset",
    "embedding_id",
    "created_at",
)


def _times(count: int) -> Iterator[datetime]:
    """Yield rising times, all over the year."""
    return (_BEGIN + _SPAN * number / count for number in range(count))


def _id(chance: Random, time: datetime) -> UUID:
    """Return a UUIDv7 of that time."""
    milliseconds = int(time.timestamp() * 1000)
    bits = milliseconds << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
    return UUID(int=bits)


def _average(total: int, count: int) -> Decimal:
    return (Decimal(total) / count).quantize(_AVERAGE_DIGITS, ROUND_HALF_UP) if count else Decimal(0)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
