"""Which passwords are refused, beside those that are too short.

zxcvbn estimates how many guesses a password takes, from its own lists of the commonest passwords, words,
names and keyboard runs: it refuses `Password123!` as well, which a plain list has not. Fewer than a million
guesses are too few: an attacker who is throttled gets that far with many addresses.
"""

import asyncio

from zxcvbn import zxcvbn

from little_monster.platform.errors import InvalidInput

MIN_GUESSES = 10**6
# The time of an estimate grows faster than the text; what makes a password good is in its beginning as well.
MAX_ESTIMATED_CHARS = 40
# A shorter one is found in passwords by chance.
MIN_LOCAL_PART_CHARS = 3


async def require_good_password(password: str, email: str, *, field: str) -> None:
    """Return when `password` may be the one of the account at `email`. `field` is where it stands in the
    body.

    Raises:
        InvalidInput: `weak_password`.
    """
    problem = await asyncio.to_thread(_problem, password, email)
    if problem is not None:
        raise InvalidInput(
            "The password is too easy to guess; see `errors`.",
            code="weak_password",
            errors=[{"field": f"body.{field}", "message": problem}],
        )


def _problem(password: str, email: str) -> str | None:
    local_part = email.partition("@")[0].lower()
    if len(local_part) >= MIN_LOCAL_PART_CHARS and local_part in password.lower():
        return "must not contain the e-mail address up to its @"
    if zxcvbn(password[:MAX_ESTIMATED_CHARS])["guesses"] < MIN_GUESSES:
        return "is one of the first that are guessed; a few unrelated words are better"
    return None
