"""Sessions, one-time codes, personal tokens and second factors: what holds when many come at once."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models import EmailCodePurpose, UserRole
from little_monster.db.repositories import (
    email_codes,
    personal_access_tokens,
    recovery_codes,
    sessions,
    totp_credentials,
)

DAY = timedelta(days=1)


@pytest.fixture
def run(database, user_id):
    """Call a function of a repository in a transaction of `user_id`, or of somebody else."""

    async def call(function, *args, who=user_id, **options):
        async with database.session(who) as session:
            return await function(session, *args, **options)

    return call


@pytest.fixture
def new_session(run, user_id):
    async def make():
        row = await run(
            sessions.create, session_id=new_id(), user_id=user_id, user_agent="test", address_prefix=None
        )
        return row.id

    return make


@pytest.fixture
def new_token(run, user_id):
    async def make(*scopes: str, expires_at=None):
        token_hash = new_id().bytes + new_id().bytes
        row = await run(
            personal_access_tokens.create,
            user_id=user_id,
            name="test",
            scopes=scopes or ("read",),
            token_hash=token_hash,
            expires_at=expires_at,
        )
        return row.id, token_hash

    return make


async def test_a_revoked_session_is_used_no_more(run, new_session):
    session_id = await new_session()
    assert await run(sessions.use, session_id)
    assert [await run(sessions.revoke, session_id) for _ in range(2)] == [True, False]
    assert not await run(sessions.use, session_id)


async def test_who_uses_a_session_holds_it(database, user_id, new_session):
    """Who revokes it waits for the transaction that makes its next refresh token."""
    session_id, order = await new_session(), []

    async def use() -> None:
        async with database.session(user_id) as session:
            assert await sessions.use(session, session_id)
            await asyncio.sleep(0.1)
            order.append("used")

    async def revoke() -> None:
        await asyncio.sleep(0.03)
        async with database.session(user_id) as session:
            assert await sessions.revoke(session, session_id)
            order.append("revoked")

    await asyncio.gather(use(), revoke())
    assert order == ["used", "revoked"]


async def test_all_sessions_but_one(run, user_id, new_session):
    kept, *others = [await new_session() for _ in range(3)]
    assert await run(sessions.revoke_all, user_id, but=kept) == len(others)
    left = await run(sessions.list, limit=5, used_within=DAY)
    assert [row.id for row in left] == [kept]
    assert await run(sessions.revoke_all, user_id) == 1


async def test_somebody_elses_session(run, new_session, new_user):
    session_id, other = await new_session(), await new_user()
    assert not await run(sessions.revoke, session_id, who=other)
    assert not await run(sessions.use, session_id, who=other)
    assert await run(sessions.list, limit=5, used_within=DAY, who=other) == []
    assert await run(sessions.use, session_id)


async def test_a_code_is_used_by_one(run, user_id):
    code_hash = new_id().bytes
    row = await run(
        email_codes.create,
        user_id=user_id,
        purpose=EmailCodePurpose.VERIFY_EMAIL,
        email="a@b.org",
        code_hash=code_hash,
        expires_at=datetime.now(UTC) + DAY,
    )
    assert (await run(email_codes.find, code_hash, EmailCodePurpose.VERIFY_EMAIL)).id == row.id
    assert await run(email_codes.find, code_hash, EmailCodePurpose.RESET_PASSWORD) is None
    assert await run(email_codes.find_owner, code_hash, who=None) == user_id
    assert await run(email_codes.find_owner, b"unknown", who=None) is None
    won = await asyncio.gather(*(run(email_codes.consume, row.id) for _ in range(10)))
    assert sum(won) == 1
    assert await run(email_codes.find, code_hash, EmailCodePurpose.VERIFY_EMAIL) is None


async def test_a_token_is_found_by_nobody(run, user_id, new_token):
    token_id, token_hash = await new_token("read", "write")
    bearer = await run(personal_access_tokens.use, token_hash, who=None)
    assert (bearer.token_id, bearer.user_id, bearer.role) == (token_id, user_id, UserRole.STUDENT)
    assert {*bearer.scopes} == {"read", "write"}
    assert await run(personal_access_tokens.use, b"unknown", who=None) is None
    assert await run(personal_access_tokens.list, limit=5, who=None) == []


async def test_a_token_that_is_used_by_many_at_once(run, new_token):
    _, token_hash = await new_token()
    found = await asyncio.gather(*(run(personal_access_tokens.use, token_hash, who=None) for _ in range(20)))
    assert all(found)


async def test_expired_and_revoked_tokens(run, user_id, new_token):
    _, expired = await new_token(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    revoked_id, revoked = await new_token()
    assert await run(personal_access_tokens.count, user_id) == 1
    assert [await run(personal_access_tokens.revoke, revoked_id) for _ in range(2)] == [True, False]
    for token_hash in (expired, revoked):
        assert await run(personal_access_tokens.use, token_hash, who=None) is None
    assert await run(personal_access_tokens.count, user_id) == 0


@pytest.mark.parametrize("scopes", ["{}", "{admin}", "{read,admin}"])
async def test_the_database_knows_the_scopes(postgres, user_id, scopes):
    owner = await asyncpg.connect(postgres.owner_url)
    with pytest.raises(asyncpg.CheckViolationError):
        await owner.execute(
            "INSERT INTO personal_access_tokens (id, user_id, name, scopes, token_hash)"
            f" VALUES ($1, $2, '', '{scopes}', '')",
            new_id(),
            user_id,
        )
    await owner.close()


async def test_a_step_is_used_by_one(run, user_id):
    row = await run(totp_credentials.create, user_id=user_id, secret=b"first")
    assert await run(totp_credentials.confirm, row.id, step=10)
    assert not await run(totp_credentials.confirm, row.id, step=11)
    won = await asyncio.gather(
        *(run(totp_credentials.use_step, row.id, step=12, secret=b"again") for _ in range(10))
    )
    assert sum(won) == 1
    assert not await run(totp_credentials.use_step, row.id, step=11, secret=b"older")
    kept = await run(totp_credentials.get, user_id)
    assert (kept.last_used_step, kept.secret) == (12, b"again")


async def test_one_second_factor_a_user(run, user_id):
    first = await run(totp_credentials.create, user_id=user_id, secret=b"first")
    second = await run(totp_credentials.create, user_id=user_id, secret=b"second")
    assert first.id != second.id
    assert await run(totp_credentials.confirm, second.id, step=1)
    with pytest.raises(DuplicateKey) as refused:
        await run(totp_credentials.create, user_id=user_id, secret=b"third")
    assert refused.value.constraint == "totp_credentials_user_id_key"


async def test_a_recovery_code_is_used_by_one(run, user_id, new_user):
    hashes = [bytes([number]) * 32 for number in range(3)]
    await run(recovery_codes.replace_all, user_id, hashes)
    other = await new_user()
    assert not await run(recovery_codes.consume, user_id, hashes[0], who=other)
    won = await asyncio.gather(*(run(recovery_codes.consume, user_id, hashes[0]) for _ in range(10)))
    assert sum(won) == 1
    assert await run(recovery_codes.count_left, user_id) == 2
    await run(recovery_codes.replace_all, user_id, hashes[2:])
    assert not await run(recovery_codes.consume, user_id, hashes[1])
