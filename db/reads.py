"""Reading one row by its key past the ORM's session, whose bookkeeping costs several times the statement.

A session is still the way to write, and to read more than one thing in one transaction.
"""

from typing import Generic, TypeVar

from asyncpg import Record
from sqlalchemy import Enum, bindparam, inspect, select
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from little_monster.db.base import Base

Model = TypeVar("Model", bound=Base)


class ByKey(Generic[Model]):
    """A model's row with a given key: as a statement of asyncpg, and how to make the row of what it returns.

    Args:
        model: a mapped class with one key column. Its rows come as instances that belong to no session and
            are only to be read.
    """

    def __init__(self, model: type[Model]) -> None:
        mapper = inspect(model)
        (key,) = mapper.primary_key
        self._model = model
        self.sql = str(select(*mapper.columns).where(key == bindparam("key")).compile(dialect=dialect()))
        self._names = [mapper.get_property_by_column(column).key for column in mapper.columns]
        # The driver's values are those of the models already, but for the labels of enums.
        self._enums = {
            name: column.type.enum_class
            for name, column in zip(self._names, mapper.columns, strict=True)
            if isinstance(column.type, Enum)
        }

    def load(self, record: Record) -> Model:
        """Return the row that a record of `sql` holds."""
        values = dict(zip(self._names, record, strict=True))
        for name, labels in self._enums.items():
            if (label := values[name]) is not None:
                values[name] = labels(label)
        row = self._model()
        # As the ORM loads rows: past the instrumented attributes, which would note every value as a change.
        row.__dict__.update(values)
        return row
