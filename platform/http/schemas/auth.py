"""Registering and logging in."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from little_monster.platform.http.schemas.texts import Body, Email, Name, Password
from little_monster.platform.http.schemas.users import UserView
from little_monster.platform.services.accounts import Tokens

MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 256

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
    password: Password = Field(min_length=MIN_PASSWORD_CHARS, max_length=MAX_PASSWORD_CHARS)
    display_name: Name = Field(examples=["Ada"])


class LogIn(Body):
    """An address and its password."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "ada@example.com", "password": "correct horse battery staple"}]
        }
    )

    email: Email = Field(examples=["ada@example.com"])
    password: Password = Field(min_length=1, max_length=MAX_PASSWORD_CHARS)


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
