"""What an error looks like: RFC 9457 under `/api/v1`, OpenAI's shape under `/v1`."""

from pydantic import BaseModel, Field


class WrongField(BaseModel):
    """One wrong field of a request."""

    field: str = Field(examples=["body.email"])
    message: str = Field(examples=["value is not a valid email address"])


class Problem(BaseModel):
    """An error (RFC 9457, `application/problem+json`)."""

    type: str = Field(
        description="Names the kind of error.", examples=["urn:little-monster:problem:not_found"]
    )
    title: str = Field(description="The kind of error, for people.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong this time, for people.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="The kind of error, for programs; does not change.", examples=["not_found"])
    errors: list[WrongField] = Field(description="The wrong fields, when the request was wrong.")
    request_id: str = Field(description="The `X-Request-ID` of this answer; the logs have it too.")


class OpenAIErrorDetail(BaseModel):
    """What an OpenAI client shows of an error."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = None
    code: str | None = None


class OpenAIError(BaseModel):
    """An error, in the shape that OpenAI clients read."""

    error: OpenAIErrorDetail
