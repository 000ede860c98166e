import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models import RefreshToken
from little_monster.db.repositories import refresh_tokens


@pytest.fixture
def new_token(database, user_id):
    async def make(*, family_id=None, lifetime=timedelta(days=1)) -> RefreshToken:
        async with database.session(user_id) as session:
            return await refresh_tokens.create(
                session,
                user_id=user_id,
                family_id=family_id or new_id(),
                token_hash=new_id().bytes + new_id().bytes,
                expires_at=datetime.now(UTC) + lifetime,
            )

    return make


async def consume(database, user_id, token_hash):
    async with database.session(user_id) as session:
        return await refresh_tokens.consume(session, token_hash)


async def test_a_token_is_good_once(database, user_id, new_token):
    token = await new_token()
    used = await consume(database, user_id, token.token_hash)
    assert (used.id, used.family_id) == (token.id, token.family_id)
    assert used.used_at is not None
    assert await consume(database, user_id, token.token_hash) == "reused"


async def test_of_fifty_uses_at_once_one_wins(database, user_id, new_token):
    token = await new_token()
    results = await asyncio.gather(*(consume(database, user_id, token.token_hash) for _ in range(50)))
    assert sum(isinstance(result, RefreshToken) for result in results) == 1
    assert results.count("reused") == 49


async def test_who_loses_revokes_what_the_winner_made(database, user_id, new_token):
    """Of many rotations at once no token of the family is good in the end, as one of them was a thief's."""
    token = await new_token()

    async def rotate() -> None:
        async with database.session(user_id) as session:
            used = await refresh_tokens.consume(session, token.token_hash)
            if isinstance(used, RefreshToken):
                await asyncio.sleep(0.05)
                await refresh_tokens.create(
                    session,
                    user_id=user_id,
                    family_id=used.family_id,
                    token_hash=new_id().bytes,
                    expires_at=token.expires_at,
                )
            elif used == "reused":
                await refresh_tokens.revoke_family(session, token.family_id)

    await asyncio.gather(*(rotate() for _ in range(10)))
    async with database.session(user_id) as session:
        assert await refresh_tokens.revoke_family(session, token.family_id) == 0


async def test_unknown_expired_and_revoked_tokens_are_none(database, user_id, new_token):
    assert await consume(database, user_id, b"unknown") is None
    expired = await new_token(lifetime=timedelta(seconds=-1))
    assert await consume(database, user_id, expired.token_hash) is None
    revoked = await new_token()
    async with database.session(user_id) as session:
        assert await refresh_tokens.revoke_family(session, revoked.family_id) == 1
    assert await consume(database, user_id, revoked.token_hash) is None


async def test_a_family_falls_together_and_no_other(database, user_id, new_token):
    family_id, kept = new_id(), await new_token()
    first, second = await new_token(family_id=family_id), await new_token(family_id=family_id)
    async with database.session(user_id) as session:
        assert await refresh_tokens.revoke_family(session, family_id) == 2
    assert await consume(database, user_id, first.token_hash) is None
    assert await consume(database, user_id, second.token_hash) is None
    assert (await consume(database, user_id, kept.token_hash)).id == kept.id


async def test_all_tokens_of_a_user(database, user_id, new_token):
    await new_token()
    await new_token()
    async with database.session(user_id) as session:
        assert await refresh_tokens.revoke_all(session, user_id) == 2


async def test_the_owner_is_found_by_nobody(database, user_id, new_token):
    token = await new_token()
    async with database.session(None) as session:
        assert await refresh_tokens.find_owner(session, token.token_hash) == user_id
        assert await refresh_tokens.find_owner(session, b"unknown") is None
        assert await refresh_tokens.get(session, token.token_hash) is None


async def test_somebody_else_cannot_use_a_token(database, user_id, new_user, new_token):
    token = await new_token()
    assert await consume(database, await new_user(), token.token_hash) is None
    assert (await consume(database, user_id, token.token_hash)).id == token.id


async def test_a_hash_is_unique_over_all_users(database, new_user, new_token):
    token, other = await new_token(), await new_user()
    with pytest.raises(DuplicateKey) as refused:
        async with database.session(other) as session:
            await refresh_tokens.create(
                session,
                user_id=other,
                family_id=new_id(),
                token_hash=token.token_hash,
                expires_at=token.expires_at,
            )
    assert refused.value.constraint == "refresh_tokens_token_hash_key"
