"""Which passwords are refused."""

import time
from contextlib import suppress

import pytest

from little_monster.platform.errors import InvalidInput
from little_monster.platform.password_rules import require_good_password

EMAIL = "ada.lovelace@example.com"


@pytest.mark.parametrize(
    "password",
    [
        "1234567890",
        "password12",
        "passwordpassword",
        "Password123!",
        "qwertyuiop",
        "iloveyou2024",
        "letmeinletmein",
        "aaaaaaaaaaaaaaaaaaaa",
        "abcdefghijklmnop",
        "football12",
        "p@ssw0rd12",
        "1q2w3e4r5t6y",
    ],
)
async def test_common_ones(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await require_good_password(password, EMAIL, field="password")
    assert caught.value.code == "weak_password"
    assert caught.value.errors[0]["field"] == "body.password"
    assert password not in str(caught.value.errors)


@pytest.mark.parametrize("password", ["xx-Ada.Lovelace-yy", "ADA.LOVELACE and the engine"])
async def test_with_the_address(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await require_good_password(password, EMAIL, field="new_password")
    assert caught.value.errors[0]["field"] == "body.new_password"


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "quiet lantern orbit 42", "g7$kQz!pW2", "Füße über Öl", "ключ от города"],
)
async def test_good_ones(password: str) -> None:
    await require_good_password(password, EMAIL, field="password")


async def test_a_local_part_of_two_letters_is_found_by_chance() -> None:
    await require_good_password("correct horse battery", "co@example.com", field="password")


@pytest.mark.parametrize("password", ["x" * 256, "!aZ9" * 64, "1" * 256, "\U0001f600" * 256])
async def test_a_long_one_takes_no_longer(password: str) -> None:
    started = time.process_time()
    with suppress(InvalidInput):
        await require_good_password(password, EMAIL, field="password")
    assert time.process_time() - started < 0.5
