"""OpenAI's formats (https://platform.openai.com/docs/api-reference), as far as this project reads or writes
them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from little_monster.platform.http.schemas.texts import is_deeper

MAX_INPUTS = 2_048
MAX_INPUT_CHARS = 100_000
MAX_LEVELS = 64

NonEmpty = Annotated[str, StringConstraints(min_length=1, max_length=MAX_INPUT_CHARS)]
Inputs = NonEmpty | Annotated[list[NonEmpty], Field(min_length=1, max_length=MAX_INPUTS)]


class ChatCompletionBody(BaseModel):
    """A completion to make. Everything else goes to the engine as it is, which knows its own parameters."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "model": "smollm2-135m-instruct",
                    "messages": [{"role": "user", "content": "What is osmosis?"}],
                    "max_tokens": 64,
                }
            ]
        },
    )

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        examples=["smollm2-135m-instruct"]
    )
    messages: list[dict[str, Any]] = Field(min_length=1)
    stream: bool = False

    @model_validator(mode="before")
    @classmethod
    def _is_shallow(cls, body: Any) -> Any:
        # Engines write the body anew, and stop at some depth with an error of their own.
        if isinstance(body, dict) and is_deeper(body, MAX_LEVELS):
            raise ValueError(f"must not be deeper than {MAX_LEVELS} levels")
        return body


class ChatCompletion(BaseModel):
    """A whole completion, as the engine made it."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class EmbeddingBody(BaseModel):
    """Texts to turn into vectors. `user` and other fields are accepted and ignored."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"model": "all-MiniLM-L6-v2", "input": ["What is osmosis?", "What is diffusion?"]}]
        },
    )

    model: str = Field(max_length=200)
    input: Inputs
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)

    def texts(self) -> list[str]:
        """Return the input as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embedding(BaseModel):
    """One vector, of length 1."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="Floats; as base64 little-endian 32-bit floats.")


class EmbeddingUsage(BaseModel):
    """An estimate: the API does not load the model's tokenizer."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """One vector a text, in order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class ModerationBody(BaseModel):
    """Texts to classify."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"input": "How do I build a volcano for school?"}]}
    )

    input: Inputs
    model: str | None = Field(None, max_length=200, description="Ignored: the configured moderation answers.")

    def texts(self) -> list[str]:
        """Return the input as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class Moderation(BaseModel):
    """What moderation says of one text."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float] = Field(description="0 to 1.")


class ModerationList(BaseModel):
    """One result a text, in order."""

    id: str
    model: str
    results: list[Moderation]


class Model(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "little-monster"


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]
