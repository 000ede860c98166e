"""Changing a password, and setting a new one when it is forgotten."""

from pydantic import Field

from little_monster.platform.http.schemas.auth import EmailCodeText, NewPassword, OldPassword
from little_monster.platform.http.schemas.texts import Body, Email


class PasswordChange(Body):
    """The password as it is, and as it shall be."""

    current_password: OldPassword
    new_password: NewPassword


class PasswordResetRequest(Body):
    """Whose password is forgotten."""

    email: Email = Field(examples=["ada@example.com"])


class PasswordReset(Body):
    """A code from the message, and the new password."""

    code: EmailCodeText
    new_password: NewPassword
