"""Say how ids and enumerations look in a column. Called by the schema and the row encoding.

The numbers are part of every stored ledger: they are never reused and never change.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary
from sqlalchemy.dialects.postgresql import UUID as NativeUUID
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from meter.core.call import Basis, Outcome


class Id(TypeDecorator[UUID]):
    """A UUID: 16 bytes on SQLite, `uuid` on PostgreSQL. Both order it by its bytes."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type of the database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(NativeUUID(as_uuid=True))
        return dialect.type_descriptor(LargeBinary(16))

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        """Return what the driver takes."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.bytes

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """Return what the driver gave as a UUID."""
        if value is None or isinstance(value, UUID):
            return value
        return UUID(bytes=bytes(value))


OUTCOME_NUMBERS: Mapping[Outcome, int] = MappingProxyType(
    {
        Outcome.COMPLETED: 0,
        Outcome.CLIENT_CLOSED: 1,
        Outcome.UPSTREAM_FAILED: 2,
        Outcome.TIMED_OUT: 3,
        Outcome.REFUSED: 4,
    }
)
OUTCOMES = MappingProxyType({number: outcome for outcome, number in OUTCOME_NUMBERS.items()})

BASIS_NUMBERS: Mapping[Basis, int] = MappingProxyType(
    {Basis.REPORTED: 0, Basis.ESTIMATED: 1, Basis.UNKNOWN: 2}
)
BASES = MappingProxyType({number: basis for basis, number in BASIS_NUMBERS.items()})
