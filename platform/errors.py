"""The one tree of errors that this project raises on purpose.

LittleMonsterError
├── ConfigurationError            a setting is wrong: the operator must change it
├── StartupError                  a part of the stack did not start: says which, why, what to do
├── BrokenDataset                 a folder for evaluation cannot be read: the message names file and line
├── ReadFailure                   a document cannot be read: `code` and a reason for its owner
└── ProblemError                  what a client of the API sees (RFC 9457): stable `code`, HTTP `status`
    ├── InvalidInput              422, with `errors[]`     the caller must change the request
    │   └── MalformedJson         400
    ├── Unauthenticated           401                      the caller must log in again
    ├── Forbidden                 403
    ├── NotFound                  404                      also for what belongs to somebody else
    ├── Conflict                  409
    ├── Gone                      410                      it was there, and its time is over
    ├── PreconditionFailed        412
    ├── TooLarge                  413
    │   └── HeadersTooLarge       431
    ├── UnsupportedFile           415
    ├── RangeNotSatisfiable       416, `size`              the file ends before what is asked for
    ├── RateLimited               429, `retry_after_s`     the caller must wait
    ├── ContentRefused            422                      moderation
    └── Unavailable               503, `retry_after_s`     the caller may repeat the same request later
        ├── EngineFailed          502                      a model or an endpoint behind us failed
        └── StorageFull           507, `retry_after_s`     it may when whoever runs this has made room
"""

from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import TypedDict


class FieldProblem(TypedDict):
    """One wrong field: where it is (`body.email`) and what is wrong with it."""

    field: str
    message: str


class LittleMonsterError(Exception):
    """Base of all errors of this project."""


class ConfigurationError(LittleMonsterError):
    """A setting is wrong; the message is one line that names it."""


class StartupError(LittleMonsterError):
    """A stage of `little-monster up` failed.

    Args:
        stage: which part.
        reason: why.
        remedy: what the operator can do.
    """

    def __init__(self, stage: str, reason: str, remedy: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage, self.reason, self.remedy = stage, reason, remedy


class BrokenDataset(LittleMonsterError):
    """A folder of passages and questions cannot be read; the message is one line that names file and line."""


class ReadFailure(LittleMonsterError):
    """A document cannot be read. Picklable, as it crosses processes.

    Args:
        code: stable, for programs (`pdf_encrypted`).
        reason: one sentence for the owner of the document.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class ProblemError(LittleMonsterError):
    """An error that a client is told about as `application/problem+json` (RFC 9457)."""

    status: ClassVar[int] = 500
    code: str = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldProblem] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = list(errors)
        self.retry_after_s = retry_after_s


class InvalidInput(ProblemError):
    """The request cannot be understood or breaks a rule; `errors` says where."""

    status, code, title = 422, "invalid_input", "Invalid input"


class MalformedJson(InvalidInput):
    """The body is not JSON."""

    status, code, title = 400, "malformed_json", "Malformed JSON"


class Unauthenticated(ProblemError):
    """No valid token. One body for every cause, so that it tells nothing to who forges one."""

    status, code, title = 401, "unauthenticated", "Unauthenticated"


class Forbidden(ProblemError):
    """The caller is known but may not do this."""

    status, code, title = 403, "forbidden", "Forbidden"


class NotFound(ProblemError):
    """No such thing, or it belongs to somebody else: both look the same."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(ProblemError):
    """It contradicts what is there."""

    status, code, title = 409, "conflict", "Conflict"


class Gone(ProblemError):
    """It was there, and its time is over."""

    status, code, title = 410, "gone", "Gone"


class PreconditionFailed(ProblemError):
    """`If-Match` names another version."""

    status, code, title = 412, "precondition_failed", "Precondition failed"


class TooLarge(ProblemError):
    """The body is over its limit."""

    status, code, title = 413, "too_large", "Too large"


class HeadersTooLarge(TooLarge):
    """The headers are over their limit."""

    status, code, title = 431, "headers_too_large", "Headers too large"


class UnsupportedFile(ProblemError):
    """The file is not of a type that can be read."""

    status, code, title = 415, "unsupported_file_type", "Unsupported file type"


class RangeNotSatisfiable(ProblemError):
    """`Range` begins behind the end of a file of `size` bytes."""

    status, code, title = 416, "range_not_satisfiable", "Range not satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size} bytes, and ends before the range begins.")
        self.size = size


class RateLimited(ProblemError):
    """Too many requests."""

    status, code, title = 429, "rate_limited", "Too many requests"


class ContentRefused(ProblemError):
    """Moderation refused the text."""

    status, code, title = 422, "content_refused", "Content refused"


class Unavailable(ProblemError):
    """A part that is needed does not answer now."""

    status, code, title = 503, "unavailable", "Temporarily unavailable"


class EngineFailed(Unavailable):
    """A model, or the endpoint behind it, failed."""

    status, code, title = 502, "engine_failed", "The model failed"


class StorageFull(Unavailable):
    """There is no room for what is to be stored (RFC 4918, 11.5)."""

    status, code, title = 507, "storage_full", "Storage full"
