"""Looking a card up: sources in order, names, memory, threads."""

import threading
from datetime import UTC, datetime

import pytest

from meter.core.rates import STANDARD, Rate, RateCard, microseconds_of
from meter.errors import InputError
from meter.prices.book import MOST_NAMES, PriceBook
from meter.prices.quotes import Quote, quote_of

NOW = microseconds_of(datetime(2026, 11, 22, 12, tzinfo=UTC))


def card(model="m", nanos=1, from_us=0, to_us=None):
    return RateCard("p", model, "USD", {STANDARD: (Rate("input_tokens", nanos),)}, from_us, to_us)


class Listed:
    """A source with the cards it was given by name."""

    def __init__(self, **cards):
        self.cards = cards
        self.asked = []

    def quotes_for(self, provider, model):
        self.asked.append((provider, model))
        return tuple(quote_of(one) for one in self.cards.get(model, ()))


def test_the_first_source_that_knows_the_model_wins():
    book = PriceBook([Listed(a=[card(nanos=1)]), Listed(a=[card(nanos=2)], b=[card(nanos=3)])])
    assert book.card_for("p", "a", NOW).rates[STANDARD][0].nanos == 1
    assert book.card_for("p", "b", NOW).rates[STANDARD][0].nanos == 3


def test_a_source_without_a_price_at_the_moment_leaves_it_to_the_next():
    book = PriceBook([Listed(a=[card(nanos=1, from_us=NOW)]), Listed(a=[card(nanos=2)])])
    assert book.card_for("p", "a", NOW - 1).rates[STANDARD][0].nanos == 2
    assert book.card_for("p", "a", NOW).rates[STANDARD][0].nanos == 1


def test_a_model_that_no_source_knows_has_no_card():
    assert PriceBook([Listed()]).card_for("p", "a", NOW) is None
    assert PriceBook([]).card_for("p", "a", NOW) is None


def test_a_source_is_asked_once_for_a_name():
    source = Listed(a=[card()])
    book = PriceBook([source])
    for _ in range(3):
        book.card_for("p", "a", NOW)
        book.card_for("p", "b", NOW)
    assert source.asked == [("p", "a"), ("p", "b")]


def test_a_dated_name_is_asked_for_before_its_undated_one():
    source = Listed(**{"gpt-4o-2024-05-13": [card(nanos=5)], "gpt-4o": [card(nanos=2)]})
    book = PriceBook([source])
    assert book.card_for("p", "gpt-4o-2024-05-13", NOW).rates[STANDARD][0].nanos == 5
    assert book.card_for("p", "gpt-4o-2024-08-06", NOW).rates[STANDARD][0].nanos == 2


def test_explain_lists_the_card_in_force_and_those_it_overrules():
    first, second, past = card(nanos=1), card(nanos=2), card(nanos=3, to_us=NOW)
    book = PriceBook([Listed(a=[first]), Listed(a=[past, second])])
    assert book.explain("p", "a", NOW) == [first, second]
    assert book.explain("p", "b", NOW) == []


def test_a_withdrawn_price_explains_nothing():
    class Withdrawn:
        def quotes_for(self, provider, model):
            return (Quote(0, None, None),)

    book = PriceBook([Withdrawn(), Listed(a=[card()])])
    assert book.card_for("p", "a", NOW) is None
    assert book.explain("p", "a", NOW) == []


def test_made_up_names_do_not_grow_the_memory_nor_push_out_known_ones():
    source = Listed(a=[card()])
    book = PriceBook([source])
    book.card_for("p", "a", NOW)
    for number in range(MOST_NAMES + 100):
        book.card_for("p", f"made-up-{number}", NOW)
    assert len(book._unpriced) == MOST_NAMES
    asked = len(source.asked)
    book.card_for("p", "a", NOW)
    assert len(source.asked) == asked


def test_known_names_are_bounded_too():
    class Everything:
        def quotes_for(self, provider, model):
            return (quote_of(card(model)),)

    book = PriceBook([Everything()])
    for number in range(MOST_NAMES + 5):
        assert book.card_for("p", f"m{number}", NOW).model == f"m{number}"
    assert len(book._priced) == MOST_NAMES


def test_a_very_long_name_is_not_remembered():
    book = PriceBook([Listed()])
    assert book.card_for("p", "x" * 100_000, NOW) is None
    assert not book._unpriced


def test_many_threads_get_the_same_card():
    book = PriceBook.bundled()
    found, start = [], threading.Barrier(8)

    def look_up():
        start.wait()
        found.append(book.card_for("openai", "gpt-4o", NOW).id)

    threads = [threading.Thread(target=look_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_other_names_of_a_model_have_the_same_card():
    book = PriceBook.bundled()
    cards = {
        book.card_for("openai", name, NOW).id
        for name in ("gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "GPT-4o")
    }
    assert len(cards) == 1


@pytest.mark.parametrize(
    ("provider", "model", "maker"),
    [
        ("azure", "gpt-4.1-mini", "gpt-4.1-mini"),
        ("azure", "gpt-35-turbo", "gpt-3.5-turbo"),
        ("vertex", "publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("vertex", "claude-opus-5@20260401", "claude-opus-5"),
        ("google", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("openrouter", "openai/gpt-4o", "openai/gpt-4o"),
        ("groq", "llama-3.3-70b-versatile", "llama-3.3-70b-versatile"),
        ("litellm", "anthropic/claude-opus-5", "claude-opus-5"),
        ("deepseek", "deepseek-v4-pro-0813", "deepseek-v4-pro*"),
        ("perplexity", "r1-1776", "r1-1776"),
    ],
)
def test_models_at_other_providers_are_found(provider, model, maker):
    assert PriceBook.bundled().card_for(provider, model, NOW).model == maker


def test_prices_of_now_are_not_those_of_then():
    book = PriceBook.bundled()
    then = microseconds_of(datetime(2026, 8, 1, tzinfo=UTC))
    cards = [book.card_for("openai", "gpt-5.6-sol", moment) for moment in (then, NOW)]
    assert [c.rates[STANDARD][0].nanos for c in cards] == [5_000_000_000, 4_000_000_000]
    assert cards[0].id != cards[1].id


def test_a_users_rate_file_overrules_what_is_bundled(tmp_path):
    path = tmp_path / "rates.toml"
    path.write_text(
        '[[card]]\nproviders = ["openai"]\nmodels = ["gpt-4o"]\n'
        'currency = "EUR"\nsource = "contract 17"\n'
        '[card.rates.standard]\ninput_tokens = "2"\noutput_tokens = "8"\n'
    )
    book = PriceBook.bundled([path])
    found = book.card_for("openai", "gpt-4o-2024-08-06", NOW)
    assert (found.currency, found.book, found.source) == ("EUR", "list", "contract 17")
    assert [c.currency for c in book.explain("openai", "gpt-4o", NOW)][:2] == ["EUR", "USD"]
    assert book.books is None
    assert book.card_for("openai", "gpt-4o-mini", NOW).currency == "USD"


def test_a_rate_file_that_cannot_be_read_stops_the_start(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml"):
        PriceBook.bundled([tmp_path / "none.toml"])


def test_warming_reads_the_lists_before_the_first_call():
    book = PriceBook.bundled()
    book.warm()
    assert book._priced


def test_the_history_says_which_card_held_when():
    book = PriceBook(
        [
            Listed(a=[card(nanos=2, from_us=10, to_us=20)]),
            Listed(a=[card(nanos=1, from_us=5, to_us=30), card(nanos=3, from_us=40)]),
        ]
    )
    held = [
        (start, end, found and found.rates[STANDARD][0].nanos)
        for start, end, found in book.history("p", "a")
    ]
    assert held == [(5, 10, 1), (10, 20, 2), (20, 30, 1), (30, 40, None), (40, None, 3)]
    assert book.history("p", "unheard of") == []
