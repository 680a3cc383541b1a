"""Contract and resale: which price holds for whose call, and the card that a rule makes.

The list price of "small" at openai is 1 USD a million input tokens and 2 USD a million output
tokens, so that a token is 1000 and 2000 nanos.
"""

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from meter.core.call import Attribution
from meter.core.rates import Missing, Rate, RateCard, microseconds_of
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.errors import InputError
from meter.prices.book import PriceBook
from meter.prices.overlay import read_rates
from meter.prices.rules import applied, shown

NOW = microseconds_of(datetime(2026, 11, 22, 12, tzinfo=UTC))
DECEMBER = microseconds_of(datetime(2026, 12, 1, tzinfo=UTC))
ALICE = Attribution("alice", (("group", "gold"), ("team", "search")), "k1")

LISTED = """
[[card]]
providers = ["openai"]
models = ["small"]
currency = "USD"
source = "list"
checked = "2026-11-22"
max_output_tokens = 1000
[card.rates.standard]
input_tokens = "1"
output_tokens = "2"
[card.rates.batch]
input_tokens = "0.5"
output_tokens = "1"
"""


def a_card(book, given, **who):
    selectors = "\n".join(f'{name} = "{value}"' for name, value in who.items())
    return f"""
[[card]]
book = "{book}"
providers = ["openai"]
models = ["small"]
currency = "USD"
source = "{book} {given}"
{selectors}
[card.rates.standard]
input_tokens = "{given}"
"""


def a_rule(text, book="resale"):
    return f'\n[[rule]]\nbook = "{book}"\n{text}\n'


EXCHANGE = """
[[exchange]]
from = "USD"
to = "CNY"
rate = "7"
effective_from = 2026-11-01T00:00:00Z
source = "a bank"
[[exchange]]
from = "USD"
to = "CNY"
rate = "7.25"
effective_from = 2026-12-01T00:00:00Z
source = "a bank"
"""


def priced(text, model="small", at_us=NOW, attribution=ALICE, issuer="openai", upstream="main"):
    book = PriceBook([read_rates(LISTED + text, "x")])
    return book.books.pricing(
        book.card_for("openai", model, at_us),
        provider="openai",
        issuer=issuer,
        upstream=upstream,
        model=model,
        attribution=attribution,
        at_us=at_us,
    )


def nanos(card, unit="input_tokens", tier="standard"):
    """The price of one unit, exactly."""
    (found,) = [each for each in card.rates[tier] if each.unit == unit]
    assert found.nanos % found.per == 0
    return found.nanos // found.per


def test_without_other_prices_there_are_no_books():
    assert PriceBook([read_rates(LISTED, "x")]).books is None


def test_what_is_owed_by_contract_and_what_is_published():
    pricing = priced(a_card("contract", "0.8"))
    assert nanos(pricing.cost) == 800
    assert nanos(pricing.listed) == 1000
    assert pricing.billed is None
    assert pricing.cost.book == "contract"


def test_a_contract_is_for_its_issuer_and_its_upstream():
    text = a_card("contract", "0.8", issuer="reseller") + a_card("contract", "0.7", upstream="eu")
    assert nanos(priced(text).cost) == 1000
    assert nanos(priced(text, issuer="reseller").cost) == 800
    assert nanos(priced(text, upstream="eu").cost) == 700
    # The upstream is the more specific of the two.
    assert nanos(priced(text, issuer="reseller", upstream="eu").cost) == 700


def test_the_most_specific_resale_price_holds():
    prices = {
        "3": {},
        "4": {"tag": "group=gold"},
        "5": {"subject": "alice"},
        "6": {"key": "k1"},
    }
    text = "".join(a_card("resale", given, **who) for given, who in prices.items())
    assert nanos(priced(text).billed) == 6000
    assert nanos(priced(text, attribution=Attribution("alice", ALICE.tags)).billed) == 5000
    assert nanos(priced(text, attribution=Attribution("bob", ALICE.tags)).billed) == 4000
    assert nanos(priced(text, attribution=Attribution("bob")).billed) == 3000
    assert nanos(priced(text, attribution=Attribution()).billed) == 3000


def test_two_tags_are_more_specific_than_one_and_all_must_be_there():
    text = a_card("resale", "4", tag="group=gold") + a_card("resale", "5").replace(
        'source = "resale 5"', 'source = "x"\ntag = ["group=gold", "team=search"]'
    )
    assert nanos(priced(text).billed) == 5000
    assert nanos(priced(text, attribution=Attribution("b", (("group", "gold"),))).billed) == 4000
    assert priced(text, attribution=Attribution("b", (("team", "search"),))).billed is None


def test_a_card_comes_before_a_rule_and_an_exact_name_before_a_pattern():
    rule = a_rule('multiplier = "9"')
    assert nanos(priced(rule + a_card("resale", "3")).billed) == 3000
    by_name = a_rule('multiplier = "2"\nmodels = ["small"]')
    by_pattern = a_rule('multiplier = "3"\nmodels = ["sm*"]')
    assert nanos(priced(rule + by_pattern + by_name).billed) == 2000
    assert nanos(priced(rule + by_pattern).billed) == 3000
    # Of equals the first written.
    assert nanos(priced(by_pattern + by_pattern.replace('"3"', '"5"')).billed) == 3000


def test_a_snapshot_is_sold_at_the_price_of_its_model():
    assert nanos(priced(a_card("resale", "3"), model="small-2026-01-31").billed) == 3000
    exact = a_card("resale", "4").replace('["small"]', '["small-2026-01-31"]')
    text = a_card("resale", "3") + exact
    assert nanos(priced(text, model="small-2026-01-31").billed) == 4000


def test_a_rule_multiplies_every_tier_and_keeps_the_limits():
    billed = priced(a_rule('multiplier = "1.5"')).billed
    assert nanos(billed) == 1500
    assert nanos(billed, "output_tokens", "batch") == 1500
    assert (billed.book, billed.currency, billed.max_output_tokens) == ("resale", "USD", 1000)


def test_a_rule_says_in_the_card_where_it_came_from():
    pricing = priced(EXCHANGE + a_rule('name = "gold"\nmultiplier = "1.2"\ncurrency = "CNY"'))
    assert pricing.billed.source == (
        f"gold: 1.2 × list of card {pricing.cost.id} (list); "
        "1 USD = 7 CNY from 2026-11-01T00:00:00+00:00 (a bank)"
    )
    assert pricing.billed.checked == "2026-11-22"
    again = applied(
        read_rates(a_rule('multiplier = "1.2"\ncurrency = "CNY"'), "x").rules[0],
        pricing.cost,
        read_rates(EXCHANGE, "x").exchange[0],
    )
    # The id is that of what the card says, not of the words that say where it is from.
    assert again.id == pricing.billed.id


def test_what_is_added_is_for_a_request_or_for_a_million_of_a_unit():
    text = a_rule('multiplier = "2"\n[rule.add]\nrequests = "0.001"\noutput_tokens = "0.5"\n')
    billed = priced(text).billed
    # 1 × 2; 2 × 2 + 0.5; and a thousandth of a dollar a call
    assert nanos(billed) == 2000
    assert nanos(billed, "output_tokens") == 4500
    assert nanos(billed, "requests") == 1_000_000
    charge = rate(Usage(input_tokens=10, output_tokens=2), billed, at_us=NOW)
    assert charge.amount_nanos == 10 * 2000 + 2 * 4500 + 1_000_000


def test_what_is_added_to_a_unit_without_a_price_is_not_added():
    billed = priced(a_rule('[rule.add]\nreasoning_tokens = "5"\n')).billed
    assert {each.unit for each in billed.rates["standard"]} == {"input_tokens", "output_tokens"}


def test_single_units_have_multipliers_of_their_own():
    billed = priced(a_rule('multiplier = "2"\n[rule.multipliers]\noutput_tokens = "3"\n')).billed
    assert (nanos(billed), nanos(billed, "output_tokens")) == (2000, 6000)


def test_a_call_costs_at_least_the_minimum():
    billed = priced(a_rule('minimum = "0.00002"')).billed
    # 4 × 1000 + 3 × 2000 = 10 000 of at least 20 000
    charge = rate(Usage(input_tokens=4, output_tokens=3), billed, at_us=NOW)
    assert charge.amount_nanos == 20_000
    assert [(line.unit, line.amount_nanos) for line in charge.lines] == [
        ("input_tokens", 4000),
        ("output_tokens", 6000),
        ("minimum_charges", 10_000),
    ]
    # 10 × 1000 + 6 × 2000 = 22 000 is more than that
    assert rate(Usage(input_tokens=10, output_tokens=6), billed, at_us=NOW).amount_nanos == 22_000
    assert rate(Usage(input_tokens=0, output_tokens=0), billed, at_us=NOW).amount_nanos == 0


def test_the_exchange_rate_is_that_of_the_moment():
    text = EXCHANGE + a_rule('multiplier = "1.2"\ncurrency = "CNY"')
    before = priced(text).billed
    after = priced(text, at_us=DECEMBER).billed
    # 1 × 1.2 × 7 and 1 × 1.2 × 7.25
    assert (before.currency, nanos(before), nanos(after)) == ("CNY", 8400, 8700)
    assert (before.effective_to_us, after.effective_from_us) == (DECEMBER, DECEMBER)
    assert nanos(priced(text, at_us=DECEMBER - 1).billed) == 8400


def test_without_an_exchange_rate_there_is_no_price_and_it_is_said_why():
    text = a_rule('name = "gold"\nmultiplier = "1.2"\ncurrency = "EUR"')
    assert priced(EXCHANGE + text).billed == Missing(
        "found no exchange rate from USD to EUR at 2026-11-22T12:00:00+00:00, expected one for gold"
    )
    # A rate in the other direction is another rate.
    back = EXCHANGE.replace('from = "USD"\nto = "CNY"', 'from = "EUR"\nto = "USD"')
    assert isinstance(priced(back + text).billed, Missing)
    october = microseconds_of(datetime(2026, 10, 1, tzinfo=UTC))
    too_early = priced(EXCHANGE + a_rule('currency = "CNY"'), at_us=october)
    assert isinstance(too_early.billed, Missing)
    assert nanos(too_early.cost) == 1000


def test_a_rule_without_a_price_to_start_from_makes_none():
    pricing = priced(a_rule('name = "gold"'), model="unheard-of")
    assert pricing.cost is None
    assert pricing.billed == Missing(
        "found no list price for gold: no rate card covers this model at this time"
    )


def test_a_resale_rule_may_start_from_the_contract_and_a_contract_from_the_list():
    text = a_rule('multiplier = "0.5"', "contract") + a_rule('base = "contract"\nmultiplier = "3"')
    pricing = priced(text)
    assert (nanos(pricing.listed), nanos(pricing.cost), nanos(pricing.billed)) == (1000, 500, 1500)


def test_a_tier_that_a_resale_card_lacks_is_unpriced_and_named():
    pricing = priced(a_card("resale", "3", subject="alice"))
    charge = rate(Usage(input_tokens=10), pricing.billed, at_us=NOW, tier="batch")
    assert charge.amount_nanos is None
    assert charge.unpriced.endswith("has no rates for service tier 'batch'")


def test_a_resale_card_that_amends_takes_the_tiers_it_lacks_from_the_list():
    text = a_card("resale", "3", subject="alice").replace("source", "amends = true\nsource")
    billed = priced(text).billed
    # 10 tokens at 3 USD a million by its own rate; of the list 0.5, and for output 1 and 2.
    assert rate(Usage(input_tokens=10), billed, at_us=NOW).amount_nanos == 30_000
    assert rate(Usage(input_tokens=10), billed, at_us=NOW, tier="batch").amount_nanos == 5_000
    both = Usage(input_tokens=10, output_tokens=10)
    assert rate(both, billed, at_us=NOW).amount_nanos == 50_000


def test_a_contract_for_what_nobody_publishes_leaves_the_published_price_unknown():
    text = a_card("contract", "0.8").replace('["small"]', '["own"]')
    pricing = priced(text, model="own")
    assert nanos(pricing.cost) == 800
    assert isinstance(pricing.listed, Missing)


def test_a_contract_card_may_amend_the_published_one():
    text = a_card("contract", "0.8").replace("source", "amends = true\nsource")
    cost = priced(text).cost
    assert (nanos(cost), nanos(cost, "output_tokens"), cost.book) == (800, 2000, "contract")


def test_a_withdrawn_resale_price_is_no_price():
    text = '[[card]]\nbook = "resale"\nproviders = ["openai"]\nmodels = ["small"]\nwithdrawn = true'
    assert priced(text).billed == Missing("the resale price of small was withdrawn")


def test_prices_hold_for_their_time_to_the_second():
    text = a_rule('multiplier = "2"\neffective_to = 2026-11-22T12:00:01Z') + a_rule(
        'multiplier = "3"\neffective_from = 2026-11-22T12:00:01Z'
    )
    assert nanos(priced(text, at_us=NOW + 999_999).billed) == 2000
    assert nanos(priced(text, at_us=NOW + 1_000_000).billed) == 3000
    gap = text.replace("from = 2026-11-22T12:00:01Z", "from = 2027-01-01T00:00:00Z")
    assert priced(gap, at_us=NOW + 2_000_000).billed is None


def test_windows_are_marked_up_like_the_rest():
    text = LISTED.replace('["small"]', '["night"]') + (
        "[[card.windows]]\nstart = 00:00:00\nend = 06:00:00\n"
        '[card.windows.rates.standard]\ninput_tokens = "0.1"\n'
    )
    billed = priced(text + a_rule('multiplier = "2"'), model="night").billed
    assert billed.windows[0].rates["standard"][0] == Rate("input_tokens", 200_000_000)


@pytest.mark.parametrize(
    ("multiplier", "price"),
    [
        ("1.1", "1.1"),
        ("0.333333333333333333", "0.333333333333333333"),
        ("999999999", "999999999"),
        ("0.000000000000000001", "0.000000000000000001"),
    ],
)
def test_a_marked_up_price_is_exact(multiplier, price):
    billed = priced(a_rule(f'multiplier = "{multiplier}"')).billed
    (found,) = [each for each in billed.rates["standard"] if each.unit == "input_tokens"]
    # In USD for 1,000,000 tokens.
    assert shown(Fraction(found.nanos, found.per) * 10**6 / 10**9) == price


def test_a_price_that_64_bits_do_not_hold_is_rounded_once_to_what_they_hold():
    file = read_rates(EXCHANGE.replace('"7"', '"7.123456789012345678"'), "x")
    rule = read_rates(a_rule('multiplier = "1.234567890123456789"\ncurrency = "CNY"'), "x").rules[0]
    card = RateCard("p", "m", "USD", {"standard": (Rate("input_tokens", 10**9),)})
    (made,) = applied(rule, card, file.exchange[0]).rates["standard"]
    assert made.nanos < 2**63
    assert made.per < 2**63
    # 7.123456789012345678 × 1.234567890123456789 = 8.79439101839658588939…: in nanos, with nine
    # digits more than a nano has.
    assert (made.nanos, made.per) == (8_794_391_018_396_585_889, 10**6 * 10**9)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("meter.prices.books.MOST_REMEMBERED", 8)
    book = PriceBook([read_rates(LISTED + a_rule('multiplier = "2"'), "x")])
    card = book.card_for("openai", "small", NOW)
    for number in range(50):
        pricing = book.books.pricing(
            card, provider="openai", issuer="openai", upstream=None, model="small",
            attribution=Attribution(f"subject-{number}"), at_us=NOW,
        )  # fmt: skip
        assert nanos(pricing.billed) == 2000
    assert len(book.books._asked) == 8


def test_an_imported_file_lies_over_the_others_and_can_be_taken_away():
    book = PriceBook([read_rates(LISTED, "x")])
    book.under([read_rates(LISTED.replace('input_tokens = "1"', 'input_tokens = "3"')
                           + a_rule('multiplier = "2"'), "y")])  # fmt: skip
    assert nanos(book.card_for("openai", "small", NOW)) == 3000
    assert book.books is not None
    book.under([])
    assert nanos(book.card_for("openai", "small", NOW)) == 1000
    assert book.books is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[[rule]]\nbook = "list"', "book = 'list'"),
        ("[[rule]]", "book = 'list'"),
        ('[[rule]]\nbook = "resale"\nbase = "resale"', "base = 'resale'"),
        ('[[rule]]\nbook = "contract"\nbase = "contract"', "base = 'contract'"),
        ('[[rule]]\nbook = "resale"\nmultiplier = 1.2', "multiplier = 1.2"),
        ('[[rule]]\nbook = "resale"\nmultiplier = "-1"', "multiplier = '-1'"),
        ('[[rule]]\nbook = "resale"\nminimum = "x"', "minimum = 'x'"),
        ('[[rule]]\nbook = "resale"\ncurrency = "yuan"', "currency = 'yuan'"),
        ('[[rule]]\nbook = "resale"\ntag = "gold"', "tag = 'gold'"),
        ('[[rule]]\nbook = "resale"\nsubject = ""', "an empty subject"),
        ('[[rule]]\nbook = "resale"\nfree = 1', "key 'free'"),
        ('[[rule]]\nbook = "resale"\n[rule.add]\ntokens = "1"', "key 'tokens'"),
        (
            '[[rule]]\nbook = "resale"\neffective_from = 2026-01-02T00:00:00Z\n'
            "effective_to = 2026-01-01T00:00:00Z",
            "an effective_to that is not after",
        ),
        ('[[exchange]]\nfrom = "USD"\nto = "USD"\nrate = "1"\nsource = "x"', "to itself"),
        ('[[exchange]]\nfrom = "USD"\nto = "CNY"\nrate = "0"\nsource = "x"', "a rate of 0"),
        ('[[exchange]]\nfrom = "USD"\nto = "CNY"\nrate = "7"', "no source"),
        (
            2 * '[[exchange]]\nfrom = "USD"\nto = "CNY"\nrate = "7"\nsource = "x"\n',
            "a second rate from USD to CNY",
        ),
        (LISTED.replace("source", 'subject = "alice"\nsource'), "a published price for some"),
        (LISTED.replace("source", 'book = "retail"\nsource'), "book = 'retail'"),
        (2 * a_card("resale", "3", subject="alice"), "two cards for openai small"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_place(text, found):
    with pytest.raises(InputError) as raised:
        read_rates(text, "rate file x.toml")
    assert str(raised.value).startswith("rate file x.toml")
    assert found in str(raised.value)


def test_the_same_price_for_others_is_no_overlap():
    text = a_card("resale", "3", subject="alice") + a_card("resale", "3", subject="bob")
    assert len(read_rates(text + a_card("contract", "3"), "x").entries) == 3


def test_an_amendment_in_another_currency_makes_no_price():
    text = a_card("contract", "0.8").replace("source", "amends = true\nsource")
    found = priced(text.replace("USD", "CNY")).cost
    assert found == Missing(
        "found a price of small in another currency than the USD of the list price, which it "
        "cannot amend"
    )
    over = a_card("list", "0.8").replace("source", "amends = true\nsource").replace("USD", "CNY")
    book = PriceBook([read_rates(over, "y"), read_rates(LISTED, "x")])
    assert book.card_for("openai", "small", NOW) is None


def test_a_price_of_nothing_is_free_and_not_unknown():
    billed = priced(a_rule('multiplier = "0"')).billed
    charge = rate(Usage(input_tokens=10, output_tokens=2), billed, at_us=NOW)
    assert (charge.amount_nanos, charge.currency, charge.unpriced) == (0, "USD", None)


def test_a_tier_that_the_resale_card_lacks_is_not_billed_as_standard():
    billed = priced(a_card("resale", "3")).billed
    charge = rate(Usage(input_tokens=10), billed, at_us=NOW, tier="batch")
    assert charge.amount_nanos is None
    assert "no rates for service tier 'batch'" in charge.unpriced


def test_a_night_of_the_changing_clock_has_its_windows_by_the_wall():
    text = LISTED.replace('["small"]', '["night"]') + (
        '[[card.windows]]\nstart = 02:00:00\nend = 03:00:00\ntz = "Europe/Berlin"\n'
        '[card.windows.rates.standard]\ninput_tokens = "0.1"\n'
    )
    rule = a_rule('multiplier = "2"')

    def price(moment):
        at_us = microseconds_of(datetime.fromisoformat(moment))
        billed = priced(text + rule, model="night", at_us=at_us).billed
        return rate(Usage(input_tokens=10), billed, at_us=at_us).amount_nanos

    # On 2026-10-25 the hour from two to three comes twice, on 2026-03-29 it does not come.
    assert price("2026-10-25T00:30:00+00:00") == price("2026-10-25T01:30:00+00:00") == 2000
    assert price("2026-10-24T23:59:59+00:00") == price("2026-10-25T02:00:00+00:00") == 20_000
    assert price("2026-03-29T00:59:59+00:00") == price("2026-03-29T01:00:00+00:00") == 20_000


def test_what_is_remembered_of_an_asker_ends_where_a_price_does():
    text = (
        EXCHANGE
        + a_rule('currency = "CNY"\neffective_to = 2026-12-15T00:00:00Z')
        + a_rule('multiplier = "3"\neffective_from = 2026-12-20T00:00:00Z')
    )
    book = PriceBook([read_rates(LISTED + text, "x")])

    def billed(moment):
        at_us = microseconds_of(datetime.fromisoformat(moment).replace(tzinfo=UTC))
        pricing = book.books.pricing(
            book.card_for("openai", "small", at_us), provider="openai", issuer="openai",
            upstream=None, model="small", attribution=ALICE, at_us=at_us,
        )  # fmt: skip
        return pricing.billed and (nanos(pricing.billed), pricing.billed.currency)

    moments = {
        "2026-11-30T23:59:59.999999": (7000, "CNY"),
        "2026-12-01T00:00:00": (7250, "CNY"),
        "2026-12-14T23:59:59.999999": (7250, "CNY"),
        "2026-12-15T00:00:00": None,
        "2026-12-19T23:59:59.999999": None,
        "2026-12-20T00:00:00": (3000, "USD"),
        "2027-06-01T00:00:00": (3000, "USD"),
    }
    for _ in range(2):  # forwards, and once more from the start
        assert {moment: billed(moment) for moment in moments} == moments
    backwards = dict(reversed(moments.items()))
    assert {moment: billed(moment) for moment in backwards} == moments
