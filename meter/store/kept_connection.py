"""Keep one connection for all transactions of one thread, and begin and end them on its cursor.

Taking one from the pool for each transaction, and having SQLAlchemy begin and end it, costs more
than what a call writes. A database in memory has a single connection, which is given back after
each transaction. Called by the ledger store.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.engine.interfaces import DBAPICursor

from meter.store.engine import (
    begin_writing,
    busy_timeout_of,
    in_words_of,
    is_memory,
    on_cursor,
    waits_for_disk,
    write_connection,
)
from meter.store.failures import ConnectionLost
from meter.store.forking import begin_anew_in_children, leave_behind
from meter.store.prepared import Runner

_NOT_WAITING = "SET LOCAL synchronous_commit = off"


class KeptConnection:
    """A connection for write transactions, opened when it is first needed. Not thread-safe."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine whose connection to keep."""
        self._engine = engine
        self._kept: PoolProxiedConnection | None = None
        self._cursor: DBAPICursor | None = None
        self._shared = is_memory(engine)
        self._sqlite = engine.dialect.name == "sqlite"
        self._waits_for_disk = waits_for_disk(engine)
        self._timeout_s = busy_timeout_of(engine)
        self._is_soft = False
        begin_anew_in_children(self, KeptConnection._begin_anew)

    @contextmanager
    def transaction(self, *, soft: bool = False) -> Iterator[Runner]:
        """Yield what runs statements in a write transaction, committed at the end.

        A `soft` one survives the end of the process at once, and a power loss only from the next
        one that is not soft on. After an error the connection is given up and the next
        transaction opens another.
        Raises: StoreUnavailable.
        """
        if self._shared:
            with write_connection(self._engine) as connection, on_cursor(connection) as cursor:
                yield Runner(cursor, native=False)
            return
        try:
            if self._sqlite:
                cursor = self._begun(soft and self._waits_for_disk)
                yield Runner(cursor, native=False)
                cursor.execute("COMMIT")
            else:
                kept = self._kept or self._opened()
                is_soft = soft and self._waits_for_disk
                first = _NOT_WAITING if is_soft else None
                yield Runner(kept.cursor(), native=True, first=first)
                kept.commit()
        except BaseException as error:
            named = in_words_of(self._engine, error)
            self._give_up(is_lost=isinstance(named or error, ConnectionLost))
            if named is None:
                raise
            raise named from error

    def close(self) -> None:
        """Give the connection back."""
        self._give_up(is_lost=False)

    def _begun(self, soft: bool) -> DBAPICursor:
        """Return the cursor of the kept SQLite connection, in a write transaction."""
        cursor = self._cursor
        if cursor is None:
            cursor = self._cursor = self._opened().cursor()
            # Nobody else uses this connection: it never waits in SQLite's own way.
            cursor.execute("PRAGMA busy_timeout=0")
            self._is_soft = False
        if soft is not self._is_soft:
            # SQLite is told before the transaction begins, and remembers.
            cursor.execute(f"PRAGMA synchronous={'NORMAL' if soft else 'FULL'}")
            self._is_soft = soft
        begin_writing(cursor, self._engine.dialect, self._timeout_s)
        return cursor

    def _opened(self) -> PoolProxiedConnection:
        self._kept = self._engine.raw_connection()
        return self._kept

    def _give_up(self, *, is_lost: bool) -> None:
        kept, self._kept, self._cursor = self._kept, None, None
        if kept is None:
            return
        if self._sqlite or is_lost:
            # The pool's other users count on waiting for the disk, and for other writers.
            kept.invalidate()
        kept.close()

    def _begin_anew(self) -> None:
        """Let go of the parent's connection, in a forked child."""
        if self._kept is not None:
            leave_behind((self._kept, self._cursor))
            self._kept = self._cursor = None
