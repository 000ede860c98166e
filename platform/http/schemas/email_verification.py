"""Verifying an e-mail address."""

from little_monster.platform.http.schemas.auth import EmailCodeText
from little_monster.platform.http.schemas.texts import Body


class EmailVerification(Body):
    """A code that was sent to the address."""

    code: EmailCodeText
