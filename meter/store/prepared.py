"""Compile a statement once and run it on the driver's own cursor.

Executing a Core statement cost 97 µs on the machine where this was decided, and the same text on
the driver's cursor 5 µs; a call needs a dozen of them. Only the path of a call goes this way.
Called by the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Executable, Insert, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

from meter.store.types import Id

Parameters = Mapping[str, Any]

ROWS = "rows"
"""The parameter of a statement that takes all its rows at once, as a JSON text (PostgreSQL)."""

_MOST_TEXTS = 512


class Prepared:
    """One statement as the driver takes it; parameters go by name, ids are UUIDs.

    Either one list parameter, or any number of single ones. On SQLite a list is written out, and
    padded to the next power of two so that few texts are ever compiled; PostgreSQL takes an array.
    """

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        """Take the statement and the dialect of the database with its driver."""
        self._statement = statement
        self._dialect = dialect
        self._native = dialect.name == "postgresql"
        compiled: SQLCompiler = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self._takes_rows = self._native and ROWS in compiled.binds
        self._inserts = isinstance(statement, Insert) and not self._native
        self._may_be_null = isinstance(statement, Insert) and any(
            column.nullable for column in statement.table.columns
        )
        self._whole = _text_of(compiled)
        self._list = next((name for name, bind in compiled.binds.items() if bind.expanding), None)
        self._lists: dict[int, str] = {}
        self._parts: dict[tuple[str, ...], _Text] = {}
        columns = statement.selected_columns if isinstance(statement, Select) else ()
        self._columns = [column.name for column in columns]
        self._id_columns = [
            column.name for column in columns if isinstance(column.type, Id) and not self._native
        ]

    def send(self, cursor: DBAPICursor, rows: Sequence[Parameters]) -> int:
        """Run the statement for each of the rows of parameters; return how many rows it touched.

        Where statements travel together, only the cursor can tell, and later.
        """
        if self._inserts:
            return self._insert(cursor, rows)
        if self._takes_rows:
            cursor.execute(self._whole.text, {ROWS: msgspec.json.encode(rows).decode()})
        elif len(rows) == 1:
            cursor.execute(*self._bound(rows[0]))
        elif self._native:
            cursor.executemany(self._whole.text, rows)
        else:
            return self._whole.run(cursor, [self._whole.bound(row) for row in rows])
        return cursor.rowcount

    def fetched(self, cursor: DBAPICursor) -> list[dict[str, Any]]:
        """Return the rows that a SELECT found, by column name."""
        found = [dict(zip(self._columns, row, strict=True)) for row in cursor.fetchall()]
        for name in self._id_columns:
            for row in found:
                row[name] = None if row[name] is None else UUID(bytes=row[name])
        return found

    def _insert(self, cursor: DBAPICursor, rows: Sequence[Parameters]) -> int:
        """Insert rows without naming the columns that are null: SQLite's driver takes 0.8 µs for
        each null, and 0.1 µs for anything else.
        """
        if not self._may_be_null:
            return self._whole.run(cursor, [self._whole.bound(row) for row in rows])
        alike: dict[tuple[str, ...], list[Any]] = {}
        for row in rows:
            names = tuple([name for name in self._whole.names if row[name] is not None])
            text = self._parts.get(names) or self._part(names)
            alike.setdefault(names, []).append(text.bound(row))
        return sum(self._part(names).run(cursor, values) for names, values in alike.items())

    def _part(self, names: tuple[str, ...]) -> "_Text":
        """Return the text that inserts into these columns only."""
        text = self._parts.get(names)
        if text is None:
            if len(self._parts) >= _MOST_TEXTS:
                self._parts.clear()
            compiled = self._statement.compile(  # type: ignore[attr-defined]
                dialect=self._dialect, column_keys=list(names)
            )
            text = self._parts[names] = _text_of(compiled)
        return text

    def _bound(self, parameters: Parameters) -> tuple[str, Any]:
        if self._native:
            return self._whole.text, parameters
        if self._list is None:
            return self._whole.text, self._whole.bound(parameters)
        values = parameters[self._list]
        size = 1 << (len(values) - 1).bit_length()
        padded = [*values, *[values[-1]] * (size - len(values))]
        if self._whole.id_places:
            padded = [_id_as_bytes(value) for value in padded]
        return self._for_list_of(size), padded

    def _for_list_of(self, size: int) -> str:
        if size not in self._lists:
            filled = self._statement.params({self._list: [None] * size})  # type: ignore[attr-defined]
            compiled = filled.compile(
                dialect=self._dialect, compile_kwargs={"render_postcompile": True}
            )
            self._lists[size] = str(compiled)
        return self._lists[size]


@dataclass(frozen=True, slots=True)
class _Text:
    """A statement's text with the names of its parameters in order, and which of them are ids."""

    text: str
    names: tuple[str, ...]
    id_places: tuple[int, ...]
    values_of: Callable[[Parameters], Any]

    def run(self, cursor: DBAPICursor, values: Sequence[Sequence[Any]]) -> int:
        """Run the statement for each of these; return how many rows it touched."""
        if len(values) == 1:
            cursor.execute(self.text, values[0])
        else:
            cursor.executemany(self.text, values)
        return cursor.rowcount

    def bound(self, row: Parameters) -> Sequence[Any]:
        """Return a row's values in the order of the parameters."""
        if len(self.names) == 1:
            value = row[self.names[0]]
            return [_id_as_bytes(value) if self.id_places else value]
        values = list(self.values_of(row))
        for place in self.id_places:
            values[place] = _id_as_bytes(values[place])
        return values


def _text_of(compiled: SQLCompiler) -> _Text:
    names = tuple(compiled.positiontup or ())
    ids = tuple(p for p, name in enumerate(names) if isinstance(compiled.binds[name].type, Id))
    return _Text(str(compiled), names, ids, itemgetter(*names) if names else dict)


def _id_as_bytes(value: UUID | None) -> bytearray | None:
    # SQLite's driver looks for an adapter of every value whose type is `bytes`, which takes 0.9 µs.
    return None if value is None else bytearray(value.bytes)


Work = tuple[Prepared, Sequence[Parameters]]
"""A statement and the rows of parameters to run it for."""


class Runner:
    """Runs prepared statements on one connection, in one transaction.

    On PostgreSQL several statements travel together: a batch waits for the network three or four
    times, not a dozen.
    """

    def __init__(self, cursor: DBAPICursor, *, native: bool, first: str | None = None) -> None:
        """Take the driver's cursor; `native` says that the database is PostgreSQL.

        `first` is a statement to run before any other: that PostgreSQL need not wait for its disk.
        """
        self.cursor = cursor
        self.native = native
        self._first = first
        self._is_soft = first is not None

    def harden(self) -> None:
        """Let a transaction wait for the disk after all that was begun not to.

        PostgreSQL can be told until it commits; SQLite knows from the beginning on.
        """
        if self._is_soft:
            self._is_soft = False
            self._begin()
            self.cursor.execute("SET LOCAL synchronous_commit = on")

    def version(self) -> int:
        """Return a number that changes when another connection has written (SQLite only)."""
        self.cursor.execute("PRAGMA data_version")
        (version,) = self.cursor.fetchone() or (0,)
        return int(version)

    def ask(self, statement: Prepared, **parameters: object) -> list[dict[str, Any]]:
        """Return the rows that a SELECT finds."""
        self._begin()
        statement.send(self.cursor, [parameters])
        return statement.fetched(self.cursor)

    def ask_all(self, questions: Sequence[tuple[Prepared, Parameters]]) -> list[list[Any]]:
        """Return the rows that each of several SELECTs finds, run in their order."""
        if not self._pipes():
            return [self.ask(statement, **parameters) for statement, parameters in questions]
        cursors = self._piped([(statement, [parameters]) for statement, parameters in questions])
        return [
            statement.fetched(cursor)
            for (statement, _), cursor in zip(questions, cursors, strict=True)
        ]

    def put(self, statement: Prepared, rows: Sequence[Parameters]) -> int:
        """Run a statement that writes; return how many rows it touched."""
        self._begin()
        return statement.send(self.cursor, rows)

    def put_all(self, works: Sequence[tuple[Work, int | None]]) -> bool:
        """Run statements that write, in their order.

        Return whether each touched as many rows as it must, where that is given.
        """
        if not self._pipes():
            self._begin()
            for (statement, rows), expected in works:
                count = statement.send(self.cursor, rows)
                if expected is not None and count != expected:
                    return False
            return True
        cursors = self._piped([work for work, _ in works])
        return all(
            cursor.rowcount == expected or expected is None
            for (_, expected), cursor in zip(works, cursors, strict=True)
        )

    def _begin(self) -> None:
        if self._first is not None:
            first, self._first = self._first, None
            self.cursor.execute(first)

    def _pipes(self) -> bool:
        return self.native and _has_pipelines()

    def _piped(self, works: Sequence[Work]) -> list[DBAPICursor]:
        connection: Any = self.cursor.connection
        cursors = [connection.cursor() for _ in works]
        with connection.pipeline():
            self._begin()
            for (statement, rows), cursor in zip(works, cursors, strict=True):
                statement.send(cursor, rows)
        return cursors


@cache
def _has_pipelines() -> bool:
    """Whether the driver's libpq can send a statement before the one before it has answered."""
    from psycopg import Pipeline

    return Pipeline.is_supported()
