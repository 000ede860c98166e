"""What of the community's rows each may do beyond reaching them, which `test_rls.py` tries: moderate, count,
search."""

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from little_monster.db.base import new_id
from tests.fixtures.tenants import STAFF, WHO, open_tenants


@pytest.fixture(scope="module")
async def community(postgres):
    async with open_tenants(postgres) as tenants:
        yield tenants


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("video", ["creator's public", "creator's private"])
@pytest.mark.parametrize("table", ["comments", "ratings"])
async def test_insert(community, table, video, who):
    """Everybody makes rows of their own, on videos that they see, and nobody somebody else's."""
    user, other = community.users[who], community.users["creator"]
    if user is not None and (video == "creator's public" or who in STAFF):
        made = await community.run(who, *community.insertion(table, user, new_id(), video))
        assert made == "INSERT 0 1"
    else:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await community.run(who, *community.insertion(table, user or new_id(), new_id(), video))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await community.run(who, *community.insertion(table, other, new_id(), video))


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
        ("videos", ("moderation_status = 'approved'", "moderation_reason = NULL")),
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
    "column",
    [
        "rating_avg",
        "rating_count",
        "view_count",
        "comment_count",
        "created_at",
        "updated_at",
        "moderation_status",
        "moderation_reason",
    ],
)
async def test_a_new_video_brings_no_counts(community, column):
    statement, *values = community.insertion("videos", community.users["owner"], new_id())
    statement = statement.replace("(id,", f"({column}, id,").replace("($2,", "(DEFAULT, $2,")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await community.run("owner", statement, *values)


@pytest.mark.parametrize("column", ["moderation_status", "moderation_reason", "is_hidden", "video_status"])
async def test_a_new_comment_brings_no_verdict(community, column):
    statement, *values = community.insertion("comments", community.users["owner"], new_id())
    statement = statement.replace("(id,", f"({column}, id,").replace("($2,", "(DEFAULT, $2,")
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
    async with community.acting("owner"):
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
        async with community.acting(who):
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
    async with community.acting(who):
        for role in ("student", "moderator", "admin"):
            assert await community.app.fetchval("SELECT auth.has_role($1)", role) is (role in roles)


@pytest.mark.parametrize("who", WHO)
async def test_stars_are_counted_for_who_sees_the_video(community, who):
    async with community.acting(who):
        query = "SELECT stars, count FROM content.count_stars($1)"
        public = await community.app.fetch(query, community.rows["creator's public"])
        private = await community.app.fetch(query, community.rows["creator's private"])
    assert [tuple(row) for row in public] == [(5, 1)]
    assert [tuple(row) for row in private] == ([(5, 1)] if who in STAFF else [])


@pytest.mark.parametrize("who", WHO)
async def test_a_search_finds_what_the_user_sees(community, who):
    """Past the policies, but not past what they say."""
    names = ("public video", "draft", "private video")
    rows = {community.rows[name]: name for name in names}
    await community.superuser.execute("UPDATE videos SET tags = '{findme}' WHERE id = ANY ($1)", [*rows])
    async with community.acting(who):
        found = await community.app.fetch("SELECT id FROM content.find_videos(NULL, '{findme}', false)")
    wanted = {*names} if who == "owner" or who in STAFF else {"public video"}
    assert {rows[record["id"]] for record in found} == wanted


async def test_the_verdict_on_a_video_is_its_creators_or_a_moderators_and_on_this_text(community):
    row = community.rows["pending video"]
    seen = await community.superuser.fetchval("SELECT updated_at FROM videos WHERE id = $1", row)

    async def judged(who: str, moment: datetime = seen) -> tuple[bool, str | None]:
        async with community.acting(who) as connection:
            judge = "SELECT content.judge_video($1, $2, 'approved', NULL)"
            passed = await connection.fetchval(judge, row, moment)
            status = await connection.fetchval("SELECT status FROM videos WHERE id = $1", row)
            return passed, status

    assert await judged("owner") == await judged("moderator") == await judged("admin") == (True, "public")
    assert await judged("other") == await judged("nobody") == (False, None)
    assert await judged("owner", seen - timedelta(seconds=1)) == (False, "private")


@pytest.mark.parametrize("who", WHO)
async def test_a_moderator_decides_on_videos(community, who):
    for name, verdict, becomes in (
        ("pending video", "approved", "public"),
        ("flagged video", "approved", "public"),
        ("rejected video", "approved", "private"),
        ("draft", "approved", "draft"),
        ("public video", "rejected", "private"),
        ("archived video", "rejected", "archived"),
    ):
        async with community.acting(who) as connection:
            row = community.rows[name]
            decide = "SELECT content.moderate_video($1, $2, 'why')"
            assert await connection.fetchval(decide, row, verdict) is (who in STAFF)
            shown = await connection.fetchrow(
                "SELECT status::text, moderation_status::text FROM videos WHERE id = $1", row
            )
        if who in STAFF:
            assert tuple(shown) == (becomes, verdict)


async def test_nothing_is_public_that_is_not_approved(community):
    """Whoever writes it, the tables' owner too."""
    with pytest.raises(asyncpg.CheckViolationError, match="videos_moderated_check"):
        await community.superuser.execute(
            "UPDATE videos SET status = 'public' WHERE id = $1", community.rows["draft"]
        )
    statement, *values = community.insertion("videos", community.users["owner"], new_id())
    public = statement.replace("(id,", "(status, id,").replace("($2,", "('public', $2,")
    with pytest.raises(asyncpg.CheckViolationError, match="videos_moderated_check"):
        await community.run("owner", public, *values)


async def test_what_waits_is_named_without_what_it_says(community):
    for table in ("comments", "videos"):
        async with community.acting("nobody") as connection:
            query = f"SELECT * FROM content.find_pending_{table}(1000, NULL, NULL)"
            found = {row["id"]: row for row in await connection.fetch(query)}
        row = found[community.rows[f"pending {table[:-1]}"]]
        assert set(row.keys()) == {"id", "owner", "created_at"}
        assert row["owner"] == community.users["owner"]
        others = [name for name in community.rows if name.endswith(table[:-1]) and "pending" not in name]
        assert not {community.rows[name] for name in others} & set(found)
