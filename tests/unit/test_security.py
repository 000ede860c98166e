import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from argon2 import Parameters, extract_parameters
from argon2 import PasswordHasher as Argon2
from pydantic import SecretStr

from little_monster.platform.errors import ConfigurationError, Forbidden, Unauthenticated
from little_monster.platform.permissions import ADMIN, MODERATOR, STUDENT, require_role
from little_monster.platform.security import (
    AccessTokens,
    PasswordHasher,
    Principal,
    digest_token,
    new_token,
)
from little_monster.platform.settings import AuthSettings


async def test_password_hash_has_the_parameters_of_owasp() -> None:
    encoded = await PasswordHasher(2).hash("correct horse")
    found = extract_parameters(encoded)
    assert encoded.startswith("$argon2id$")
    assert (found.memory_cost, found.time_cost, found.parallelism) == (19 * 1024, 2, 1)


async def test_verify() -> None:
    hasher = PasswordHasher(2)
    encoded = await hasher.hash("correct horse")
    assert await hasher.verify(encoded, "correct horse")
    assert not await hasher.verify(encoded, "wrong horse")
    assert not await hasher.verify(None, "correct horse")
    assert not await hasher.verify("not a hash", "correct horse")
    assert not await hasher.verify("", "")


@pytest.mark.parametrize("missing", [None, ""])
async def test_unknown_user_costs_as_much_as_a_wrong_password(
    missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one comparison with the same parameters, and nothing else in it takes time."""
    hasher, compared = PasswordHasher(1), list[Parameters]()
    await hasher.warm_up()
    verify = Argon2.verify

    def note(self: Argon2, encoded: str, password: str) -> bool:
        compared.append(extract_parameters(encoded))
        return verify(self, encoded, password)

    monkeypatch.setattr(Argon2, "verify", note)
    assert not await hasher.verify(await hasher.hash("correct horse"), "wrong horse")
    assert not await hasher.verify(missing, "wrong horse")
    assert len(compared) == 2
    assert compared[0] == compared[1]


async def test_no_more_hashes_at_once_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher, running, most = PasswordHasher(2), 0, 0

    def matches(_encoded: str, _password: str) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return True

    monkeypatch.setattr(hasher, "_matches", matches)
    started = time.perf_counter()
    verifying = asyncio.gather(*(hasher.verify("hash", "password") for _ in range(10)))
    await asyncio.sleep(0)
    # Not in the event loop.
    assert time.perf_counter() - started < 0.02
    assert await verifying == [True] * 10
    assert most == 2


def test_refresh_tokens_are_random_and_kept_as_a_digest() -> None:
    token = new_token()
    assert len(token) == 43
    assert token != new_token()
    assert len(digest_token(token)) == 32


@pytest.mark.parametrize("secret", [None, SecretStr("short")])
def test_secret_must_be_long(secret: SecretStr | None) -> None:
    with pytest.raises(ConfigurationError, match="LM_AUTH__SECRET"):
        AccessTokens(AuthSettings(secret=secret))


def test_remembered_token_expires_all_the_same() -> None:
    tokens = AccessTokens(AuthSettings(secret=SecretStr("a" * 32)))
    # Its expiry is a whole second, so that it lives between one and two seconds from now.
    token = tokens.issue(
        Principal(uuid4(), STUDENT), datetime.now(UTC) - tokens.lifetime + timedelta(seconds=2)
    )
    assert tokens.read(token) is tokens.read(token)
    time.sleep(2.1)
    with pytest.raises(Unauthenticated):
        tokens.read(token)


def test_pseudonym_is_stable_and_depends_on_the_secret() -> None:
    one = AccessTokens(AuthSettings(secret=SecretStr("a" * 32)))
    other = AccessTokens(AuthSettings(secret=SecretStr("b" * 32)))
    user_id = uuid4()
    assert one.pseudonym(user_id) == one.pseudonym(user_id) != other.pseudonym(user_id)


@pytest.mark.parametrize(("role", "needed"), [(STUDENT, MODERATOR), (MODERATOR, ADMIN), ("unknown", STUDENT)])
def test_lower_roles_are_refused(role: str, needed: str) -> None:
    require_role(Principal(uuid4(), ADMIN), needed)
    with pytest.raises(Forbidden):
        require_role(Principal(uuid4(), role), needed)
