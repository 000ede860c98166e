"""What all models share: naming, column types, keys and timestamps."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Double, Enum, FetchedValue, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils.compat import uuid7

# PostgreSQL's own names, so that a constraint made by hand is called the same.
_NAMES = {
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}


def new_id() -> UUID:
    """Return a UUIDv7: unique, and rising with time, so that new rows stand together in an index."""
    made: UUID = uuid7()
    return made


def pg_enum(labels: type[StrEnum], name: str) -> Enum:
    """Return PostgreSQL's enum type `name`, which keeps the values, and not the Python names, of `labels`."""
    return Enum(labels, name=name, values_callable=lambda members: [member.value for member in members])


class Base(DeclarativeBase):
    """Base of all models."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a plain class attribute.
        str: Text(),
        int: BigInteger(),
        float: Double(),
        UUID: Uuid(),
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB(),
        list[str]: ARRAY(Text()),
    }
    # A trigger writes updated_at: read it back with the statement instead of in a later, hidden one.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012


class Keyed:
    """A table with a UUIDv7 key, made in Python."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-2)


class Created:
    """A table that knows when a row was made."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)


class Stamped(Created):
    """A table that knows when a row was made and last changed; a trigger keeps `updated_at`."""

    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), server_onupdate=FetchedValue(), sort_order=91
    )
