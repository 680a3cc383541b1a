"""Exact rates, and one source's quotes over another's."""

from decimal import Decimal

from meter.core.rates import STANDARD, Rate, RateCard, RateWindow
from meter.prices.quotes import Quote, exact_rate, layered


def card(from_us=0, to_us=None, windows=(), **tiers):
    rates = {
        tier: tuple(Rate(unit, nanos) for unit, nanos in units.items())
        for tier, units in tiers.items()
    }
    return RateCard("p", "m", "USD", rates, from_us, to_us, windows=tuple(windows), source="below")


def quote(from_us=0, to_us=None, amends=False, **tiers):
    return Quote(from_us, to_us, card(from_us, to_us, **tiers), amends)


def in_force(quotes, at_us):
    return next((q.card for q in quotes if q.holds_at(at_us)), None)


def test_an_exact_rate_has_whole_nanos():
    assert exact_rate("input_tokens", Decimal("2.50"), 1_000_000) == Rate(
        "input_tokens", 2_500_000_000
    )
    # 0.36 for 3,600 s
    assert exact_rate("audio_seconds", Decimal("0.36"), 3600) == Rate(
        "audio_seconds", 360_000_000, 3600
    )


def test_an_exact_rate_grows_its_count_rather_than_round():
    # 0.00000000125 for one image: 1.25 nanos, so 5 nanos for four
    assert exact_rate("images", Decimal("0.00000000125"), 1) == Rate("images", 5, 4)
    assert exact_rate("images", Decimal(0), 1) == Rate("images", 0, 1)


def test_a_quote_holds_from_its_start_to_before_its_end():
    span = quote(10, 20, standard={"input_tokens": 1})
    assert [span.holds_at(at) for at in (9, 10, 19, 20)] == [False, True, True, False]


def test_the_upper_source_overrules_the_lower_in_its_time_only():
    upper = quote(10, 20, standard={"input_tokens": 2})
    lower = quote(standard={"input_tokens": 1})
    quotes = layered([upper], (lower,))
    assert [in_force(quotes, at).rates[STANDARD][0].nanos for at in (9, 10, 20)] == [1, 2, 1]


def test_a_withdrawn_price_hides_the_lower_source():
    quotes = layered([Quote(10, None, None)], (quote(standard={"input_tokens": 1}),))
    assert in_force(quotes, 9) is not None
    assert in_force(quotes, 10) is None


def test_an_amendment_replaces_the_units_it_prices_and_keeps_the_others():
    lower = quote(standard={"input_tokens": 1, "output_tokens": 2}, batch={"input_tokens": 5})
    upper = quote(amends=True, standard={"output_tokens": 9, "trained_tokens": 7})
    (amended, _) = layered([upper], (lower,))
    assert {r.unit: r.nanos for r in amended.card.rates[STANDARD]} == {
        "input_tokens": 1,
        "output_tokens": 9,
        "trained_tokens": 7,
    }
    assert amended.card.rates["batch"] == (Rate("input_tokens", 5),)
    assert amended.card.id != lower.card.id


def test_an_amendment_holds_where_both_hold():
    lower = (
        quote(0, 10, standard={"input_tokens": 1}),
        quote(10, None, standard={"input_tokens": 2}),
    )
    upper = quote(5, 15, amends=True, standard={"trained_tokens": 7})
    quotes = layered([upper], lower)
    found = [{r.unit: r.nanos for r in in_force(quotes, at).rates[STANDARD]} for at in (4, 5, 12)]
    assert found == [
        {"input_tokens": 1},
        {"input_tokens": 1, "trained_tokens": 7},
        {"input_tokens": 2, "trained_tokens": 7},
    ]
    assert in_force(quotes, 5).effective_from_us == 5
    assert in_force(quotes, 5).effective_to_us == 10
    assert in_force(quotes, 15).rates[STANDARD] == (Rate("input_tokens", 2),)


def test_an_amendment_of_nothing_is_no_price():
    upper = quote(amends=True, standard={"trained_tokens": 7})
    assert layered([upper], ()) == ()


def test_an_amendment_does_not_bring_back_a_withdrawn_price():
    upper = quote(amends=True, standard={"trained_tokens": 7})
    withdrawn = Quote(0, None, None)
    below = quote(standard={"input_tokens": 1})
    assert in_force(layered([upper], (withdrawn, below)), 5) is None


def test_an_amendment_reaches_into_windows():
    peak = RateWindow(60, 120, {STANDARD: (Rate("input_tokens", 2),)})
    lower = Quote(0, None, card(windows=[peak], standard={"input_tokens": 1}))
    upper = quote(amends=True, standard={"trained_tokens": 7})
    (amended, _) = layered([upper], (lower,))
    (window,) = amended.card.windows
    assert {r.unit: r.nanos for r in window.rates[STANDARD]} == {
        "input_tokens": 2,
        "trained_tokens": 7,
    }
