"""Keep one connection for all transactions of one thread: taking one from the pool costs more.

A database in memory has a single connection, which is given back after each transaction. Called
by the ledger store.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from meter.store.engine import as_writer, is_memory, soften, write_connection
from meter.store.forking import begin_anew_in_children, leave_behind


class KeptConnection:
    """A connection for write transactions, opened when it is first needed. Not thread-safe."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine whose connection to keep."""
        self._engine = engine
        self._kept: Connection | None = None
        self._shared = is_memory(engine)
        self._sqlite = engine.dialect.name == "sqlite"
        self._is_soft = False
        begin_anew_in_children(self, KeptConnection._begin_anew)

    @contextmanager
    def transaction(self, *, soft: bool = False) -> Iterator[Connection]:
        """Yield the connection in a write transaction, committed at the end.

        A `soft` one survives the end of the process at once, and a power loss only from the next
        one that is not soft on. After an error the connection is given up and the next
        transaction opens another.
        Raises: StoreUnavailable.
        """
        if self._shared:
            with write_connection(self._engine) as connection:
                yield connection
            return
        if self._kept is None:
            self._kept = as_writer(self._engine.connect())
            self._is_soft = False
        try:
            if self._sqlite and soft is not self._is_soft:
                soften(self._kept, soft)
                self._is_soft = soft
            with self._kept.begin():
                if soft and not self._sqlite:
                    soften(self._kept, soft)
                yield self._kept
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            if self._is_soft:
                # The pool's other users count on waiting for the disk.
                kept.invalidate()
            kept.close()

    def _begin_anew(self) -> None:
        """Let go of the parent's connection, in a forked child."""
        if self._kept is not None:
            leave_behind(self._kept)
            self._kept = None
