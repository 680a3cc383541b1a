"""The same tokens on another model."""

from meter.core.rates import Rate, RateCard
from meter.reports.whatif import Alternative, alternatives
from tests.reports.test_comparing import row


class Prices:
    """Cards by model."""

    def __init__(self, **cards):
        self.cards = cards

    def card_for(self, provider, model, at_us):
        rates = self.cards.get(model)
        return None if rates is None else RateCard(provider, model, "USD", {"standard": rates})


ROW = row(("now",), 1, calls=10, input_tokens=1_000, cache_read_tokens=400, output_tokens=100)


def test_tokens_are_rated_with_each_models_card_and_the_cheapest_comes_first():
    prices = Prices(
        plain=(Rate("input_tokens", 3, 1), Rate("output_tokens", 10, 1)),
        cached=(Rate("input_tokens", 3, 1), Rate("cache_read_tokens", 1, 1),
                Rate("output_tokens", 10, 1)),
        input_only=(Rate("input_tokens", 1, 1),),
    )  # fmt: skip
    models = [("p", name) for name in ("unheard", "plain", "cached", "input_only")]
    found = alternatives([ROW], models, prices, 0)
    assert found == [
        # 600 × 3 + 400 × 1 + 100 × 10 = 3200; 1000 × 3 + 100 × 10 = 4000
        Alternative("p", "cached", "USD", 3_200),
        Alternative("p", "plain", "USD", 4_000),
        Alternative("p", "unheard", None, None),
        Alternative("p", "input_only", "USD", None),
    ]


def test_a_threshold_is_met_by_the_average_call_and_not_by_the_sum():
    above = (Rate("input_tokens", 1, 1), Rate("input_tokens", 9, 1, above_input_tokens=100),
             Rate("output_tokens", 1, 1))  # fmt: skip
    # 1000 input tokens in 10 calls: 100 each, not above 100
    (found,) = alternatives([ROW], [("p", "m")], Prices(m=above), 0)
    assert found.cost_nanos == 1_000 + 100
