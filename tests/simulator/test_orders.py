import random

import pytest

from meter.simulator import SimulatorSettings
from meter.simulator.orders import (
    HONEST,
    Orders,
    UnknownOrderError,
    draw_orders,
    read_orders,
    split_model,
)


def test_no_words_are_honest() -> None:
    assert read_orders("", " ") == HONEST


@pytest.mark.parametrize(
    ("words", "orders"),
    [
        ("status=429", Orders(status=429)),
        ("cut-5", Orders(cut_after=5)),
        ("cut=0", Orders(cut_after=0)),
        ("error-after-3", Orders(error_after=3)),
        ("stall=2.5", Orders(stall_seconds=2.5)),
        ("slow-first-0.1", Orders(slow_first_seconds=0.1)),
        ("retry-after=0", Orders(retry_after_seconds=0.0)),
        ("truncated", Orders(body="truncated")),
        ("gzip, no-usage", Orders(is_gzipped=True, usage="none")),
        ("cut-2;output-9", Orders(cut_after=2, output_tokens=9)),
    ],
)
def test_words_become_orders(words: str, orders: Orders) -> None:
    assert read_orders(words) == orders


def test_header_wins_over_model_name() -> None:
    assert read_orders("status-500", "status=429").status == 429


@pytest.mark.parametrize(
    "words", ["cutt=5", "cut", "cut=x", "status=200", "stall=-1", "output=1e9"]
)
def test_misspelt_orders_are_refused(words: str) -> None:
    with pytest.raises(UnknownOrderError, match="order"):
        read_orders(words)


def test_model_name_is_parted_from_its_orders() -> None:
    assert split_model("gpt-4o@cut-5,gzip") == ("gpt-4o", "cut-5,gzip")
    assert split_model("gpt-4o") == ("gpt-4o", "")


def test_rates_draw_faults_and_a_request_with_orders_keeps_its_own() -> None:
    always = SimulatorSettings(error_rate=1.0, error_statuses=(503,))
    assert draw_orders(HONEST, always, random.Random(1)).status == 503
    own = Orders(cut_after=1)
    assert draw_orders(own, always, random.Random(1)) == own


def test_rates_hold_over_many_draws() -> None:
    settings = SimulatorSettings(error_rate=0.25)
    chance = random.Random(7)
    drawn = [draw_orders(HONEST, settings, chance) for _ in range(1000)]
    errors = sum(orders.status is not None for orders in drawn)
    assert 200 < errors < 300
