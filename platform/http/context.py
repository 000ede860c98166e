"""What is known of one request while it is answered; the outermost middleware makes it, others add to it."""

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection
from starlette.types import Scope

from little_monster.platform.errors import ProblemError
from little_monster.platform.security import Principal

_KEY = "little_monster.context"


@dataclass(slots=True)
class RequestContext:
    """`headers` are added to the response whoever makes it, an error handler too; `trace_id` is 32 hex
    digits. `identified` says that `principal` was looked for, `is_gone` that its account was deleted,
    `counted` that its limit knows of the request; `refusal` is why a good token names nobody. `form_digest`
    tells a form from others, once it was read to its end."""

    request_id: str
    trace_id: str = ""
    principal: Principal | None = None
    is_gone: bool = False
    identified: bool = False
    refusal: ProblemError | None = None
    counted: bool = False
    form_digest: str | None = None
    error_code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def set_context(scope: Scope, context: RequestContext) -> None:
    """Attach `context` to an ASGI scope."""
    scope[_KEY] = context


def context_of(connection: HTTPConnection) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = connection.scope[_KEY]
    return context
