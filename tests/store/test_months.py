"""Months have tables of their own on PostgreSQL, made while calls come in."""

import threading
from dataclasses import replace
from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from meter.resources import migrations_folder
from meter.store.checking import check
from meter.store.engine import open_engine, write_connection
from meter.store.ledger_store import LedgerStore
from meter.store.migrating import upgrade
from meter.store.months import Month, Months
from meter.store.schema import REST
from meter.store.usage_sums import usage
from tests.store.examples import CARD, NOVEMBER_US, a_call, an_event

pytestmark = pytest.mark.postgresql
WAIT_S = 20.0
DAY_US = 24 * 3_600_000_000


def settle(store: LedgerStore, started_us: int, number: int = 0) -> UUID:
    identity = UUID(int=started_us // 1000 << 80 | 7 << 76 | 2 << 62 | number)
    call = a_call(id=identity, operation_id=identity, started_us=started_us)
    store.settle(an_event(call), CARD).result(WAIT_S)
    return identity


def tables(engine: Engine) -> dict[str, int]:
    """How many events each partition has."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT tableoid::regclass::text, count(*) FROM usage_events GROUP BY 1")
        )
        return {name: count for name, count in rows}


@pytest.fixture
def engine(postgres_url: str) -> Engine:
    upgrade(postgres_url)
    made = open_engine(postgres_url, durability="process")
    yield made
    made.dispose()


def test_months_are_made_ahead_and_calls_go_into_them(engine: Engine) -> None:
    months, store = Months(engine), LedgerStore(engine)
    november, december = Month.of(NOVEMBER_US), Month.of(NOVEMBER_US + 40 * DAY_US)
    assert (november.name, december.table) == ("2026-11", "usage_events_2026_12")
    settle(store, NOVEMBER_US - 1_000_000)
    made = [(month.name, has_table) for month, has_table in months.make_ahead(NOVEMBER_US, 2)]
    assert made == [("2026-11", True), ("2026-12", True), ("2027-01", True)]
    assert months.make_ahead(NOVEMBER_US, 2) == []
    for started_us in (NOVEMBER_US, december.start_us - 1_000, december.start_us):
        settle(store, started_us)
    strange = replace(a_call(), id=UUID(int=2**128 - 1), operation_id=UUID(int=2**128 - 1))
    store.settle(an_event(strange), CARD).result(WAIT_S)
    store.close()
    assert tables(engine) == {
        REST: 2, "usage_events_2026_11": 2, "usage_events_2026_12": 1,
    }  # fmt: skip
    assert not list(check(engine))


def test_a_month_with_calls_in_the_rest_stays_there(engine: Engine) -> None:
    store = LedgerStore(engine)
    settle(store, NOVEMBER_US + DAY_US)
    store.close()
    made = [(m.name, has_table) for m, has_table in Months(engine).make_ahead(NOVEMBER_US, 1)]
    assert made == [("2026-11", False), ("2026-12", True)]
    assert tables(engine) == {REST: 1}


def test_no_row_of_the_rest_is_read_under_the_lock(engine: Engine) -> None:
    """The server says why it need not look: a validated constraint implies it."""
    told: list[str] = []
    real = Months._change

    def noting(self, *statements, after=None):  # type: ignore[no-untyped-def]
        for statement in statements:
            with engine.begin() as connection:
                driver = connection.connection.driver_connection
                connection.exec_driver_sql("SET LOCAL client_min_messages = debug1")
                driver.add_notice_handler(lambda d: told.append(d.message_primary))
                connection.exec_driver_sql(statement)

    Months._change = noting  # type: ignore[method-assign]
    try:
        assert Months(engine)._make(Month.of(NOVEMBER_US))
    finally:
        Months._change = real  # type: ignore[method-assign]
    implied = "updated partition constraint for default partition"
    assert [m for m in told if implied in m and "is implied by existing constraints" in m], told


def test_calls_come_in_while_months_are_made(engine: Engine) -> None:
    months, store = Months(engine), LedgerStore(engine)
    settled: list[UUID] = []
    over = threading.Event()

    def go_on() -> None:
        number = 0
        while not over.is_set():
            settled.append(settle(store, NOVEMBER_US + number * 60_000_000, number))
            number += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        for ahead in range(1, 7):
            months.make_ahead(NOVEMBER_US + 40 * DAY_US, ahead)
    finally:
        over.set()
        thread.join(60)
    store.close()
    assert sum(tables(engine).values()) == len(settled) > 0
    assert not list(check(engine))


def test_a_ledger_from_before_becomes_the_rest_as_it_is(postgres_url: str) -> None:
    upgrade(postgres_url)
    engine = open_engine(postgres_url, durability="process")
    store = LedgerStore(engine)
    for number in range(50):
        settle(store, NOVEMBER_US + number * DAY_US // 4, number)
    store.close()
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    from meter.store.rollups import fold

    fold(engine)
    before = usage(engine, by=["day"]), usage(engine, by=["subject"]), usage(engine, by=["outcome"])
    with write_connection(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0011")
    with engine.connect() as connection:
        kind, place = connection.execute(
            text("SELECT relkind, relfilenode FROM pg_class WHERE relname = 'usage_events'")
        ).one()
    assert kind == "r"
    upgrade(postgres_url)
    with engine.connect() as connection:
        there = connection.execute(
            text("SELECT relfilenode FROM pg_class WHERE relname = :name"), {"name": REST}
        ).scalar_one()
    # The same file: nothing was copied.
    assert there == place
    after = usage(engine, by=["day"]), usage(engine, by=["subject"]), usage(engine, by=["outcome"])
    assert after == before
    assert tables(engine) == {REST: 50}
    assert not list(check(engine))
    engine.dispose()
