"""Bring a ledger's schema to the revision that this release is written for.

A fresh SQLite file migrates itself. Everything else waits for `meter db upgrade`, because a
schema that many processes share is changed by a person, once. Called by the façade and the CLI.
"""

import threading
from collections.abc import Callable

from sqlalchemy import Connection, Engine, inspect, text

from meter.errors import SchemaMismatch
from meter.resources import migrations_folder
from meter.store.engine import is_memory, open_engine, read_connection, write_connection
from meter.store.schema import HEAD_REVISION

_VERSION_TABLE = "alembic_version"
_UPGRADE_LOCK = 7_640_911_025
"""The advisory lock under which PostgreSQL lets one migration run at a time; any number."""

_ONE_AT_A_TIME = threading.Lock()
"""Alembic keeps its context in a global: one migration in a process at a time."""


def head_revision() -> str:
    """Return the revision that this release's code is written for."""
    return HEAD_REVISION


def current_revision(engine: Engine) -> str | None:
    """Return the revision of the database's schema, None when it has none.

    Raises: StoreUnavailable.
    """
    with read_connection(engine) as connection:
        return _revision(connection)


def upgrade(url: str, progress: Callable[[str], None] | None = None) -> None:
    """Migrate the database at `url` to this release's schema; done already is fine.

    `progress` gets a sentence for each migration. Raises: StoreUnavailable, ConfigError,
    SchemaMismatch when the schema is newer than this release.
    """
    engine = open_engine(url)
    try:
        with write_connection(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            _refuse_newer(_revision(connection), engine)
            _migrate(connection, progress)
    finally:
        engine.dispose()


def require_current(engine: Engine, url: str | None = None) -> None:
    """Make sure that the schema is this release's; migrate a fresh SQLite database.

    `url` is not needed: the engine knows its address. Raises: SchemaMismatch with the command
    that helps, StoreUnavailable.
    """
    found = current_revision(engine)
    if found == HEAD_REVISION:
        return
    if engine.dialect.name == "sqlite" and found is None:
        # Another process may be making the same file: look again under the write lock.
        with write_connection(engine) as connection:
            found = _revision(connection)
            if found is None and not _tables(connection):
                _migrate(connection, None)
                found = HEAD_REVISION
        if not is_memory(engine):
            # A connection that has made tables and views parses each statement anew.
            engine.dispose()
    if found == HEAD_REVISION:
        return
    _refuse_newer(found, engine)
    place = engine.url.render_as_string(hide_password=True)
    stated = f"revision {found}" if found else "no schema of meter"
    raise SchemaMismatch(
        f"found {stated} in {place}, expected revision {HEAD_REVISION}: run meter db upgrade"
    )


def _refuse_newer(found: str | None, engine: Engine) -> None:
    place = engine.url.render_as_string(hide_password=True)
    if found is not None and not found.isdigit():
        raise SchemaMismatch(
            f"found schema revision {found!r} in {place}, which is not meter's: another program "
            "keeps its tables there, give meter a database of its own"
        )
    if found is not None and int(found) > int(HEAD_REVISION):
        raise SchemaMismatch(
            f"found schema revision {found} in {place}, expected {HEAD_REVISION} or older: "
            "a newer release has migrated this ledger, upgrade meter"
        )


def _revision(connection: Connection) -> str | None:
    if _VERSION_TABLE not in _tables(connection):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _tables(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


def _migrate(connection: Connection, progress: Callable[[str], None] | None) -> None:
    # Alembic is large, and a process with a current schema never needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["progress"] = progress
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head")
