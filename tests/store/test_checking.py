"""The check: silent on a sound ledger, and each kind of damage is found and named."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from meter.core.budgets import Measure
from meter.core.event import Correction
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.store import checking, reads
from meter.store.checking import Finding, check
from meter.store.engine import write_connection
from meter.store.ledger_store import LedgerStore
from tests.store.examples import (
    CARD,
    NOON_US,
    NOVEMBER_US,
    a_budget,
    a_call,
    an_event,
    an_unknown_end,
    call_id,
)

WAIT_S = 20
CORRECTION_ID = call_id(900)


@pytest.fixture
def ledger(engine: Engine) -> Iterator[Engine]:
    """A ledger with ended, unknown, open and corrected calls, and two budgets."""
    store = LedgerStore(engine)
    reads.set_budget(engine, a_budget(10**9), now_us=NOON_US)
    reads.set_budget(
        engine, a_budget(99, id="calls", measure=Measure.CALLS, currency=None), now_us=NOON_US
    )
    for number in (1, 2, 3):
        store.reserve(a_call(number), "openai", CARD).result(WAIT_S)
    store.settle(an_event(a_call(1))).result(WAIT_S)
    store.settle(an_unknown_end(a_call(2))).result(WAIT_S)
    usage = Usage(input_tokens=4, output_tokens=7)
    store.correct(
        Correction(
            CORRECTION_ID, call_id(1), 1, NOON_US, usage, an_event().basis,
            rate(usage, CARD, at_us=NOON_US), "counted again", "alice",
        )
    ).result(WAIT_S)  # fmt: skip
    assert store.close(WAIT_S)
    yield engine


def test_a_sound_ledger_has_no_findings(ledger: Engine) -> None:
    assert list(check(ledger)) == []


def test_an_empty_ledger_has_no_findings(engine: Engine) -> None:
    assert list(check(engine)) == []


@pytest.mark.parametrize(
    ("damage", "invariant", "row"),
    [
        (
            "UPDATE balances SET debits = debits + 1 WHERE account = 'spend:alice'",
            "debits equal credits",
            "USD",
        ),
        (
            "UPDATE balances SET debits = debits + 1 WHERE account = 'spend:alice'",
            "balances equal the sums of their entries",
            "spend:alice USD",
        ),
        (
            "DELETE FROM balances WHERE account = 'payable:openai'",
            "balances equal the sums of their entries",
            "payable:openai USD",
        ),
        (
            "UPDATE budget_windows SET held = held + 1 WHERE budget_id = 'all'",
            "held equals the live holds",
            f"all {NOVEMBER_US}",
        ),
        (
            "DELETE FROM holds WHERE budget_id = 'all'",
            "held equals the live holds",
            f"all {NOVEMBER_US}",
        ),
        ("DELETE FROM open_calls", "holds belong to open calls", str(call_id(3))),
        (
            "UPDATE open_calls SET call_id = (SELECT call_id FROM usage_events WHERE basis = 2)",
            "no call is both open and ended",
            str(call_id(2)),
        ),
        (
            "UPDATE usage_events SET cost_nanos = 16001 WHERE basis = 0",
            "charge lines sum to the cost",
            str(call_id(1)),
        ),
        (
            "UPDATE usage_events SET cost_nanos = 5 WHERE basis = 2",
            "costs follow from usage and rate card",
            str(call_id(2)),
        ),
        (
            "UPDATE usage_events SET input_tokens = 5 WHERE basis = 0",
            "costs follow from usage and rate card",
            str(call_id(1)),
        ),
        (
            "UPDATE routes SET service_tier = 'batch' WHERE currency = 'USD'",
            "costs follow from usage and rate card",
            str(call_id(1)),
        ),
        (
            "UPDATE corrections SET output_tokens = 8",
            "costs follow from usage and rate card",
            str(call_id(1)),
        ),
        ("DELETE FROM routes", "routes are stored", str(call_id(1))),
        (
            "UPDATE routes SET issuer = 'somebody' WHERE currency = 'USD'",
            "the entries of a call are its cost",
            str(call_id(1)),
        ),
        ("DELETE FROM rate_cards", "rate cards are stored", str(call_id(1))),
        (
            "UPDATE rate_cards SET content = replace(content, '2000000000', '2000000001')",
            "rate cards are what their ids say",
            CARD.id,
        ),
        ("UPDATE rate_cards SET content = '{'", "records can be read", CARD.id),
        (
            "UPDATE usage_events SET other_units = '{\"nonsense\":1}' WHERE basis = 0",
            "records can be read",
            str(call_id(1)),
        ),
        (
            "UPDATE entries SET amount_nanos = 15999 WHERE amount_nanos = 16000",
            "the entries of a call are its cost",
            str(call_id(1)),
        ),
        (
            "DELETE FROM entries WHERE amount_nanos = 16000",
            "the entries of a call are its cost",
            str(call_id(1)),
        ),
        (
            "UPDATE entries SET debit = credit, credit = debit WHERE amount_nanos = 2000",
            "the entries of a call are its cost",
            str(CORRECTION_ID),
        ),
        (
            "UPDATE entries SET debit = 'spend:bob' WHERE amount_nanos = 16000",
            "the entries of a call are its cost",
            str(call_id(1)),
        ),
        (
            "INSERT INTO entries SELECT operation_id, 7, 1, 5, 'spend:x', 'payable:y', 'USD'"
            " FROM open_calls",
            "the entries of a call are its cost",
            str(call_id(3)),
        ),
        (
            "DELETE FROM usage_events WHERE basis = 0",
            "corrections belong to ended calls",
            str(CORRECTION_ID),
        ),
        (
            "UPDATE budget_windows SET spent = spent - 1 WHERE budget_id = 'calls'",
            "spent is what the calls took",
            f"calls {NOVEMBER_US}",
        ),
        (
            "DELETE FROM budget_windows WHERE budget_id = 'calls'",
            "spent is what the calls took",
            f"calls {NOVEMBER_US}",
        ),
    ],
)
def test_damage_is_found(ledger: Engine, damage: str, invariant: str, row: str) -> None:
    with write_connection(ledger) as connection:
        connection.execute(text(damage.replace(":", r"\:")))
    found = {(finding.invariant, finding.row) for finding in check(ledger)}
    assert (invariant, row) in found


def test_a_negative_hold_is_found(sqlite_ledger_url: str) -> None:
    from meter.store.engine import open_engine

    engine = open_engine(sqlite_ledger_url)
    with write_connection(engine) as connection:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.execute(text("INSERT INTO budget_windows VALUES ('b', 0, 0, -1)"))
    assert Finding("held is never negative", "b 0", "held is -1") in list(check(engine))
    engine.dispose()


def test_at_most_five_rows_are_named_for_each_invariant(engine: Engine, store: LedgerStore) -> None:
    for number in range(1, 9):
        store.settle(an_event(a_call(number)), CARD).result(WAIT_S)
    with write_connection(engine) as connection:
        connection.execute(text("UPDATE usage_events SET input_tokens = 5"))
    named = [f for f in check(engine) if f.invariant == "costs follow from usage and rate card"]
    assert [finding.row for finding in named] == [str(call_id(number)) for number in range(1, 6)]


def test_progress_is_told(
    engine: Engine, store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_PROGRESS_EVERY", 2)
    for number in range(1, 6):
        store.settle(an_event(a_call(number)), CARD).result(WAIT_S)
    told: list[int] = []
    assert list(check(engine, told.append)) == []
    assert told == [2, 4]


def test_a_route_that_was_changed_is_found(ledger: Engine) -> None:
    with write_connection(ledger) as connection:
        connection.execute(text("UPDATE routes SET upstream = 'other'"))
    assert any(f.invariant == "routes are what their ids say" for f in check(ledger))
