"""Migrations: they make exactly the schema, by themselves only where nobody can be surprised."""

import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, func, inspect, select, text

from meter.core.call import Attribution
from meter.errors import SchemaMismatch
from meter.resources import alembic_ini, migrations_folder
from meter.store import rollups
from meter.store.checking import check
from meter.store.engine import open_engine, write_connection
from meter.store.ledger_store import LedgerStore
from meter.store.migrating import current_revision, head_revision, require_current, upgrade
from meter.store.schema import REST, metadata
from meter.store.schema import rollups as rollups_by_name
from tests.store.examples import CARD, NOON_US, a_call, an_event

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60
USERS = [Attribution(name, (("team", "search"),)) for name in ("alice", "bob", "carol")]


def described(engine: Engine) -> dict[str, Any]:
    """Return what the database itself says of its tables."""
    found = inspect(engine)
    return {
        table: {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)
            ],
            "key": found.get_pk_constraint(table),
            "checks": sorted(str(c) for c in found.get_check_constraints(table)),
            "unique": sorted(str(c) for c in found.get_unique_constraints(table)),
            "indexes": sorted(_index(c) for c in found.get_indexes(table)),
        }
        for table in found.get_table_names()
        if table not in ("alembic_version", REST)
    }


def _index(found: Any) -> str:
    """An index with its condition as text: SQLAlchemy's own objects are equal to none other."""
    options = {name: str(value) for name, value in found.get("dialect_options", {}).items()}
    return str({**found, "dialect_options": options})


def test_migrating_from_nothing_makes_the_schema(database_url: str) -> None:
    upgrade(database_url)
    engine = open_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                # The indexes of a partition are those of its parent.
                "include_object": lambda _o, name, kind, _r, _c: (kind, name) != ("table", REST),
            },
        )
        assert compare_metadata(context, metadata) == []
    migrated = described(engine)
    with write_connection(engine) as connection:
        for view in inspect(connection).get_view_names():
            connection.execute(text(f"DROP VIEW {view}"))
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert described(engine) == migrated
    assert set(migrated) == set(metadata.tables)
    engine.dispose()


def test_every_sqlite_table_is_clustered_by_its_key(sqlite_ledger_url: str) -> None:
    engine = open_engine(sqlite_ledger_url)
    with engine.connect() as connection:
        made = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
        ).all()
    engine.dispose()
    assert {name for name, sql in made if "WITHOUT ROWID" not in sql} == {"alembic_version"}


def test_the_head_that_the_code_names_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    assert ScriptDirectory.from_config(config).get_current_head() == head_revision()


def test_a_migration_can_be_undone(database_url: str) -> None:
    upgrade(database_url)
    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with write_connection(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(database_url)
    require_current(engine)
    engine.dispose()


def test_the_sums_that_migrations_make_are_those_of_folding(ledger_url: str) -> None:
    engine = open_engine(ledger_url, durability="process")
    store = LedgerStore(engine)
    for number in range(1, 40):
        started_us = NOON_US + number * 30 * 3_600_000_000
        call = a_call(number, started_us=started_us, attribution=USERS[number % 3])
        store.settle(an_event(call), CARD).result(WAIT_S)
    assert store.close(WAIT_S)
    assert rollups.fold(engine) == 39
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with write_connection(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0011")
    upgrade(ledger_url)
    assert list(check(engine)) == []
    with engine.connect() as connection:
        for table in rollups_by_name.values():
            assert connection.execute(select(func.sum(table.c.calls))).scalar_one() == 39
    engine.dispose()


def test_upgrading_tells_what_it_does_and_again_does_nothing(database_url: str) -> None:
    told: list[str] = []
    upgrade(database_url, told.append)
    numbers = [f"{number:04d}" for number in range(1, int(head_revision()) + 1)]
    assert told == [f"migrated the schema to revision {number}" for number in numbers]
    upgrade(database_url, told.append)
    assert len(told) == len(numbers)


def test_a_fresh_sqlite_file_migrates_itself(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    assert current_revision(engine) is None
    require_current(engine, sqlite_url)
    assert current_revision(engine) == head_revision()
    engine.dispose()


def test_the_connection_that_has_migrated_a_file_is_not_used_again(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    with engine.connect() as connection:
        before = connection.connection.dbapi_connection
    require_current(engine)
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection is not before
        assert current_revision(engine) == head_revision()
    engine.dispose()


@pytest.mark.postgresql
def test_an_empty_postgres_waits_for_the_command(postgres_url: str) -> None:
    engine = open_engine(postgres_url)
    with pytest.raises(SchemaMismatch, match=r"found no schema of meter.*: run meter db upgrade"):
        require_current(engine)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def set_revision(engine: Engine, revision: str) -> None:
    with write_connection(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_an_older_schema_waits_for_the_command(database_url: str) -> None:
    upgrade(database_url)
    engine = open_engine(database_url)
    store = LedgerStore(engine)
    store.settle(an_event(), CARD).result(WAIT_S)
    store.close()
    set_revision(engine, "0000")
    with pytest.raises(SchemaMismatch, match=r"found revision 0000 .*: run meter db upgrade"):
        require_current(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("9999", "found schema revision 9999 .*, expected [0-9]{4} or older: .*upgrade meter"),
        ("1f2e3d4c5b6a", "which is not meter's: another program keeps its tables there"),
    ],
)
def test_a_schema_from_elsewhere_is_not_touched(
    database_url: str, revision: str, sentence: str
) -> None:
    upgrade(database_url)
    engine = open_engine(database_url)
    set_revision(engine, revision)
    with pytest.raises(SchemaMismatch, match=sentence):
        require_current(engine)
    with pytest.raises(SchemaMismatch, match=sentence):
        upgrade(database_url)
    assert current_revision(engine) == revision
    engine.dispose()


def test_a_file_with_tables_of_another_program_is_not_migrated(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    with write_connection(engine) as connection:
        connection.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(SchemaMismatch, match="found no schema of meter"):
        require_current(engine)
    assert inspect(engine).get_table_names() == ["recipes"]
    engine.dispose()


def open_and_settle(url: str, start: Any, ended: Any) -> None:
    """Open a ledger that several processes are making at this moment, and use it."""
    start.wait(WAIT_S)
    engine = open_engine(url)
    require_current(engine, url)
    store = LedgerStore(engine)
    store.settle(an_event(), CARD).result(WAIT_S)
    ended.put(store.close(WAIT_S))


def test_processes_that_open_the_same_fresh_file_all_succeed(sqlite_url: str) -> None:
    spawned = multiprocessing.get_context("spawn")
    start, ended = spawned.Barrier(3), spawned.Queue()
    processes = [
        spawned.Process(target=open_and_settle, args=(sqlite_url, start, ended)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    assert [ended.get(timeout=WAIT_S) for _ in processes] == [True] * 3
    for process in processes:
        process.join(WAIT_S)
        assert process.exitcode == 0


def test_threads_that_open_the_same_fresh_file_all_succeed(sqlite_url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def open_it(_number: int) -> str | None:
        engine = open_engine(sqlite_url)
        require_current(engine)
        found = current_revision(engine)
        engine.dispose()
        return found

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(open_it, range(6))) == [head_revision()] * 6


@pytest.mark.parametrize("arguments", [["upgrade", "head"], ["upgrade", "head", "--sql"]])
def test_alembic_itself_works_for_developers(sqlite_url: str, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "--config", str(alembic_ini()), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "METER_DATABASE_URL": sqlite_url},
    )
    assert done.returncode == 0, done.stderr
    if "--sql" in arguments:
        assert len(re.findall("CREATE TABLE", done.stdout)) == len(metadata.tables) + 1
    else:
        engine = open_engine(sqlite_url)
        assert current_revision(engine) == head_revision()
        engine.dispose()


def test_the_url_of_a_ledger_may_have_a_percent_sign(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/100%25.db"
    upgrade(url)
    engine = open_engine(url)
    assert current_revision(engine) == head_revision()
    engine.dispose()
