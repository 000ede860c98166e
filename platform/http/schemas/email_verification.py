"""Verifying an e-mail address."""

from pydantic import ConfigDict

from little_monster.platform.http.schemas.auth import EmailCodeText
from little_monster.platform.http.schemas.texts import Body


class EmailVerification(Body):
    """A code that was sent to the address."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "uV2mYh0ZbJ8nq5sT1xW4rK7cE9gA3dF6iL0oP8tQyBs"}]}
    )

    code: EmailCodeText
