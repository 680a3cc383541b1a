"""Entries and balances: two accounts, one amount, nothing edited."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from meter.core.call import Attribution, Call
from meter.core.ledger import NOBODY, Balance, Entry, balances_of, entries_of
from meter.core.rating import Charge, ChargeLine

CALL_ID = UUID("019aa000-0000-7000-8000-000000000001")
STARTED = 1_795_000_000_000_000


def call(subject="alice"):
    return Call(
        id=CALL_ID,
        operation_id=CALL_ID,
        started_us=STARTED,
        provider="openai",
        endpoint="chat",
        model_requested="gpt-4o",
        attribution=Attribution(subject),
    )


def charge(nanos, currency="USD"):
    lines = (ChargeLine("input_tokens", 1, nanos or 0, 1, nanos or 0),) if nanos else ()
    return Charge(lines, nanos, currency, "card")


def entry(debit, credit, amount_nanos, currency="USD", number=0):
    return Entry(CALL_ID, number, STARTED, debit, credit, amount_nanos, currency)


def test_what_a_subject_used_is_owed_to_the_issuer():
    assert entries_of(call(), "openai", charge(7_500_000)) == (
        Entry(CALL_ID, 0, STARTED, "spend:alice", "payable:openai", 7_500_000, "USD"),
    )


def test_the_issuer_is_who_sends_the_bill_and_not_who_serves():
    (made,) = entries_of(call(), "zhizengzeng", charge(5, "CNY"))
    assert (made.credit, made.currency) == ("payable:zhizengzeng", "CNY")


def test_a_call_of_nobody_is_written_down_all_the_same():
    (made,) = entries_of(call(subject=None), "openai", charge(5))
    assert made.debit == f"spend:{NOBODY}"


def test_free_and_unpriced_calls_make_no_entry():
    assert entries_of(call(), "openai", charge(0)) == ()
    unpriced = Charge((), None, None, None, "no rate card covers this model at this time")
    assert entries_of(call(), "openai", unpriced) == ()
    assert entries_of(call(), "openai", charge(5, None)) == ()


def test_what_is_billed_is_a_debt_of_the_subject_and_a_revenue():
    assert entries_of(call(), "openai", charge(5), charge(40, "CNY")) == (
        Entry(CALL_ID, 0, STARTED, "spend:alice", "payable:openai", 5, "USD"),
        Entry(CALL_ID, 1, STARTED, "receivable:alice", "revenue:openai", 40, "CNY"),
    )


def test_what_is_billed_is_entered_where_the_cost_is_not_known_or_nothing():
    unpriced = Charge((), None, None, None, "no rate card covers this model at this time")
    for cost in (charge(0), unpriced):
        (made,) = entries_of(call(), "openai", cost, charge(40, "CNY"))
        assert (made.number, made.debit, made.amount_nanos) == (0, "receivable:alice", 40)
    assert len(entries_of(call(), "openai", charge(5), charge(0, "CNY"))) == 1


def test_balances_sum_debits_and_credits_by_account():
    made = [
        entry("spend:alice", "payable:openai", 5),
        entry("spend:alice", "payable:anthropic", 7, number=1),
        entry("spend:bob", "payable:openai", 11, number=2),
        # a correction goes the other way
        entry("payable:openai", "spend:alice", 2, number=3),
    ]
    assert balances_of(made) == {
        ("payable:anthropic", "USD"): Balance(0, 7),
        ("payable:openai", "USD"): Balance(2, 16),
        ("spend:alice", "USD"): Balance(12, 2),
        ("spend:bob", "USD"): Balance(11, 0),
    }


def test_currencies_are_never_summed():
    made = [entry("spend:alice", "payable:x", 5), entry("spend:alice", "payable:x", 7, "CNY")]
    assert balances_of(made) == {
        ("payable:x", "CNY"): Balance(0, 7),
        ("payable:x", "USD"): Balance(0, 5),
        ("spend:alice", "CNY"): Balance(7, 0),
        ("spend:alice", "USD"): Balance(5, 0),
    }


def test_an_empty_ledger_has_no_balances():
    assert balances_of([]) == {}


accounts = st.sampled_from(["spend:alice", "spend:bob", "payable:openai", "payable:anthropic"])
entries = st.builds(
    entry, accounts, accounts, st.integers(1, 10**18), st.sampled_from(["USD", "CNY"])
)


@given(st.lists(entries))
def test_all_debits_equal_all_credits_in_every_currency(made):
    balances = balances_of(made)
    for currency in ("USD", "CNY"):
        of_currency = [b for (_, other), b in balances.items() if other == currency]
        debits = sum(balance.debits for balance in of_currency)
        assert debits == sum(balance.credits for balance in of_currency)
        assert debits == sum(e.amount_nanos for e in made if e.currency == currency)
