"""What the API's answers mean for a person at a terminal."""

from typing import Any

import httpx

from little_monster.platform.errors import LittleMonsterError


class ApiProblem(LittleMonsterError):
    """The API refused something: one line with its reason and its code.

    Args:
        body: `application/problem+json` (RFC 9457) or any other JSON object.
        status: of the response.
        retry_after_s: seconds after which the API wants to be asked again; None where it does not say.
    """

    def __init__(self, body: dict[str, Any], status: int, retry_after_s: int | None = None) -> None:
        self.retry_after_s = retry_after_s
        self.status, self.code = status, str(body.get("code") or f"http_{status}")
        self.reason = str(body.get("detail") or body.get("title") or f"HTTP {status}")
        fields = [f"{error.get('field')}: {error.get('message')}" for error in body.get("errors") or []]
        super().__init__(f"{self.reason} {'; '.join(fields)}".strip() + f" ({self.code})")

    @classmethod
    def of(cls, response: httpx.Response) -> "ApiProblem":
        """Read the problem of a response whose body is there."""
        try:
            body = response.json()
        except ValueError:
            body = {}
        after = response.headers.get("Retry-After", "")
        retry_after_s = int(after) if after.isdecimal() else None
        return cls(body if isinstance(body, dict) else {}, response.status_code, retry_after_s)


class ApiUnreachable(LittleMonsterError):
    """The API does not answer."""

    def __init__(self, url: str, cause: Exception) -> None:
        reason = str(cause) or type(cause).__name__
        super().__init__(f"The API at {url} does not answer ({reason}). Is it up? `make up` starts it.")


class NotLoggedIn(LittleMonsterError):
    """There is no account to do this with."""

    def __init__(self, reason: str = "You are not logged in") -> None:
        super().__init__(
            f"{reason}: run `little-monster login`, or `little-monster register` for an account."
        )
