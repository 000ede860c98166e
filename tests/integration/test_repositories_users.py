import pytest

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.models import UserRole
from little_monster.db.repositories import users


async def test_create_fills_in_what_the_database_knows(database, user_id):
    async with database.session(user_id) as session:
        user = await users.get(session, user_id)
    assert user.role is UserRole.STUDENT
    assert user.subjects == []
    assert user.preferences == {}
    assert user.created_at.tzinfo is not None


async def test_an_address_is_taken_whatever_its_case(database, user_id):
    other = new_id()
    with pytest.raises(DuplicateKey) as refused:
        async with database.session(other) as session:
            await users.create(
                session,
                user_id=other,
                email=f"{user_id}@EXAMPLE.org",
                password_hash="x",
                display_name="Second",
            )
    assert refused.value.constraint == "users_email_key"


async def test_login_is_found_by_nobody_whatever_its_case(database, user_id):
    async with database.session(None) as session:
        login = await users.find_login(session, f"{str(user_id).upper()}@example.org")
        assert await users.find_login(session, "nobody@example.org") is None
        assert await users.get(session, user_id) is None
    assert (login.user_id, login.password_hash, login.role) == (user_id, "$argon2id$test", UserRole.STUDENT)


async def test_touch_moves_last_active_and_updated(database, user_id):
    async with database.session(user_id) as session:
        before = await users.get(session, user_id)
    async with database.session(user_id) as session:
        await users.touch(session, user_id)
    async with database.session(user_id) as session:
        after = await users.get(session, user_id)
    assert after.last_active_at > before.last_active_at
    assert after.updated_at > before.updated_at


async def test_a_new_password_replaces_the_old(database, user_id, new_user):
    async with database.session(user_id) as session:
        assert await users.set_password(session, user_id, "$argon2id$new")
        assert not await users.set_password(session, await new_user(), "$argon2id$stolen")
    async with database.session(None) as session:
        login = await users.find_login(session, f"{user_id}@example.org")
    assert login.password_hash == "$argon2id$new"
