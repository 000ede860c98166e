"""Registering and logging in."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from little_monster.platform.http.schemas.texts import Body, Email, Name, Password
from little_monster.platform.http.schemas.users import UserView
from little_monster.platform.services.accounts import Tokens
from little_monster.platform.services.second_factor import Proof

MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 256

NewPassword = Annotated[Password, Field(min_length=MIN_PASSWORD_CHARS, max_length=MAX_PASSWORD_CHARS)]
OldPassword = Annotated[Password, Field(min_length=1, max_length=MAX_PASSWORD_CHARS)]
EmailCodeText = Annotated[
    str,
    Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$", description="From the message."),
]
TotpCode = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{6}$", description="What the authenticator application shows.", examples=["287082"]
    ),
]
RecoveryCodeText = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^[A-Za-z2-7 -]+$",
        description="One of those that turning the second factor on gave; good once.",
        examples=["mzxw-6ytb-oi5d-aqcb"],
    ),
]
RefreshTokenText = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")]


class Registration(Body):
    """What an account is made from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "ada@example.com",
                    "password": "correct horse battery staple",
                    "display_name": "Ada",
                }
            ]
        }
    )

    email: Email = Field(examples=["ada@example.com"])
    password: NewPassword = Field(
        description="Not one that is guessed early, and without the address up to its @."
    )
    display_name: Name = Field(examples=["Ada"])


class LogIn(Body):
    """An address and its password; also `totp_code` or `recovery_code` when the second factor is on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "ada@example.com", "password": "correct horse battery staple"}]
        }
    )

    email: Email = Field(examples=["ada@example.com"])
    password: OldPassword
    totp_code: TotpCode | None = None
    recovery_code: RecoveryCodeText | None = None

    @property
    def proof(self) -> Proof:
        """What it shows of the second factor."""
        return Proof(self.totp_code, self.recovery_code)


class RefreshTokenBody(Body):
    """A refresh token."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"refresh_token": "uV2mYh0ZbJ8nq5sT1xW4rK7cE9gA3dF6iL0oP8tQyBs"}]}
    )

    refresh_token: RefreshTokenText


class TokensView(BaseModel):
    """What to stay logged in with."""

    access_token: str = Field(description="Send it as `Authorization: Bearer ...`.")
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int = Field(description="Seconds that the access token lives.")
    refresh_token: str = Field(description="Good for one use: refreshing gives another.")
    refresh_expires_in: int = Field(description="Seconds that the refresh token lives.")

    @classmethod
    def of(cls, tokens: Tokens) -> "TokensView":
        """Show tokens."""
        return cls(
            access_token=tokens.access_token,
            expires_in=tokens.expires_in,
            refresh_token=tokens.refresh_token,
            refresh_expires_in=tokens.refresh_expires_in,
        )


class SessionView(BaseModel):
    """A fresh log-in: who it is, and the tokens."""

    user: UserView
    tokens: TokensView
