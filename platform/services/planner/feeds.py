"""Secret addresses at which calendar programs, which cannot log in, read a user's planner.

A token is 32 random bytes and a signature of them, so that a forged one is refused without a look into the
database; of a true one only the hash is kept, which can be revoked.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from little_monster.db.models.calendar_feeds import CalendarFeed
from little_monster.db.models.planner_events import PlannerEvent
from little_monster.db.repositories import calendar_feeds, planner_events, users
from little_monster.db.session import Database
from little_monster.platform.errors import Conflict, NotFound
from little_monster.platform.services.planner.calendars import FORMAT
from little_monster.platform.settings import AuthSettings

MAX_FEEDS = 10
KEPT = timedelta(days=366)
"""How far back a feed goes."""

_RANDOM_BYTES, _SIGNATURE_BYTES = 32, 16
_PURPOSE = b"calendar feed:"

After = tuple[datetime, UUID] | None


@dataclass(frozen=True, slots=True)
class NewFeed:
    """A feed with its token, which is known only now."""

    feed: CalendarFeed
    token: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a feed shows. `version` is another one whenever the events are; no events when it is known."""

    version: str
    events: Sequence[PlannerEvent] | None


class FeedTokens:
    """Makes and recognises tokens.

    Args:
        settings: whose secret signs.
    """

    def __init__(self, settings: AuthSettings) -> None:
        assert settings.secret is not None, "the process does not start without a secret"
        self._key = settings.secret.get_secret_value().encode()

    def new(self) -> str:
        """Return a token: URL-safe text."""
        random = secrets.token_bytes(_RANDOM_BYTES)
        return base64.urlsafe_b64encode(random + self._signature(random)).decode()

    def is_ours(self, token: str) -> bool:
        """Say whether `new` made the token."""
        try:
            found = base64.b64decode(token, b"-_", validate=True)
        except (binascii.Error, ValueError):
            return False
        random, signature = found[:_RANDOM_BYTES], found[_RANDOM_BYTES:]
        return hmac.compare_digest(signature, self._signature(random))

    def _signature(self, random: bytes) -> bytes:
        return hmac.digest(self._key, _PURPOSE + random, "sha256")[:_SIGNATURE_BYTES]


async def create_feed(database: Database, owner: UUID, tokens: FeedTokens) -> NewFeed:
    """Make a feed.

    Raises:
        Conflict: the user has enough of them.
    """
    token = tokens.new()
    async with database.session(owner) as session:
        await users.lock(session, owner)
        if await calendar_feeds.count_good(session) >= MAX_FEEDS:
            raise Conflict(f"There are {MAX_FEEDS} feeds: revoke one first.", code="too_many_feeds")
        feed = await calendar_feeds.create(session, user_id=owner, token_hash=_digest(token))
    return NewFeed(feed, token)


async def list_feeds(database: Database, owner: UUID, *, limit: int, after: After) -> list[CalendarFeed]:
    """Return at most `limit` feeds, newest first, behind `after`."""
    return await database.query(owner, partial(calendar_feeds.list, limit=limit, after=after))


async def show_feed(database: Database, owner: UUID, feed_id: UUID) -> CalendarFeed:
    """Return one feed.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    async with database.session(owner) as session:
        feed = await calendar_feeds.get(session, feed_id)
    if feed is None:
        raise _no_feed()
    return feed


async def revoke_feed(database: Database, owner: UUID, feed_id: UUID) -> None:
    """Revoke one feed.

    Raises:
        NotFound: there is none that is good, or it is somebody else's.
    """
    async with database.session(owner) as session:
        if not await calendar_feeds.revoke(session, feed_id):
            raise _no_feed()


async def revoke_feeds(database: Database, owner: UUID) -> None:
    """Revoke all feeds."""
    async with database.session(owner) as session:
        await calendar_feeds.revoke_all(session)


async def read_feed(
    database: Database, tokens: FeedTokens, token: str, *, is_known: Callable[[str], bool]
) -> Contents:
    """Return the events of a feed, those of a year past and all to come, and note its use.

    Args:
        is_known: says whether the client has this version, and needs no events.

    Raises:
        NotFound: the token is unknown or revoked.
    """
    digest = _digest(token)
    owner = await _owner_of(database, digest) if tokens.is_ours(token) else None
    if owner is None:
        raise NotFound("There is no such calendar.", code="feed_not_found")
    since = datetime.now(UTC) - KEPT
    async with database.session(owner) as session:
        await calendar_feeds.touch(session, digest)
        version = f"{FORMAT}-{await planner_events.version_since(session, since)}"
        if is_known(version):
            return Contents(version, None)
        return Contents(version, await planner_events.list_since(session, since))


async def _owner_of(database: Database, digest: bytes) -> UUID | None:
    async with database.session(None) as session:
        return await calendar_feeds.find_owner(session, digest)


def _no_feed() -> NotFound:
    return NotFound("There is no such feed.", code="feed_not_found")


def _digest(token: str) -> bytes:
    # A fast hash is right, as the token is random.
    return hashlib.sha256(token.encode()).digest()
