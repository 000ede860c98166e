"""Accounts at other issuers: what the services' role sees past row level security, and what it does not."""

from uuid import UUID

import asyncpg
import pytest

from little_monster.db.base import new_id
from little_monster.db.errors import DuplicateKey
from little_monster.db.repositories import accounts, external_identities, users
from little_monster.db.session import Database

ISSUER = "https://accounts.example.com"


@pytest.mark.parametrize("who", ["nobody", "somebody"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM ended_identities",
        "INSERT INTO ended_identities (digest, barred) VALUES ('', true)",
        "UPDATE ended_identities SET barred = false",
        "DELETE FROM ended_identities",
        "SELECT auth.end_identity()",
    ],
)
async def test_what_has_ended_is_for_the_functions_alone(
    postgres, user_id: UUID, who: str, statement: str
) -> None:
    app = await asyncpg.connect(postgres.app_url)
    try:
        async with app.transaction():
            if who == "somebody":
                await app.execute(f"SET LOCAL app.user_id = '{user_id}'")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with app.transaction():
                    await app.execute(statement)
    finally:
        await app.close()


async def test_a_subject_is_one_users(database: Database, new_user) -> None:
    one, other, subject = await new_user(), await new_user(), str(new_id())
    async with database.session(one) as session:
        row = await external_identities.create(
            session, user_id=one, issuer=ISSUER, subject=subject, email=None
        )
    with pytest.raises(DuplicateKey):
        async with database.session(other) as session:
            await external_identities.create(
                session, user_id=other, issuer=ISSUER, subject=subject, email=None
            )
    async with database.session(other) as session:
        assert await external_identities.remove(session, row.id) is None
    async with database.session(None) as session:
        found = await external_identities.find(session, ISSUER, subject)
        assert (found.user_id, found.role, found.ended_at) == (one, "student", None)
        nobody = await external_identities.find(session, ISSUER + "/", subject)
        assert (nobody.user_id, nobody.ended_at, nobody.barred) == (None, None, False)


@pytest.mark.parametrize("way", ["unlinked", "gone"])
async def test_how_it_ended_is_known_and_of_whom_it_was_is_not(
    database: Database, user_id: UUID, postgres, way: str
) -> None:
    subject = str(new_id())
    async with database.session(user_id) as session:
        row = await external_identities.create(
            session, user_id=user_id, issuer=ISSUER, subject=subject, email="ada@example.com"
        )
    async with database.session(user_id) as session:
        if way == "unlinked":
            assert (await external_identities.remove(session, row.id)) is not None
        else:
            assert await users.delete(session, user_id)
    async with database.session(None) as session:
        found = await external_identities.find(session, ISSUER, subject)
    assert (found.user_id, found.barred) == (None, way == "unlinked")
    assert found.ended_at is not None
    owner = await asyncpg.connect(postgres.owner_url)
    names = await owner.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'ended_identities'"
    )
    await owner.close()
    assert {name[0] for name in names} == {"digest", "ended_at", "barred"}


async def test_who_is_no_admin_is_not_the_last(database: Database, user_id: UUID) -> None:
    for who in (user_id, None):
        async with database.session(who) as session:
            assert not await accounts.is_last_admin(session)
