"""Keep whose the stored objects of an upstream's account are.

Knows ids and owners, no HTTP. Called by the gateway; every method raises StoreUnavailable.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, and_, delete, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from meter.store.encoding import AnyRow
from meter.store.engine import read_connection, write_connection
from meter.store.schema import owned_objects

_LONGEST_ID = 512
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Owned:
    """One stored object and its owner.

    `family` is the collection it is listed in, such as "files"; `subject` owns it; `key_id` made
    it. Times are microseconds UTC; `watched_us` None: nobody looks after it. `notes` is JSON.
    """

    upstream: str
    id: str
    family: str
    subject: str
    key_id: str
    created_us: int
    watched_us: int | None = None
    notes: str | None = None


class OwnedObjects:
    """The owners of one ledger's objects. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine whose schema is current."""
        self._engine = engine

    def add(self, objects: Sequence[Owned]) -> None:
        """Give objects to their owners; one that has an owner keeps it."""
        rows = [
            {name: getattr(each, name) for name in Owned.__slots__}
            for each in objects
            if each.id and len(each.id) <= _LONGEST_ID and "\0" not in each.id
        ]
        if not rows:
            return
        native = self._engine.dialect.name == "postgresql"
        insert = (postgresql.insert if native else sqlite.insert)(owned_objects)
        with write_connection(self._engine) as connection:
            connection.execute(insert.on_conflict_do_nothing(), rows)

    def owners(self, upstream: str, ids: Iterable[str]) -> dict[str, str]:
        """Return the subject of each of these objects that has an owner."""
        wanted = sorted({each for each in ids if "\0" not in each and len(each) <= _LONGEST_ID})
        found: dict[str, str] = {}
        with read_connection(self._engine) as connection:
            for start in range(0, len(wanted), _AT_ONCE):
                chosen = select(owned_objects.c.id, owned_objects.c.subject).where(
                    owned_objects.c.upstream == upstream,
                    owned_objects.c.id.in_(wanted[start : start + _AT_ONCE]),
                )
                found.update((row.id, row.subject) for row in connection.execute(chosen))
        return found

    def one(self, upstream: str, name: str) -> Owned | None:
        """Return one object, None when it has no owner."""
        chosen = select(owned_objects).where(
            owned_objects.c.upstream == upstream, owned_objects.c.id == name
        )
        with read_connection(self._engine) as connection:
            row = connection.execute(chosen).mappings().first()
        return None if row is None else _owned(row)

    def page(
        self,
        upstream: str,
        subject: str,
        family: str,
        *,
        limit: int,
        newest_first: bool = True,
        after: str | None = None,
        before: str | None = None,
    ) -> list[Owned]:
        """Return a subject's objects of a family in the order of their making.

        `after` and `before` are ids of the subject's own, exclusive; an unknown one gives nothing.
        With `before` the page is the one that ends just before it.
        """
        table = owned_objects
        conditions = [
            table.c.upstream == upstream, table.c.subject == subject, table.c.family == family
        ]  # fmt: skip
        backwards = before is not None and after is None
        for cursor, is_after in ((after, True), (before, False)):
            if cursor is None:
                continue
            mark = self.one(upstream, cursor)
            if mark is None or mark.subject != subject:
                return []
            place = tuple_(table.c.created_us, table.c.id)
            known = tuple_(mark.created_us, mark.id)
            conditions.append(place < known if newest_first is is_after else place > known)
        falls = newest_first is not backwards
        columns = (table.c.created_us, table.c.id)
        chosen = (
            select(table)
            .where(and_(*conditions))
            .order_by(*(column.desc() if falls else column.asc() for column in columns))
            .limit(limit)
        )
        with read_connection(self._engine) as connection:
            rows = [_owned(row) for row in connection.execute(chosen).mappings()]
        return rows[::-1] if backwards else rows

    def remove(self, upstream: str, ids: Iterable[str]) -> None:
        """Forget objects that exist no more."""
        chosen = delete(owned_objects).where(
            owned_objects.c.upstream == upstream, owned_objects.c.id.in_(list(ids))
        )
        with write_connection(self._engine) as connection:
            connection.execute(chosen)

    def note(self, upstream: str, name: str, notes: str | None) -> None:
        """Keep a text with an object, or take it away."""
        chosen = (owned_objects.c.upstream == upstream) & (owned_objects.c.id == name)
        with write_connection(self._engine) as connection:
            connection.execute(update(owned_objects).where(chosen).values(notes=notes))

    def due(self, now_us: int, *, until_us: int, limit: int) -> list[Owned]:
        """Take the watched objects whose time has come, oldest first.

        They are put off to `until_us`, so that no other process looks at the same ones meanwhile.
        """
        table = owned_objects
        chosen = (
            select(table)
            .where(table.c.watched_us <= now_us)
            .order_by(table.c.watched_us)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with write_connection(self._engine) as connection:
            found = [_owned(row) for row in connection.execute(chosen).mappings()]
            if found:
                these = or_(
                    *(and_(table.c.upstream == f.upstream, table.c.id == f.id) for f in found)
                )
                connection.execute(update(table).where(these).values(watched_us=until_us))
        return found

    def watch(self, upstream: str, name: str, at_us: int | None) -> None:
        """Say when to look at an object again, None for never."""
        chosen = (owned_objects.c.upstream == upstream) & (owned_objects.c.id == name)
        with write_connection(self._engine) as connection:
            connection.execute(update(owned_objects).where(chosen).values(watched_us=at_us))


def _owned(row: AnyRow) -> Owned:
    return Owned(**{name: row[name] for name in Owned.__slots__})
