"""Kinds of text that bodies are made of."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)


class Body(BaseModel):
    """Base of the bodies that clients send: an unknown field is an error, as it is most often a misspelt
    one."""

    model_config = ConfigDict(extra="forbid")


class Changes(Body):
    """Base of the bodies of PATCH: a change of at least one field; what is left out stays as it is. Only
    `nullable` fields may be null; the others are `optional`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _is_a_change(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must change something")
        for name in self.model_fields_set - self.nullable:
            if getattr(self, name) is None:
                raise ValueError(f"{name} must not be null")
        return self

    def given(self) -> dict[str, Any]:
        """Return the fields that the client sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def optional(**options: Any) -> Any:
    """Return the field of a change that can be left out but is never null. Nobody reads what it holds then;
    a `default` would be shown to clients as what they get, and a type with None name both in an error."""
    return Field(default_factory=_nothing, **options)


def _nothing() -> None:
    return None


def without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def is_deeper(value: Any, levels: int) -> bool:
    """Say whether lists and objects stand in each other more than `levels` deep; no depth exhausts the
    stack."""
    level = [value]
    for _ in range(levels):
        inner = [one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer)]
        level = [one for one in inner if isinstance(one, (dict, list))]
    return bool(level)


def _whole(secret: SecretStr) -> SecretStr:
    text = without_nul(secret.get_secret_value())
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain half of a character")
    return secret


def _lower(text: str) -> str:
    return text.lower()


# PostgreSQL keeps no U+0000 in a text; said here, it is an error of the field and not of the server.
Text = Annotated[str, AfterValidator(without_nul)]

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(without_nul),
]
Email = Annotated[EmailStr, StringConstraints(max_length=254), AfterValidator(_lower)]
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    AfterValidator(without_nul),
    Field(examples=["Advertises something."]),
]
# A secret is not read as text by pydantic, which would refuse what cannot be encoded.
Password = Annotated[SecretStr, AfterValidator(_whole)]
# What is searched for, as people write it.
Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(without_nul),
]
