"""Kinds of text that bodies are made of."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, StringConstraints, model_validator


class Body(BaseModel):
    """Base of the bodies that clients send: an unknown field is an error, as it is most often a misspelt
    one."""

    model_config = ConfigDict(extra="forbid")


class Changes(Body):
    """Base of the bodies of PATCH: a field that is left out stays as it is, and there is at least one. Only
    `nullable` fields may be null; the others are None where they are left out."""

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
        """Return the fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character U+0000")
    return text


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
