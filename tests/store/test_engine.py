"""Opening a database, and what is said when it cannot be used."""

import os
import socket
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, event, text

from meter.errors import ConfigError, SchemaMismatch, StoreUnavailable
from meter.store import reads
from meter.store.engine import (
    open_engine,
    parse_url,
    read_connection,
    sqlite_module,
    write_connection,
)
from meter.store.ledger_store import LedgerStore
from tests.postgres import PostgresServer
from tests.store.examples import CARD, a_call, an_event

WAIT_S = 20


def pragma(engine: Engine, name: str) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_sqlite_is_durable_unless_told_otherwise(sqlite_url: str) -> None:
    full, process = open_engine(sqlite_url), open_engine(sqlite_url, durability="process")
    assert (pragma(full, "journal_mode"), pragma(full, "synchronous")) == ("wal", 2)
    assert (pragma(process, "journal_mode"), pragma(process, "synchronous")) == ("wal", 1)
    assert (pragma(full, "foreign_keys"), pragma(full, "busy_timeout")) == (1, 5000)
    full.dispose()
    process.dispose()


@pytest.mark.postgresql
@pytest.mark.parametrize(("durability", "expected"), [("full", "on"), ("process", "off")])
def test_postgres_is_durable_unless_told_otherwise(
    postgres_url: str, durability: Any, expected: str
) -> None:
    engine = open_engine(postgres_url, durability=durability)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == expected
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "5s"
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    engine.dispose()


def test_the_driver_with_the_wal_fix_is_used_where_it_is_installed(sqlite_url: str) -> None:
    pysqlite3 = pytest.importorskip("pysqlite3.dbapi2", reason="has no wheel for this platform")
    engine = open_engine(sqlite_url)
    assert engine.dialect.loaded_dbapi is pysqlite3
    engine.dispose()


def test_the_standard_library_serves_without_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pysqlite3.dbapi2", None)
    engine = open_engine(sqlite_url)
    assert engine.dialect.loaded_dbapi is sqlite3
    reads_and_writes(engine)
    engine.dispose()


def reads_and_writes(engine: Engine) -> None:
    from meter.store.migrating import require_current

    require_current(engine)
    store = LedgerStore(engine)
    store.settle(an_event(), CARD).result(WAIT_S)
    assert len(list(reads.calls(engine))) == 1
    assert store.close(WAIT_S)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_serves_all_threads(url: str) -> None:
    engine = open_engine(url)
    reads_and_writes(engine)
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg://u@h/d"]
)
def test_every_spelling_of_postgres_means_psycopg(url: str) -> None:
    assert parse_url(url).drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://u@h/d", "kind 'mysql', expected sqlite or postgresql"),
        ("postgresql+asyncpg://u@h/d", "kind 'postgresql\\+asyncpg'"),
        ("sqlite+aiosqlite:///x.db", "kind 'sqlite\\+aiosqlite'"),
        ("meter.db", "cannot be read, expected one such as sqlite:///meter.db"),
        ("", "cannot be read"),
        ("postgresql://u@h:port/d", "cannot be read"),
    ],
)
def test_other_databases_are_refused(url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        open_engine(url)


def test_a_wrong_durability_is_refused() -> None:
    with pytest.raises(ConfigError, match="found durability 'none', expected 'full'"):
        open_engine("sqlite://", durability="none")  # type: ignore[arg-type]


def test_postgres_without_psycopg_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"install metergate\[postgres\]"):
        open_engine("postgresql://u@h/d")


def failure(url: str, **options: Any) -> str:
    """Return what is said when this ledger is written to, or read."""
    engine = open_engine(url, **options)
    try:
        with (
            pytest.raises((StoreUnavailable, SchemaMismatch)) as caught,
            write_connection(engine) as connection,
        ):
            connection.execute(text("CREATE TABLE made (n INTEGER)"))
            connection.execute(text("INSERT INTO made VALUES (1)"))
    finally:
        engine.dispose()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    sentence = failure(f"sqlite:///{tmp_path}/nowhere/meter.db")
    assert "nowhere/meter.db cannot be opened, expected an existing folder" in sentence


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "meter.db"
    path.write_text("This is not a database, it is a letter." * 50)
    assert "is not an SQLite database" in failure(f"sqlite:///{path}")


def test_a_damaged_file_is_said(sqlite_ledger_url: str) -> None:
    path = Path(sqlite_ledger_url.removeprefix("sqlite:///"))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    engine = open_engine(sqlite_ledger_url)
    with pytest.raises(StoreUnavailable, match="is damaged: keep a copy"):
        list(reads.calls(engine))
    engine.dispose()


def test_a_read_only_ledger_is_said(sqlite_ledger_url: str) -> None:
    assert "is read-only" in failure(sqlite_ledger_url, read_only=True)


def test_a_read_only_engine_reads(ledger_url: str) -> None:
    engine = open_engine(ledger_url, read_only=True)
    assert list(reads.calls(engine)) == []
    engine.dispose()


def test_a_read_only_engine_reads_a_file_of_any_name(migrated_sqlite: Path, tmp_path: Path) -> None:
    path = tmp_path / "100% odd?#name.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    engine = open_engine(str(URL.create("sqlite", database=str(path))), read_only=True)
    assert list(reads.calls(engine)) == []
    engine.dispose()
    assert [file.name for file in tmp_path.glob("*.db")] == [path.name]


@pytest.mark.postgresql
def test_a_read_only_postgres_is_said(postgres_url: str) -> None:
    assert "is read-only (a standby?)" in failure(postgres_url, read_only=True)


def test_a_full_disk_is_said_and_nothing_is_half_written(sqlite_ledger_url: str) -> None:
    engine = open_engine(sqlite_ledger_url)
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    store = LedgerStore(engine)

    def limit(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + 2}")

    event.listen(engine, "checkout", limit)
    futures = [store.settle(an_event(a_call(number)), CARD) for number in range(1, 200)]
    failed = [future for future in futures if future.exception(WAIT_S) is not None]
    assert failed
    for future in failed:
        with pytest.raises(StoreUnavailable, match="has no room left on its disk"):
            future.result()
    event.remove(engine, "checkout", limit)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    written = len(list(reads.calls(engine)))
    assert written == len(futures) - len(failed)
    store.close()
    engine.dispose()


def test_a_locked_file_is_said_within_the_timeout(sqlite_ledger_url: str) -> None:
    path = sqlite_ledger_url.removeprefix("sqlite:///")
    # The same library: locks that another one holds in this process would not be seen.
    other = sqlite_module().connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    engine = open_engine(sqlite_ledger_url, busy_timeout_s=0.2)
    store = LedgerStore(engine)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="is locked by another process"):
        store.settle(an_event(), CARD).result(WAIT_S)
    assert 0.15 < time.monotonic() - began < 5
    other.execute("ROLLBACK")
    other.close()
    store.settle(an_event(), CARD).result(WAIT_S)
    assert store.close(WAIT_S)
    engine.dispose()


@pytest.mark.postgresql
def test_a_locked_table_is_said_within_the_timeout(postgres_ledger_url: str) -> None:
    holder = open_engine(postgres_ledger_url)
    engine = open_engine(postgres_ledger_url, busy_timeout_s=0.2)
    store = LedgerStore(engine)
    with holder.connect() as other:
        other.execute(text("LOCK TABLE budgets IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StoreUnavailable, match="is locked by another transaction"):
            store.settle(an_event(), CARD).result(WAIT_S)
        other.rollback()
    store.settle(an_event(), CARD).result(WAIT_S)
    assert store.close(WAIT_S)
    engine.dispose()
    holder.dispose()


@pytest.mark.postgresql
def test_a_server_that_is_not_there_is_said_without_the_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    sentence = failure(f"postgresql://someone:secret@127.0.0.1:{port}/meter")
    assert "cannot be reached" in sentence
    assert "secret" not in sentence


@pytest.mark.postgresql
def test_a_database_that_is_not_there_is_said(postgres_server: PostgresServer) -> None:
    sentence = failure(postgres_server.url("nothing_of_the_kind"))
    assert "has no database of that name: create it" in sentence


@pytest.mark.postgresql
def test_a_user_that_is_not_known_is_said(postgres_server: PostgresServer) -> None:
    url = postgres_server.url("postgres").replace("postgres@", "nobody_of_that_name@")
    assert "refuses this user" in failure(url)


def test_tables_that_are_not_there_are_said(database_url: str) -> None:
    engine = open_engine(database_url)
    with pytest.raises(SchemaMismatch, match="run meter db upgrade"):
        list(reads.calls(engine))
    store = LedgerStore(engine)
    with pytest.raises(SchemaMismatch, match="run meter db upgrade"):
        store.settle(an_event(), CARD).result(WAIT_S)
    store.close()
    engine.dispose()


@pytest.mark.postgresql
def test_readers_notice_connections_that_were_ended(
    postgres_ledger_url: str, postgres_server: PostgresServer
) -> None:
    engine = open_engine(postgres_ledger_url)
    assert list(reads.calls(engine)) == []
    end_connections(engine, postgres_server)
    assert list(reads.calls(engine)) == []
    engine.dispose()


def end_connections(engine: Engine, server: PostgresServer) -> None:
    with server.connect() as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [engine.url.database],
        ).fetchall()
    assert ended


@pytest.mark.postgresql
def test_a_connection_that_was_ended_is_made_anew(
    postgres_ledger_url: str, postgres_server: PostgresServer
) -> None:
    engine = open_engine(postgres_ledger_url)
    store = LedgerStore(engine)
    store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
    assert list(reads.calls(engine, limit=1))
    end_connections(engine, postgres_server)
    store.settle(an_event(a_call(2))).result(WAIT_S)
    assert len(list(reads.calls(engine))) == 2
    assert store.close(WAIT_S)
    engine.dispose()


def test_readers_do_not_wait_for_a_writer(ledger_url: str) -> None:
    engine = open_engine(ledger_url)
    with write_connection(engine) as writer:
        writer.execute(text("INSERT INTO balances VALUES ('a', 'USD', 1, 1)"))
        with read_connection(engine) as reader:
            assert reader.execute(text("SELECT count(*) FROM balances")).scalar() == 0
    engine.dispose()


def test_a_read_sees_one_state(ledger_url: str) -> None:
    engine = open_engine(ledger_url)
    count = text("SELECT count(*) FROM balances")
    with read_connection(engine) as reader:
        assert reader.execute(count).scalar() == 0
        with write_connection(engine) as writer:
            writer.execute(text("INSERT INTO balances VALUES ('a', 'USD', 1, 1)"))
        assert reader.execute(count).scalar() == 0
    engine.dispose()


def test_two_writers_take_turns(ledger_url: str) -> None:
    """Read, then write what was read plus one: on SQLite nothing may come between."""
    engine = open_engine(ledger_url)
    with write_connection(engine) as connection:
        connection.execute(text("INSERT INTO balances VALUES ('a', 'USD', 0, 0)"))

    def add_ten() -> None:
        for _ in range(10):
            with write_connection(engine) as connection:
                lock = "" if engine.dialect.name == "sqlite" else " FOR UPDATE"
                found = connection.execute(text(f"SELECT debits FROM balances{lock}")).scalar_one()
                connection.execute(text(f"UPDATE balances SET debits = {found + 1}"))

    threads = [threading.Thread(target=add_ten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    with read_connection(engine) as connection:
        assert connection.execute(text("SELECT debits FROM balances")).scalar() == 40
    engine.dispose()


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_does_not_end_its_parents_connections(ledger_url: str) -> None:
    engine = open_engine(ledger_url)
    with read_connection(engine) as connection:
        connection.execute(text("SELECT 1"))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with read_connection(engine) as connection:
                status = 0 if connection.execute(text("SELECT 7")).scalar() == 7 else 2
            engine.dispose()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    with read_connection(engine) as connection:
        assert connection.execute(text("SELECT 8")).scalar() == 8
    engine.dispose()
