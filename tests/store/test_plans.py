"""Questions that are asked often find their rows by an index, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from meter.core.call import Attribution
from meter.store import reads, rollups
from meter.store.keys import Keys
from meter.store.ledger_store import LedgerStore
from meter.store.schema import REST
from meter.store.usage_sums import usage
from tests.store.examples import CARD, HOUR_US, NOVEMBER_US, a_call, an_event

WAIT_S = 20.0
DAY_US = 24 * HOUR_US
SPAN = {"since_us": NOVEMBER_US, "until_us": NOVEMBER_US + 7 * DAY_US}
TWO_DAYS = {"since_us": NOVEMBER_US, "until_us": NOVEMBER_US + 2 * DAY_US}
MONTH = {"since_us": NOVEMBER_US, "until_us": NOVEMBER_US + 30 * DAY_US}


def plans(engine: Engine, ask: Callable[[], Any]) -> list[str]:
    """Return how the database finds the rows of each SELECT that a question makes."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _k: Any, statement: str, parameters: Any, _x: Any, _m: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    native = engine.dialect.name == "postgresql"
    explain = "EXPLAIN " if native else "EXPLAIN QUERY PLAN "
    found = []
    with engine.connect() as connection:
        if native:
            # Small tables are scanned whatever there is to search them by.
            connection.execute(text("SET enable_seqscan = off"))
        for statement, parameters in asked:
            rows = connection.exec_driver_sql(explain + statement, parameters).all()
            found.append("\n".join(str(row[0] if native else row[-1]) for row in rows))
        connection.rollback()
    return found


@pytest.fixture
def filled(engine: Engine, store: LedgerStore) -> Engine:
    for number in range(1, 60):
        whose = Attribution("alice" if number == 7 else f"user-{number % 20}")
        call = a_call(number, started_us=NOVEMBER_US + number * HOUR_US, attribution=whose)
        store.settle(an_event(call), CARD).result(WAIT_S)
    rollups.fold(engine)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    return engine


@pytest.mark.parametrize(
    ("ask", "table", "sqlite_index", "postgres_index"),
    [
        (lambda e: usage(e, by=["hour", "model"], **SPAN), "usage_hours", "PRIMARY KEY",
         "pk_usage_hours"),
        (lambda e: usage(e, by=["day", "model"], **SPAN), "usage_days", "PRIMARY KEY",
         "pk_usage_days"),
        (lambda e: usage(e, by=["subject"], **MONTH), "usage_subject_months", "PRIMARY KEY",
         "pk_usage_subject_months"),
        (lambda e: usage(e, by=["subject"], **TWO_DAYS), "usage_subject_plain_days", "PRIMARY KEY",
         "pk_usage_subject_plain_days"),
        (lambda e: usage(e, by=["subject", "model"], **TWO_DAYS), "usage_subject_days",
         "PRIMARY KEY", "pk_usage_subject_days"),
        # By the start of the month and the subject, both of them.
        (lambda e: usage(e, by=["model"], **MONTH, filters={"subject": "alice"}),
         "usage_subject_model_months", "PRIMARY KEY (started_us=? AND subject=?)",
         "pk_usage_subject_model_months"),
        (lambda e: usage(e, by=["key"], **SPAN), "usage_key_days", "PRIMARY KEY",
         "pk_usage_key_days"),
        (lambda e: usage(e, by=["tag:team"], **SPAN), "usage_tag_days", "PRIMARY KEY",
         "pk_usage_tag_days"),
        # Of so few rows PostgreSQL finds either index of times as good.
        (lambda e: usage(e, by=["outcome"], **SPAN), "usage_events",
         "ix_usage_events_started_us", "started_us"),
        (lambda e: list(reads.calls(e, limit=10, **SPAN)), "usage_events",
         "ix_usage_events_started_us", f"{REST}_started_us_idx"),
        (lambda e: list(reads.calls(e, limit=10, subject="alice", **SPAN)), "usage_events",
         "ix_usage_events_subject", f"{REST}_subject_started_us_idx"),
        (lambda e: list(reads.calls(e, id=str(a_call(7).id))), "usage_events", "PRIMARY KEY",
         f"{REST}_pkey"),
        (lambda e: Keys(e).find("mk-unknown"), "keys", "sqlite_autoindex_keys", "uq_keys_hash"),
    ],
    ids=["hours", "days", "months of subjects", "days of subjects", "subjects and models",
         "a subject's models", "keys",
         "tags", "calls summed", "calls listed", "calls of a subject", "one call", "a key"],
)  # fmt: skip
def test_rows_are_found_by_an_index(
    filled: Engine, ask: Any, table: str, sqlite_index: str, postgres_index: str
) -> None:
    native = filled.dialect.name == "postgresql"
    told = [plan for plan in plans(filled, lambda: ask(filled)) if table in plan]
    assert told
    for plan in told:
        if native:
            assert postgres_index in plan and f"Seq Scan on {table}" not in plan, plan
        else:
            assert f"SEARCH {table} USING" in plan and sqlite_index in plan, plan
