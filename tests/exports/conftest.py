"""A small ledger on either database: five calls whose amounts can be done in one's head."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from meter.core.call import Attribution
from meter.core.rates import Rate, RateCard
from meter.core.rating import Charge, rate
from meter.core.usage import Usage
from meter.meter import Meter
from tests.store.conftest import (  # noqa: F401
    emptied_sqlite_url,
    ledger_url,
    migrated_postgres,
    migrated_sqlite,
    postgres_ledger_url,
    shared_sqlite_url,
)
from tests.store.examples import CARD, NOON_US, a_call, a_correction, an_event, an_unknown_end

YUAN_CARD = RateCard(
    "zhipu", "glm", "CNY", {"standard": (Rate("input_tokens", 5 * 10**9),)}, source="made up"
)


@pytest.fixture
def meter(ledger_url: str) -> Iterator[Meter]:  # noqa: F811
    """A meter on an empty ledger."""
    with Meter(ledger_url, durability="process") as made:
        yield made


@pytest.fixture
def filled(meter: Meter) -> Meter:
    """A ledger with five calls.

    | call | subject | model | usage           | money                              |
    | 1    | alice   | small | 4 in, 6 out     | 4 x 1000 + 6 x 2000 = 16,000 nanos |
    | 2    | alice   | small | 1 in, 0 out     | 1,000 nanos; corrected to 3 in     |
    | 3    | 陈静    | glm   | 7 in            | 7 x 5000 = 35,000 nanos of CNY     |
    | 4    | nobody  | small | 10 in, 1 out    | no rate card: unpriced             |
    | 5    | alice   | small | unknown         | unsettled                          |
    """
    store = meter._ledger.store
    events = [
        an_event(a_call(1), Usage(input_tokens=4, output_tokens=6)),
        an_event(a_call(2), Usage(input_tokens=1, output_tokens=0)),
        replace(
            an_event(a_call(3, provider="zhipu", model_requested="glm",
                            attribution=Attribution("陈静", (("team", "a"), ("x", "=1"))))),
            usage=Usage(input_tokens=7),
            charge=rate(Usage(input_tokens=7), YUAN_CARD, at_us=NOON_US),
            issuer="zhipu",
            model_served=None,
        ),
        replace(
            an_event(a_call(4, attribution=Attribution()), Usage(input_tokens=10, output_tokens=1)),
            charge=Charge((), None, None, None, "no rate card covers this model at this time"),
        ),
        an_unknown_end(a_call(5)),
    ]  # fmt: skip
    for event in events:
        store.settle(event, YUAN_CARD if event.issuer == "zhipu" else CARD).result(10)
    correct(meter, 2, Usage(input_tokens=3, output_tokens=0))
    return meter


def correct(meter: Meter, number: int, usage: Usage, correction: int = 1) -> None:
    """Say that a call of the small model used something else."""
    meter._ledger.correct_all([(a_correction(number, correction, usage), (CARD,))])
