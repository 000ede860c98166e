"""Videos, comments and ratings: every command as the owner of a row, another, nobody, a moderator, an admin.

Each table has rows in the states that decide who sees them; `RULES` says what each user may do with them.
"""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from little_monster.db.base import new_id
from little_monster.db.policies import content

WHO = ("owner", "other", "nobody", "moderator", "admin")
ALL, STAFF = frozenset(WHO), frozenset({"moderator", "admin"})
OWN = frozenset({"owner"})

# Rows by name: the table and what is not as in a new row. `creator` owns the videos of comments and ratings.
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "public video": ("videos", {"status": "public"}),
    "draft": ("videos", {}),
    "private video": ("videos", {"status": "private"}),
    "failed video": ("videos", {"status": "failed"}),
    "archived video": ("videos", {"status": "archived"}),
    "video in the making": ("videos", {"status": "processing"}),
    "approved comment": ("comments", {"moderation_status": "approved"}),
    "pending comment": ("comments", {}),
    "flagged comment": ("comments", {"moderation_status": "flagged"}),
    "rejected comment": ("comments", {"moderation_status": "rejected"}),
    "hidden comment": ("comments", {"moderation_status": "approved", "is_hidden": True}),
    "comment out of sight": ("comments", {"moderation_status": "approved", "video": "creator's private"}),
    "rating": ("ratings", {}),
    "rating out of sight": ("ratings", {"video": "creator's private"}),
}
# Who may SELECT, UPDATE, DELETE each row.
RULES: dict[str, tuple[frozenset[str], frozenset[str], frozenset[str]]] = {
    "public video": (ALL, OWN | STAFF, OWN | STAFF),
    "approved comment": (ALL, OWN | STAFF, OWN | STAFF),
    "rating": (OWN, OWN, OWN),
    "rating out of sight": (OWN, frozenset(), frozenset()),
}
PRIVATE = (OWN | STAFF, OWN | STAFF, OWN | STAFF)
CHANGES = {"videos": "title = 'changed'", "comments": "is_hidden = is_hidden", "ratings": "stars = 1"}


class Community:
    """Five users, of whom `owner` owns each row of `ROWS`; `run` tries a statement and leaves nothing
    behind."""

    def __init__(self, app: asyncpg.Connection, owner: asyncpg.Connection) -> None:
        self.app, self.superuser = app, owner
        self.users: dict[str, UUID | None] = {name: new_id() for name in (*WHO, "creator")}
        self.users["nobody"] = None
        self.rows = {name: new_id() for name in (*ROWS, "creator's public", "creator's private")}

    async def fill(self) -> None:
        for who, user in self.users.items():
            role = who if who in STAFF else "student"
            if user is not None:
                await self.superuser.execute(
                    "INSERT INTO users (id, email, password_hash, display_name, role)"
                    " VALUES ($1, $1::uuid::text, '', '', $2)",
                    user,
                    role,
                )
        for name in ("creator's public", "creator's private"):
            await self.make(name, "videos", "creator", status="public")
        for name, (table, state) in ROWS.items():
            await self.make(name, table, "owner", **state)
        await self.superuser.execute(
            "UPDATE videos SET status = 'private' WHERE id = $1", self.rows["creator's private"]
        )

    async def make(
        self, name: str, table: str, who: str, *, video: str = "creator's public", **state: Any
    ) -> None:
        """Insert a row as the tables' owner, whom nothing binds."""
        await self.superuser.execute(*self.insertion(table, self.users[who], self.rows[name], video))
        for column, value in state.items():
            await self.superuser.execute(
                f"UPDATE {table} SET {column} = $1 WHERE id = $2", value, self.rows[name]
            )

    def insertion(
        self, table: str, user: UUID | None, row: UUID, video: str = "creator's public"
    ) -> tuple[Any, ...]:
        if table == "videos":
            columns = "(id, created_by, title, topic, subject, difficulty)"
            return f"INSERT INTO videos {columns} VALUES ($1, $2, '', '', 'art', 'beginner')", row, user
        column, value = ("text", "'hi'") if table == "comments" else ("stars", "5")
        statement = f"INSERT INTO {table} (id, user_id, video_id, {column}) VALUES ($1, $2, $3, {value})"
        return statement, row, user, self.rows[video]

    async def become(self, who: str) -> None:
        if (user := self.users[who]) is not None:
            await self.app.execute(f"SET LOCAL app.user_id = '{user}'")

    async def run(self, who: str, statement: str, *values: object) -> str:
        transaction = self.app.transaction()
        await transaction.start()
        try:
            await self.become(who)
            status: str = await self.app.execute(statement, *values)
            return status
        finally:
            await transaction.rollback()


@pytest.fixture(scope="module")
async def community(postgres):
    app, owner = await asyncpg.connect(postgres.app_url), await asyncpg.connect(postgres.owner_url)
    community = Community(app, owner)
    await community.fill()
    yield community
    await owner.execute("DELETE FROM users WHERE id = ANY ($1)", [*filter(None, community.users.values())])
    await app.close()
    await owner.close()


def rules(name: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    return RULES.get(name, PRIVATE)


def test_each_table_is_tried() -> None:
    assert {table for table, _ in ROWS.values()} == set(content.TABLES)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("row", ROWS)
async def test_select(community, row, who):
    table, _ = ROWS[row]
    found = await community.run(who, f"SELECT FROM {table} WHERE id = $1", community.rows[row])
    assert found == f"SELECT {int(who in rules(row)[0])}"


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("row", ROWS)
async def test_update(community, row, who):
    table, _ = ROWS[row]
    statement = f"UPDATE {table} SET {CHANGES[table]} WHERE id = $1"
    assert await community.run(who, statement, community.rows[row]) == f"UPDATE {int(who in rules(row)[1])}"


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("row", ROWS)
async def test_delete(community, row, who):
    table, _ = ROWS[row]
    deleted = await community.run(who, f"DELETE FROM {table} WHERE id = $1", community.rows[row])
    assert deleted == f"DELETE {int(who in rules(row)[2])}"


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("video", ["creator's public", "creator's private"])
@pytest.mark.parametrize("table", content.TABLES)
async def test_insert(community, table, video, who):
    """Everybody makes rows of their own, on videos that they see, and nobody somebody else's."""
    user, other = community.users[who], community.users["creator"]
    # `owner` has rated both already.
    if table == "ratings" and who == "owner":
        await community.superuser.execute("DELETE FROM ratings WHERE id = $1", community.rows["rating"])
    seen = table == "videos" or video == "creator's public" or who in STAFF
    if user is not None and seen:
        made = await community.run(who, *community.insertion(table, user, new_id(), video))
        assert made == "INSERT 0 1"
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await community.run(who, *community.insertion(table, user or new_id(), new_id(), video))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await community.run(who, *community.insertion(table, other, new_id(), video))
    if table == "ratings" and who == "owner":
        await community.superuser.execute(
            *community.insertion(table, user, community.rows["rating"], "creator's public")
        )


async def test_the_creator_sees_what_others_said_under_a_private_video(community):
    row = community.rows["comment out of sight"]
    assert await community.run("creator", "SELECT FROM comments WHERE id = $1", row) == "SELECT 1"
    pending = community.rows["pending comment"]
    assert await community.run("creator", "SELECT FROM comments WHERE id = $1", pending) == "SELECT 0"


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("videos", ("rating_avg = 5", "rating_count = 1", "view_count = 1", "comment_count = 1")),
        ("videos", ("created_by = created_by", "created_at = now()", "updated_at = now()")),
        ("comments", ("video_id = video_id", "user_id = user_id", "video_status = 'public'")),
        ("comments", ("video_created_by = user_id", "created_at = now()", "updated_at = now()")),
        ("ratings", ("video_id = video_id", "user_id = user_id", "created_at = now()")),
    ],
)
async def test_what_is_counted_or_fixed_is_written_by_no_service(community, table, columns):
    for who in ("owner", "admin"):
        for column in columns:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
                await community.run(who, f"UPDATE {table} SET {column}")


@pytest.mark.parametrize(
    "column", ["rating_avg", "rating_count", "view_count", "comment_count", "created_at", "updated_at"]
)
async def test_a_new_video_brings_no_counts(community, column):
    statement, row, user = community.insertion("videos", community.users["owner"], new_id())
    statement = statement.replace("(id,", f"({column}, id,").replace("($1,", "(DEFAULT, $1,")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await community.run("owner", statement, row, user)


@pytest.mark.parametrize("column", ["moderation_status", "moderation_reason", "is_hidden", "video_status"])
async def test_a_new_comment_brings_no_verdict(community, column):
    statement, *values = community.insertion("comments", community.users["owner"], new_id())
    statement = statement.replace("(id,", f"({column}, id,").replace("($1,", "(DEFAULT, $1,")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await community.run("owner", statement, *values)


@pytest.mark.parametrize(
    "change",
    [
        "moderation_status = 'approved'",
        "moderation_reason = 'fine'",
        "text = 'new', moderation_status = 'approved'",
        "is_hidden = true",
        "text = 'new', is_hidden = true",
    ],
)
async def test_an_author_does_not_moderate(community, change):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only a moderator"):
        await community.run(
            "owner", f"UPDATE comments SET {change} WHERE id = $1", community.rows["pending comment"]
        )


async def test_an_author_does_not_bring_back_what_is_hidden(community):
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only a moderator"):
        await community.run(
            "owner",
            "UPDATE comments SET text = 'new', is_hidden = false WHERE id = $1",
            community.rows["hidden comment"],
        )


async def test_a_new_text_waits_again(community):
    row = community.rows["approved comment"]
    async with rolled_back(community.app):
        await community.become("owner")
        status = await community.app.fetchval(
            "UPDATE comments SET text = 'new' WHERE id = $1 RETURNING moderation_status", row
        )
    assert status == "pending"


@pytest.mark.parametrize("who", sorted(STAFF))
async def test_staff_moderate_but_do_not_write_for_others(community, who):
    row = community.rows["flagged comment"]
    verdict = "UPDATE comments SET moderation_status = 'rejected', moderation_reason = 'x' WHERE id = $1"
    assert await community.run(who, verdict, row) == "UPDATE 1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only its author"):
        await community.run(who, "UPDATE comments SET text = 'mine' WHERE id = $1", row)


async def test_the_verdict_is_on_ones_own_waiting_comment_with_this_text(community):
    judge = "SELECT content.judge_comment($1, $2, 'approved', NULL)"
    pending, flagged = community.rows["pending comment"], community.rows["flagged comment"]

    async def judged(who: str, row: UUID, text: str) -> bool:
        async with rolled_back(community.app):
            await community.become(who)
            passed: bool = await community.app.fetchval(judge, row, text)
            return passed

    assert await judged("owner", pending, "hi") is True
    assert await judged("owner", pending, "another text") is False
    assert await judged("owner", flagged, "hi") is False
    assert await judged("other", pending, "hi") is False
    assert await judged("moderator", pending, "hi") is False


@pytest.mark.parametrize(
    ("who", "roles"),
    [
        ("owner", {"student"}),
        ("nobody", set()),
        ("moderator", {"student", "moderator"}),
        ("admin", {"student", "moderator", "admin"}),
    ],
)
async def test_a_role_includes_those_below_it(community, who, roles):
    async with rolled_back(community.app):
        await community.become(who)
        for role in ("student", "moderator", "admin"):
            assert await community.app.fetchval("SELECT auth.has_role($1)", role) is (role in roles)


@pytest.mark.parametrize("who", WHO)
async def test_stars_are_counted_for_who_sees_the_video(community, who):
    async with rolled_back(community.app):
        await community.become(who)
        query = "SELECT stars, count FROM content.count_stars($1)"
        public = await community.app.fetch(query, community.rows["creator's public"])
        private = await community.app.fetch(query, community.rows["creator's private"])
    assert [tuple(row) for row in public] == [(5, 1)]
    assert [tuple(row) for row in private] == ([(5, 1)] if who in STAFF else [])


_SEARCH = """
    SELECT id FROM content.search_videos(
        NULL, '{findme}', NULL, NULL, NULL, NULL, 'newest', NULL, NULL, NULL, NULL, 100
    )
"""


@pytest.mark.parametrize("who", WHO)
async def test_a_search_finds_what_the_user_sees(community, who):
    """Past the policies, but not past what they say."""
    names = ("public video", "draft", "private video")
    rows = {community.rows[name]: name for name in names}
    await community.superuser.execute("UPDATE videos SET tags = '{findme}' WHERE id = ANY ($1)", [*rows])
    async with rolled_back(community.app):
        await community.become(who)
        found = await community.app.fetch(_SEARCH)
    wanted = {name for name in names if who in rules(name)[0]}
    assert {rows[record["id"]] for record in found} == wanted


def rolled_back(connection: asyncpg.Connection) -> Any:
    """A transaction that leaves nothing behind."""
    return _RolledBack(connection)


class _RolledBack:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._transaction = connection.transaction()

    async def __aenter__(self) -> None:
        await self._transaction.start()

    async def __aexit__(self, *_: object) -> None:
        await self._transaction.rollback()
