"""Compile a statement once and run it on the driver's own cursor.

Executing a Core statement cost 97 µs on the machine where this was decided, and the same text on
the driver's cursor 5 µs; a call needs a dozen of them. Only the path of a call goes this way.
Called by the batch.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler

from meter.store.types import Id

Parameters = Mapping[str, Any]


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
        self._text = str(compiled)
        self._binds = [(name, isinstance(compiled.binds[name].type, Id)) for name in
                       compiled.positiontup or ()]  # fmt: skip
        self._list = next((name for name, bind in compiled.binds.items() if bind.expanding), None)
        self._texts: dict[int, str] = {}
        columns = statement.selected_columns if isinstance(statement, Select) else ()
        self._columns = [column.name for column in columns]
        self._id_columns = [
            column.name for column in columns if isinstance(column.type, Id) and not self._native
        ]

    def send(self, cursor: DBAPICursor, rows: Sequence[Parameters]) -> None:
        """Run the statement for each of the rows of parameters."""
        if len(rows) == 1:
            cursor.execute(*self._bound(rows[0]))
        elif self._native:
            cursor.executemany(self._text, rows)
        else:
            cursor.executemany(self._text, [self._positional(row) for row in rows])

    def fetched(self, cursor: DBAPICursor) -> list[dict[str, Any]]:
        """Return the rows that a SELECT found, by column name."""
        found = [dict(zip(self._columns, row, strict=True)) for row in cursor.fetchall()]
        for name in self._id_columns:
            for row in found:
                row[name] = None if row[name] is None else UUID(bytes=row[name])
        return found

    def _bound(self, parameters: Parameters) -> tuple[str, Any]:
        if self._native:
            return self._text, parameters
        if self._list is None:
            return self._text, self._positional(parameters)
        values = parameters[self._list]
        size = 1 << (len(values) - 1).bit_length()
        padded = [*values, *[values[-1]] * (size - len(values))]
        if self._binds[0][1]:
            padded = [value.bytes for value in padded]
        return self._for_list_of(size), padded

    def _positional(self, row: Parameters) -> tuple[Any, ...]:
        return tuple(
            row[name].bytes if is_id and row[name] is not None else row[name]
            for name, is_id in self._binds
        )

    def _for_list_of(self, size: int) -> str:
        if size not in self._texts:
            filled = self._statement.params({self._list: [None] * size})  # type: ignore[attr-defined]
            compiled = filled.compile(
                dialect=self._dialect, compile_kwargs={"render_postcompile": True}
            )
            self._texts[size] = str(compiled)
        return self._texts[size]


Work = tuple[Prepared, Sequence[Parameters]]
"""A statement and the rows of parameters to run it for."""


class Runner:
    """Runs prepared statements on one connection, in one transaction.

    On PostgreSQL several statements travel together: a batch waits for the network three or four
    times, not a dozen.
    """

    def __init__(self, cursor: DBAPICursor, *, native: bool) -> None:
        """Take the driver's cursor; `native` says that the database is PostgreSQL."""
        self._cursor = cursor
        self.native = native

    def ask(self, statement: Prepared, **parameters: object) -> list[dict[str, Any]]:
        """Return the rows that a SELECT finds."""
        statement.send(self._cursor, [parameters])
        return statement.fetched(self._cursor)

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
        statement.send(self._cursor, rows)
        return self._cursor.rowcount

    def put_all(self, works: Sequence[Work]) -> list[int]:
        """Run statements that write, in their order; return how many rows each touched."""
        if not self._pipes():
            return [self.put(statement, rows) for statement, rows in works]
        return [cursor.rowcount for cursor in self._piped(works)]

    def _pipes(self) -> bool:
        return self.native and _has_pipelines()

    def _piped(self, works: Sequence[Work]) -> list[DBAPICursor]:
        connection: Any = self._cursor.connection
        cursors = [connection.cursor() for _ in works]
        with connection.pipeline():
            for (statement, rows), cursor in zip(works, cursors, strict=True):
                statement.send(cursor, rows)
        return cursors


@cache
def _has_pipelines() -> bool:
    """Whether the driver's libpq can send a statement before the one before it has answered."""
    from psycopg import Pipeline

    return Pipeline.is_supported()
