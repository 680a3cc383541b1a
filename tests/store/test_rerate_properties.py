"""Rating again, for any prices in any order: safe to repeat, and back to the first amounts.

Each example has a subject of its own in one ledger, so that making the ledger costs once.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter import Meter, attribute
from meter.store.checking import check

PRICES = st.fixed_dictionaries(
    {
        "input": st.sampled_from(["0", "0.001", "1", "2.5", "33.333333333"]),
        "output": st.sampled_from(["0.0000001", "7", "10"]),
        "multiplier": st.sampled_from([None, "0.5", "1", "1.234567", "12"]),
        "contract": st.sampled_from([None, "0.3", "1"]),
        "currency": st.sampled_from(["USD", "CNY", "EUR"]),
        "minimum": st.sampled_from(["0", "0.001"]),
    }
)
CALLS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 900)), min_size=1, max_size=4)

_numbers = count(1)


def rates(prices: dict[str, Any]) -> str:
    text = f"""
[[card]]
providers = ["openai"]
models = ["m"]
currency = "USD"
source = "x"
[card.rates.standard]
input_tokens = "{prices["input"]}"
output_tokens = "{prices["output"]}"
[[exchange]]
from = "USD"
to = "CNY"
rate = "7.1234"
source = "x"
"""
    if prices["multiplier"] is not None:
        text += f"""
[[rule]]
book = "resale"
multiplier = "{prices["multiplier"]}"
minimum = "{prices["minimum"]}"
currency = "{prices["currency"]}"
"""
    if prices["contract"] is not None:
        text += f'\n[[rule]]\nbook = "contract"\nmultiplier = "{prices["contract"]}"\n'
    return text


@pytest.fixture
def meter(ledger_url: str) -> Iterator[Meter]:
    with Meter(ledger_url, durability="process") as made:
        yield made


def priced(meter: Meter, prices: dict[str, Any]) -> None:
    """Use other prices, as an import does."""
    meter._ledger.price_files.put("x", "toml", rates(prices), "test", now_us=next(_numbers))
    meter._imported.refresh()


def amounts(meter: Meter, subject: str) -> list[tuple[Any, ...]]:
    return [
        (call.cost_nanos, call.currency, call.listed.amount_nanos, call.listed.currency,
         call.billed.amount_nanos, call.billed.currency)
        for call in meter.calls(subject=subject, newest_first=False)
    ]  # fmt: skip


def totals(meter: Meter, subject: str) -> dict[tuple[str, str], int]:
    """What the ledger's accounts of a subject come to."""
    from sqlalchemy import select

    from meter.store.schema import balances

    with meter._ledger._engine.connect() as connection:
        rows = connection.execute(
            select(balances).where(balances.c.account.in_([f"spend:{subject}",
                                                           f"receivable:{subject}"]))
        ).all()  # fmt: skip
    return {(r.account, r.currency): r.debits - r.credits for r in rows if r.debits != r.credits}


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=CALLS, first=PRICES, then=PRICES)
def test_rating_again(
    meter: Meter, calls: list[tuple[int, int]], first: dict[str, Any], then: dict[str, Any]
) -> None:
    subject = f"s{next(_numbers)}"
    priced(meter, first)
    with attribute(subject):
        for given_, taken in calls:
            call = meter.reserve(
                provider="openai", model="m", input_tokens=given_, max_output_tokens=taken
            )
            call.settle(input_tokens=given_, output_tokens=taken)
    before = amounts(meter, subject)

    def entered() -> None:
        owed: dict[tuple[str, str], int] = {}
        for row in meter.calls(subject=subject):
            for account, charge, counts in (
                ("spend", meter_charge(row), True),
                ("receivable", row.billed, row.is_resold),
            ):
                if counts and charge.amount_nanos:
                    key = (f"{account}:{subject}", charge.currency)
                    owed[key] = owed.get(key, 0) + charge.amount_nanos
        assert totals(meter, subject) == owed

    entered()
    priced(meter, then)
    meter.rerate(apply=True, subject=subject)
    after = amounts(meter, subject)
    entered()
    assert meter.rerate(apply=True, subject=subject) == []  # twice changes nothing
    assert amounts(meter, subject) == after
    priced(meter, first)
    meter.rerate(apply=True, subject=subject)
    again = amounts(meter, subject)
    # A price that is unknown now leaves a call unpriced with the sentence of today.
    assert again == before  # and back gives the first amounts
    entered()
    assert list(check(meter._ledger._engine)) == []


def meter_charge(row: Any) -> Any:
    from meter.reports.charging import charge_in

    return charge_in(row, "cost")
