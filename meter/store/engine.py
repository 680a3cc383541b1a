"""Open the ledger's database, and put its errors into words.

SQLite in WAL mode (through pysqlite3 where it is installed: the SQLite that most Pythons link can
corrupt a WAL file when two connections write) or PostgreSQL through psycopg. Knows no table.
One process must not open the same file through two SQLite libraries: closing it in one drops the
locks of the other, as the operating system keeps them for the process.
Called by everything in `meter/store/`, by `migrations/env.py` and by the façade.
"""

import importlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, Dialect, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from meter.errors import ConfigError, StoreUnavailable
from meter.store.failures import ConnectionLost, in_words
from meter.store.forking import begin_anew_in_children, leave_behind

Durability = Literal["full", "process"]

BUSY_TIMEOUT_S = 5.0
"""How long a write waits for another process's lock before the ledger counts as unavailable."""

_WRITES = "meter_writes"
_DURABILITY = "meter_durability"
_BUSY_TIMEOUT = "meter_busy_timeout_s"
_READ_ONLY = "meter_read_only"
_LOOK_AGAIN_S = 0.001
_POOL_TIMEOUT_S = 10
_CONNECT_TIMEOUT_S = 5


def open_engine(
    url: str,
    *,
    read_only: bool = False,
    durability: Durability = "full",
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> Engine:
    """Return an engine on the database at `url`; nothing is connected yet.

    `durability` "full" survives a power loss, "process" only the end of the process. A database
    in memory (`sqlite://`) has one connection, which all threads take in turn.

    Raises: ConfigError for a database that is neither SQLite nor PostgreSQL, and for PostgreSQL
    without psycopg. The engine's connections raise StoreUnavailable, SchemaMismatch.
    """
    if durability not in ("full", "process"):
        raise ConfigError(f"found durability {durability!r}, expected 'full' or 'process'")
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = _sqlite_engine(parsed, read_only, durability, busy_timeout_s)
    else:
        engine = _postgres_engine(parsed, read_only, durability, busy_timeout_s)
    place = parsed.render_as_string(hide_password=True)

    @event.listens_for(engine, "handle_error", retval=True)
    def _translate(context: ExceptionContext) -> BaseException | None:
        if context.is_pre_ping:
            return None  # the pool opens another connection
        return in_words(context.original_exception, place)

    begin_anew_in_children(engine, _leave_connections_behind)
    options = {_DURABILITY: durability, _READ_ONLY: read_only, _BUSY_TIMEOUT: busy_timeout_s}
    engine.update_execution_options(**options)
    return engine


def parse_url(url: str) -> URL:
    """Return the parsed address, with the driver that `meter` uses. Raises: ConfigError."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "found a database address that cannot be read, expected one such as "
            "sqlite:///meter.db or postgresql://user@host/name"
        ) from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed.set(drivername="sqlite")
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(
        f"found a database of kind {parsed.drivername!r}, expected sqlite or postgresql"
    )


def waits_for_disk(engine: Engine) -> bool:
    """Whether a commit waits for the disk: durability "full"."""
    return engine.get_execution_options().get(_DURABILITY) == "full"


def busy_timeout_of(engine: Engine) -> float:
    """Return for how many seconds a write waits for another process's lock."""
    return float(engine.get_execution_options().get(_BUSY_TIMEOUT, BUSY_TIMEOUT_S))


def in_words_of(engine: Engine, error: BaseException | None) -> BaseException | None:
    """Return the error that `meter` raises for one of this engine's driver, None for others."""
    return in_words(error, engine.url.render_as_string(hide_password=True))


def is_memory(engine: Engine) -> bool:
    """Whether the database lives in this process's memory only."""
    return engine.dialect.name == "sqlite" and _in_memory(engine.url)


@contextmanager
def write_connection(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a write transaction, committed at the end.

    On SQLite the write lock is taken at the beginning, so that nothing read in the transaction
    can change before it ends. Raises: StoreUnavailable.
    """
    with _connected(engine) as connection, as_writer(connection).begin():
        yield connection


@contextmanager
def read_connection(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose statements all see one state of the ledger.

    Raises: StoreUnavailable.
    """
    with _connected(engine) as connection:
        if engine.dialect.name == "postgresql":
            options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"}
            # Taking this option back would make the pooled connection of a ledger that was opened
            # to read only writable.
            if not engine.get_execution_options().get(_READ_ONLY):
                options["postgresql_readonly"] = True
            connection = connection.execution_options(**options)
        yield connection


def as_writer(connection: Connection) -> Connection:
    """Mark the connection so that its transactions take the write lock when they begin."""
    return connection.execution_options(**{_WRITES: True})


@contextmanager
def on_cursor(connection: Connection) -> Iterator[DBAPICursor]:
    """Yield the driver's own cursor inside the connection's transaction.

    Its errors come out as everywhere else. Raises: StoreUnavailable, SchemaMismatch.
    """
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except connection.dialect.loaded_dbapi.Error as error:
        named = in_words_of(connection.engine, error)
        if isinstance(named, ConnectionLost):
            connection.invalidate()
        if named is None:
            raise
        raise named from error
    finally:
        if not connection.invalidated:
            cursor.close()


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    try:
        connection = engine.connect()
    except PoolTimeout:
        raise StoreUnavailable(
            f"found every connection to the ledger in use for {_POOL_TIMEOUT_S} s, expected one "
            "to become free: read with fewer threads at once"
        ) from None
    with connection:
        yield connection


def _sqlite_engine(
    url: URL, read_only: bool, durability: Durability, busy_timeout_s: float
) -> Engine:
    arguments: dict[str, Any] = {"check_same_thread": False, "timeout": busy_timeout_s}
    options: dict[str, Any] = {}
    if _in_memory(url):
        options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
    elif read_only:
        path = quote(url.database or "")
        url = url.set(database=f"file:{path}").update_query_dict({"mode": "ro", "uri": "true"})
    engine = create_engine(
        url,
        module=sqlite_module(),
        connect_args=arguments,
        pool_timeout=_POOL_TIMEOUT_S,
        **options,
    )
    writable = not (read_only or _in_memory(url))

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # The driver's own transactions begin too late: a read would not see one state.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={int(busy_timeout_s * 1000)}")
        if writable:
            _switch_to_wal(connection, busy_timeout_s)
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-16000")
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'full' else 'NORMAL'}")
        if durability == "full":
            connection.execute("PRAGMA fullfsync=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES):
            _take_write_lock(connection, busy_timeout_s)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _take_write_lock(connection: Connection, timeout_s: float) -> None:
    with on_cursor(connection) as cursor:
        cursor.execute("PRAGMA busy_timeout=0")
        try:
            begin_writing(cursor, connection.dialect, timeout_s)
        finally:
            cursor.execute(f"PRAGMA busy_timeout={int(timeout_s * 1000)}")


def begin_writing(cursor: DBAPICursor, dialect: Dialect, timeout_s: float) -> None:
    """Begin a write transaction on an SQLite connection whose busy timeout is zero.

    SQLite's own waiting sleeps up to a tenth of a second between two looks, and starves beside a
    process that writes all the time.
    """
    deadline_s = None
    while True:
        try:
            cursor.execute("BEGIN IMMEDIATE")
            return
        except dialect.loaded_dbapi.OperationalError as error:
            now_s = time.monotonic()
            deadline_s = deadline_s or now_s + timeout_s
            if "locked" not in str(error) or now_s > deadline_s:
                raise
        time.sleep(_LOOK_AGAIN_S)


def sqlite_module() -> ModuleType:
    """Return the SQLite driver: pysqlite3 where it is installed, else the standard library's."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return sqlite3


def _switch_to_wal(connection: Any, timeout_s: float) -> None:
    """Put the file into WAL mode.

    The switch does not wait for the busy timeout where two processes make the same new file.
    """
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite_module().OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"


def _postgres_engine(
    url: URL, read_only: bool, durability: Durability, lock_timeout_s: float
) -> Engine:
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        # A server that vanished without a word is noticed in bounded time.
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
        "application_name": "meter",
    }
    try:
        engine = create_engine(
            url,
            connect_args={k: v for k, v in arguments.items() if k not in url.query},
            isolation_level="READ COMMITTED",
            pool_timeout=_POOL_TIMEOUT_S,
            # After a restart of the server the pool is full of dead connections.
            pool_pre_ping=True,
        )
    except ModuleNotFoundError:
        raise ConfigError(
            "found no psycopg, which PostgreSQL needs: install metergate[postgres]"
        ) from None

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.autocommit = True
        commit = "on" if durability == "full" else "off"
        connection.execute(f"SET synchronous_commit = {commit}")
        connection.execute(f"SET lock_timeout = '{int(lock_timeout_s * 1000)}ms'")
        if read_only:
            connection.execute("SET default_transaction_read_only = on")
        connection.autocommit = False

    return engine


def _leave_connections_behind(engine: Engine) -> None:
    """Make a forked child open connections of its own."""
    leave_behind(engine.pool)
    engine.dispose(close=False)
