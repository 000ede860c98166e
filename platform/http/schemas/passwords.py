"""Changing a password, and setting a new one when it is forgotten."""

from pydantic import ConfigDict, Field

from little_monster.platform.http.schemas.auth import EmailCodeText, NewPassword, OldPassword
from little_monster.platform.http.schemas.texts import Body, Email


class PasswordChange(Body):
    """The password as it is, and as it shall be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "current_password": "correct horse battery staple",
                    "new_password": "another horse at the door",
                }
            ]
        }
    )

    current_password: OldPassword
    new_password: NewPassword


class PasswordResetRequest(Body):
    """Whose password is forgotten."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "ada@example.com"}]})

    email: Email = Field(examples=["ada@example.com"])


class PasswordReset(Body):
    """A code from the message, and the new password."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "uV2mYh0ZbJ8nq5sT1xW4rK7cE9gA3dF6iL0oP8tQyBs",
                    "new_password": "another horse at the door",
                }
            ]
        }
    )

    code: EmailCodeText
    new_password: NewPassword
