"""Migrated, empty ledgers on both databases, quick to make."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from meter.store.engine import open_engine, sqlite_module
from meter.store.ledger_store import LedgerStore
from meter.store.migrating import require_current, upgrade
from meter.store.schema import metadata
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy; nobody opens it."""
    path = tmp_path_factory.mktemp("template") / "meter.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a migrated PostgreSQL database, emptied for each test that uses it."""
    with postgres_server.fresh_database() as name:
        upgrade(postgres_server.url(name))
        yield name


@pytest.fixture
def sqlite_ledger_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """The address of an empty, migrated SQLite ledger that the test may destroy."""
    path = tmp_path / "ledger.db"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def shared_sqlite_url(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a migrated SQLite ledger, emptied for each test that uses it."""
    path = tmp_path_factory.mktemp("shared") / "ledger.db"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture
def emptied_sqlite_url(shared_sqlite_url: str) -> str:
    """The address of an empty, migrated SQLite ledger."""
    path = shared_sqlite_url.removeprefix("sqlite:///")
    connection = sqlite_module().connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    for name in metadata.tables:
        connection.execute(f"DELETE FROM {name}")
    connection.execute("COMMIT")
    connection.close()
    return shared_sqlite_url


@pytest.fixture
def postgres_ledger_url(postgres_server: PostgresServer, migrated_postgres: str) -> str:
    """The address of an empty, migrated PostgreSQL ledger."""
    with postgres_server.connect(migrated_postgres) as connection:
        # Whoever a test before this one left connected would keep the tables locked.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute(";".join(f"DELETE FROM {name}" for name in metadata.tables))
    return postgres_server.url(migrated_postgres)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty, migrated ledger: the test runs once for each engine."""
    wanted = "emptied_sqlite_url" if request.param == "sqlite" else "postgres_ledger_url"
    url: str = request.getfixturevalue(wanted)
    return url


@pytest.fixture(scope="session")
def engines() -> dict[str, Engine]:
    """The engines that tests have shared so far, by address: compiling statements takes time."""
    return {}


@pytest.fixture
def engine(ledger_url: str, engines: dict[str, Engine]) -> Iterator[Engine]:
    """An engine on an empty ledger, without connections."""
    if ledger_url not in engines:
        engines[ledger_url] = open_engine(ledger_url, durability="process")
    yield engines[ledger_url]
    engines[ledger_url].dispose()


@pytest.fixture
def store(engine: Engine) -> Iterator[LedgerStore]:
    """A store on an empty ledger."""
    store = LedgerStore(engine)
    yield store
    assert store.close(10)


@pytest.fixture
def memory_engine() -> Iterator[Engine]:
    """An engine on an empty ledger in memory."""
    engine = open_engine("sqlite://")
    require_current(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def game_ledger(request: pytest.FixtureRequest) -> Iterator[tuple[str, Callable[[], Engine]]]:
    """The name of an engine, and what empties the ledger of all games and gives its engine.

    All games share one engine: compiling statements takes time.
    """
    if request.param == "sqlite":
        migrated, engine = open_engine("sqlite://"), open_engine("sqlite://")
        require_current(migrated)
        template = migrated.raw_connection()

        def emptied() -> Engine:
            with engine.connect() as connection:
                driver = connection.connection.driver_connection
                template.driver_connection.backup(driver)  # type: ignore[union-attr]
            return engine

        yield "sqlite", emptied
        template.close()
        migrated.dispose()
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name: str = request.getfixturevalue("migrated_postgres")
        request.getfixturevalue("postgres_ledger_url")
        engine = open_engine(server.url(name), durability="process")
        with server.connect(name) as beside:

            def emptied() -> Engine:
                beside.execute(";".join(f"DELETE FROM {each}" for each in metadata.tables))
                return engine

            yield "postgresql", emptied
    engine.dispose()
