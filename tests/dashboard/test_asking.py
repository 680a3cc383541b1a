"""What the pages are told: narrowed to who asks, whatever is asked."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import ModuleType
from typing import Any

import pytest

from meter.meter import Meter
from tests.dashboard.conftest import Opened, spend

NOW = datetime.now(UTC)


@pytest.fixture
def data(ledger_file: str, opened: Opened) -> ModuleType:
    """The module that asks, on a ledger of calls by alice and bob."""
    spend(ledger_file, "alice", 1_000_000, team="search")
    spend(ledger_file, "bob", 3_000)
    with Meter(ledger_file) as meter:
        meter.set_budget("of-alice", limit="5", subject="alice")
        meter.set_budget("of-bob", limit="5", subject="bob")
        meter.set_budget("of-all", limit="9")
        key = meter.keys.create("bob").key
        meter.set_budget("of-bobs-key", limit="2", key=key.id)
        meter.keys.create("alice")
        meter.credits.grant("alice", "7")
    __import__("data")
    return sys.modules["data"]


def question(data: ModuleType, **changes: Any) -> Any:
    since, until = NOW - timedelta(days=2), NOW + timedelta(days=1)
    before = (since - timedelta(days=3), since)
    return replace(data.Question(since, until, before, "UTC", currency="USD"), **changes)


ASK: dict[str, Callable[[ModuleType, Any, Any], Any]] = {
    "calls": lambda data, who, what: {call.subject for call in data.calls(who, what)},
    "breakdown": lambda data, who, what: {r["name"] for r in data.breakdown(who, what, "subject")},
    "trends": lambda data, who, what: set(data.trends(who, what, "subject")),
    "steps": lambda data, who, what: {step.name for step in data.steps(who, what, "subject")[0]},
    "moves": lambda data, who, what: {move["name"] for move in data.moves(who, what, "subject")},
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
def test_a_customer_is_told_of_itself_alone(data: ModuleType, ask: Any) -> None:
    everything = data.Viewer(sees_everything=True)
    bob = data.Viewer(subject="bob")
    assert ask(data, everything, question(data)) == {"alice", "bob"}
    for asked in (question(data), question(data, subject="alice"), question(data, book="cost")):
        assert ask(data, bob, asked) == {"bob"}


def test_sums_of_a_customer_are_its_own(data: ModuleType) -> None:
    bob = data.Viewer(subject="bob")
    found = data.figures(bob, question(data, subject="alice"))
    # 3,000 × 2.50 USD / 10⁶
    assert (str(found.cost.normalize()), found.totals.calls) == ("0.0075", 1)
    assert data.running(bob, question(data)).sums[-1] == found.cost
    assert sum(data.by_day(bob, question(data), 90).values()) == 0
    assert data.models(bob, question(data)) == ["gpt-4o"]
    assert (data.subjects(bob), data.tags(bob)) == ([], [])


def test_budgets_keys_and_credit_of_a_customer_are_its_own(data: ModuleType) -> None:
    bob = data.Viewer(subject="bob")
    assert {view.name for view in data.budgets(bob, subject="alice")} == {"of-bob", "of-bobs-key"}
    assert len(data.keys(bob, "alice")) == 1
    assert data.credits(bob, subject="alice") == []
    everything = data.Viewer(sees_everything=True)
    assert len(data.budgets(everything)) == 4
    assert [view.subject for view in data.credits(everything)] == ["alice"]


def test_another_customers_call_is_not_there(data: ModuleType) -> None:
    everything, bob = data.Viewer(sees_everything=True), data.Viewer(subject="bob")
    (of_alice,) = data.calls(everything, question(data, subject="alice"))
    assert data.call(everything, str(of_alice.id)) == of_alice
    assert data.call(bob, str(of_alice.id)) is None


def test_what_shows_our_cost_is_refused_to_a_customer(data: ModuleType) -> None:
    bob, wanted = data.Viewer(subject="bob"), data.Export("usage", "csv", ("day",))
    for refused in (
        lambda: data.export_bytes(bob, question(data), wanted),
        lambda: data.export_preview(bob, question(data), wanted, 5),
        lambda: data.invoice_draft(bob, "bob", "2026-11", "UTC"),
        lambda: data.providers(bob),
        lambda: data.reconcile(bob, "csv", [], provider="openai", tolerance="0.01", tz="UTC",
                               columns={}, currency=None),
    ):  # fmt: skip
        with pytest.raises(PermissionError):
            refused()
    assert data.accuracy(bob, question(data)) == []
    assert data.invoices(bob) == []


def test_a_viewer_without_a_subject_is_told_nothing(data: ModuleType) -> None:
    with pytest.raises(PermissionError):
        data.figures(data.Viewer(), question(data))
    with pytest.raises(PermissionError):
        data.invoices(data.Viewer())


def test_an_exported_file_has_the_bytes_of_the_facade(data: ModuleType, ledger_file: str) -> None:
    asked, everything = question(data, tag="team=search"), data.Viewer(sees_everything=True)
    sums = data.Export("usage", "csv", ("day", "subject"))
    for wanted in (sums, data.Export("calls", "jsonl", ())):
        written = BytesIO()
        with Meter(ledger_file, read_only=True) as meter:
            meter.export(
                wanted.format, written, of=wanted.of, by=wanted.by, since=asked.since,
                until=asked.until, tag="team=search",
            )  # fmt: skip
        assert data.export_bytes(everything, asked, wanted) == written.getvalue() != b""
    names, rows = data.export_preview(everything, asked, wanted, 5)
    assert (names[0], len(rows)) == ("call_id", 1)


def test_the_command_for_a_file_asks_the_same(data: ModuleType) -> None:
    asked = question(
        data, subject="o'brien", since=datetime(2026, 11, 1, tzinfo=UTC),
        until=datetime(2026, 12, 1, tzinfo=UTC),
    )  # fmt: skip
    assert data.export_command(asked, data.Export("usage", "csv", ("day", "model"))) == (
        "meter export csv --of usage --by day,model --since 2026-11-01 --until 2026-12-01 "
        "--tz UTC --subject 'o'\"'\"'brien' -o usage.csv"
    )


def test_a_bill_is_held_against_the_ledger(data: ModuleType) -> None:
    everything = data.Viewer(sees_everything=True)
    day = NOW.date().isoformat()
    bill = f"date,model,cost,currency\n{day},gpt-4o,9.99,USD\n".encode()
    found = data.reconcile(
        everything, "csv", [("../../bill.csv", bill)], provider="openai", tolerance="0.01",
        tz="UTC", columns={}, currency=None,
    )  # fmt: skip
    assert not found.agrees
    money = next(total for total in found.totals if total.name == "USD")
    # 9.99 against (1,000,000 + 3,000) × 2.50 / 10⁶ = 2.5075
    assert (str(money.theirs), str(money.ours.normalize())) == ("9.990000000", "2.5075")
    with pytest.raises(data.LedgerError):
        data.reconcile(everything, "csv", [("b.csv", b"nothing")], provider="openai",
                       tolerance="0.01", tz="UTC", columns={}, currency=None)  # fmt: skip


def test_a_key_opens_while_it_is_active(data: ModuleType, ledger_file: str) -> None:
    with Meter(ledger_file) as meter:
        made = meter.keys.create("bob")
        found = data.key_of(made.secret)
        assert found is not None
        assert found.subject == "bob"
        assert data.key_of(made.secret + "x") is None
        assert data.key_of("") is None
        meter.keys.revoke(made.key.id)
        assert data.key_of(made.secret) is None


def test_a_place_is_told_without_its_password(data: ModuleType) -> None:
    told = data.make_url_text("postgresql://meter:s3cret@db:5432/meter")
    assert told == "postgresql://meter@db:5432/meter"
    assert data.make_url_text("sqlite:///meter.db") == "sqlite:///meter.db"
