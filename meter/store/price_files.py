"""Keep imported rate files as they were given, every version of them.

Knows texts, no prices. Called through `ledger` by whoever imports prices and by every process
that uses them. Every method raises StoreUnavailable.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from meter.errors import ConflictingWrite
from meter.store.engine import read_connection, write_connection
from meter.store.schema import price_files


@dataclass(frozen=True, slots=True)
class PriceFile:
    """One version of an imported rate file.

    `number` counts the versions of a name from 1. Times are microseconds UTC; `removed_us` None:
    it was not taken away. `hash` is that of the content.
    """

    name: str
    number: int
    imported_us: int
    removed_us: int | None
    format: str
    hash: str
    author: str
    content: str


class PriceFiles:
    """The imported rate files of one ledger. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine whose schema is current."""
        self._engine = engine

    def versions(self) -> list[tuple[str, int]]:
        """Return name and number of the files in force: another list says that one changed."""
        with read_connection(self._engine) as connection:
            rows = connection.execute(_in_force().with_only_columns(*_KEY).order_by(*_KEY))
            return [(row.name, row.number) for row in rows]

    def in_force(self) -> list[PriceFile]:
        """Return the files in force, the newest import first: it lies on top."""
        newest = (price_files.c.imported_us.desc(), price_files.c.name)
        with read_connection(self._engine) as connection:
            rows = connection.execute(_in_force().order_by(*newest)).mappings().all()
            return [PriceFile(**row) for row in rows]

    def put(self, name: str, format: str, content: str, author: str, *, now_us: int) -> PriceFile:
        """Keep a file under a name, in place of the one before; the same content is a no-op.

        Raises: ConflictingWrite when another process imports under the name at the same time.
        """
        digest = hashlib.sha256(content.encode()).hexdigest()
        mine = price_files.c.name == name
        with write_connection(self._engine) as connection:
            chosen = _in_force().where(mine)
            known = connection.execute(chosen).mappings().first()
            if known is not None and (known["hash"], known["format"]) == (digest, format):
                return PriceFile(**known)
            last = connection.execute(select(func.max(price_files.c.number)).where(mine))
            number = (last.scalar_one() or 0) + 1
            made = PriceFile(name, number, now_us, None, format, digest, author, content)
            row = {field: getattr(made, field) for field in PriceFile.__slots__}
            adding = _insert(self._engine).on_conflict_do_nothing()
            added = connection.execute(adding.returning(price_files.c.number), row)
            if added.first() is None:
                raise ConflictingWrite(f"found {name} imported by another at the same time")
            return made

    def remove(self, name: str, *, now_us: int) -> bool:
        """Take the file of a name out of force; return whether one was in force."""
        with write_connection(self._engine) as connection:
            known = connection.execute(_in_force().where(price_files.c.name == name)).first()
            if known is None:
                return False
            mine = (price_files.c.name == name) & (price_files.c.number == known.number)
            connection.execute(update(price_files).where(mine).values(removed_us=now_us))
            return True


_KEY = (price_files.c.name, price_files.c.number)


def _in_force() -> Select[tuple[object, ...]]:
    """Return a SELECT of the highest number of each name that was not removed."""
    later = price_files.alias("later")
    highest = (
        select(func.max(later.c.number)).where(later.c.name == price_files.c.name).scalar_subquery()
    )
    return select(price_files).where(
        price_files.c.number == highest, price_files.c.removed_us.is_(None)
    )


def _insert(engine: Engine) -> Any:
    native = engine.dialect.name == "postgresql"
    return (postgresql.insert if native else sqlite.insert)(price_files)
