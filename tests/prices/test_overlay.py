"""Reading rate files, and what is wrong with those that cannot be read."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from meter.core.rates import STANDARD, Rate, RateWindow, microseconds_of
from meter.errors import InputError
from meter.prices import overlay
from meter.prices.formats import load_rate_file
from meter.prices.overlay import bundled_rates, read_rates

SMALL = """
[[card]]
providers = ["openai"]
models = ["my-model"]
currency = "USD"
source = "https://example.com/pricing"
[card.rates.standard]
input_tokens = "2.50"
"""


def quotes(text, model="my-model", provider="openai"):
    return read_rates(text, "rate file x.toml").quotes_for(provider, model)


def card(text, model="my-model"):
    (quote,) = quotes(text, model)
    return quote.card


def fault(text):
    with pytest.raises(InputError) as caught:
        read_rates(text, "rate file x.toml")
    return str(caught.value)


def test_a_small_file():
    found = card(SMALL)
    assert found.rates == {STANDARD: (Rate("input_tokens", 2_500_000_000),)}
    assert (found.provider, found.model, found.currency) == ("openai", "my-model", "USD")
    assert (found.effective_from_us, found.effective_to_us) == (0, None)
    assert found.source == "https://example.com/pricing"
    assert found.book == "list"


def test_everything_that_a_card_can_say():
    text = """
    book = "contract"
    [[card]]
    providers = ["deepseek", "x-ai"]
    models = ["big", "big-2*"]
    currency = "CNY"
    source = "contract 17"
    checked = "2026-11-22"
    note = "why"
    effective_from = 2026-08-17T00:00:00+08:00
    effective_to = 2027-01-01T00:00:00Z
    context_tokens = 1000
    max_output_tokens = 500
    unpriced_units = ["input_audio_tokens"]
    [card.rates.standard]
    input_tokens = [{ price = "1" }, { price = "2", above_input_tokens = 200000 }]
    images = { price = "0.04", per = 1, traits = { size = "a", quality = "b" } }
    audio_seconds = { price = "0.1", per = 3600, minimum = 10 }
    characters = "15"
    [card.rates.batch]
    input_tokens = "0.5"
    [[card.windows]]
    start = 09:00:00
    end = 00:00:00
    tz = "Asia/Shanghai"
    weekdays = [1, 5]
    holidays = [2026-10-01]
    [card.windows.rates.standard]
    input_tokens = "3"
    """
    file = read_rates(text, "x")
    assert file.quotes_for("xai", "big") == ()  # what is agreed with us is not what is published
    (entry,), _ = file.listing("xai", "big")
    found = entry.quote_for("xai", "big").card
    assert found.rates == {
        "standard": (
            Rate("input_tokens", 1_000_000_000),
            Rate("input_tokens", 2_000_000_000, above_input_tokens=200_000),
            Rate("images", 40_000_000, 1, traits=(("quality", "b"), ("size", "a"))),
            Rate("audio_seconds", 100_000_000, 3600, minimum=10),
            Rate("characters", 15_000_000_000),
        ),
        "batch": (Rate("input_tokens", 500_000_000),),
    }
    assert found.windows == (
        RateWindow(
            540,
            1440,
            {"standard": (Rate("input_tokens", 3_000_000_000),)},
            frozenset({1, 5}),
            "Asia/Shanghai",
            frozenset({date(2026, 10, 1)}),
        ),
    )
    # midnight in Shanghai is 16:00 UTC of the day before
    assert found.effective_from_us == microseconds_of(datetime(2026, 8, 16, 16, tzinfo=UTC))
    assert found.effective_to_us == microseconds_of(datetime(2027, 1, 1, tzinfo=UTC))
    assert (found.currency, found.book, found.checked) == ("CNY", "contract", "2026-11-22")
    assert (found.context_tokens, found.max_output_tokens) == (1000, 500)
    assert found.unpriced_units == {"input_audio_tokens"}
    assert found.provider == "xai"


@pytest.mark.parametrize(
    ("model", "listed"),
    [("big", True), ("BIG", True), ("big-2", True), ("big-2-turbo", True), ("big-3", False)],
)
def test_names_and_patterns(model, listed):
    text = SMALL.replace('"my-model"', '"big", "big-2*"')
    assert bool(quotes(text, model)) is listed
    assert not quotes(text, model, "azure")


def test_a_pattern_is_no_regular_expression():
    text = SMALL.replace('"my-model"', '"a.c*"')
    assert quotes(text, "a.c-1")
    assert not quotes(text, "abc-1")


def test_an_exact_name_comes_before_a_pattern():
    text = SMALL.replace("my-model", "my-*") + SMALL.replace("2.50", "9")
    assert [quote.card.rates[STANDARD][0].nanos for quote in quotes(text)] == [
        9_000_000_000,
        2_500_000_000,
    ]


def test_a_withdrawn_price():
    text = """
    [[card]]
    providers = ["openai"]
    models = ["my-model"]
    withdrawn = true
    effective_from = 2026-01-01T00:00:00Z
    """
    (quote,) = quotes(text)
    assert quote.card is None
    assert quote.from_us == microseconds_of(datetime(2026, 1, 1, tzinfo=UTC))


def test_cards_of_one_model_may_follow_each_other():
    moment = "2026-01-01T00:00:00Z"
    first = SMALL.replace("[card.rates", f"effective_to = {moment}\n[card.rates")
    second = SMALL.replace("[card.rates", f"effective_from = {moment}\n[card.rates")
    assert len(quotes(first + second)) == 2


@pytest.mark.parametrize(
    ("line", "instead", "found"),
    [
        ('input_tokens = "2.50"', "input_tokens = 2.50", "price = 2.5"),
        ('input_tokens = "2.50"', 'input_tokens = "-1"', "price = '-1'"),
        ('input_tokens = "2.50"', 'input_tokens = "1e3"', "price = '1e3'"),
        ('input_tokens = "2.50"', 'input_tokens = "NaN"', "price = 'NaN'"),
        ('input_tokens = "2.50"', 'input_tokens = ""', "price = ''"),
        ('input_tokens = "2.50"', "input_tokens = true", "price = True"),
        ('input_tokens = "2.50"', 'tokens = "1"', "unit 'tokens'"),
        ('input_tokens = "2.50"', 'images = "0.04"', "a price without per"),
        ('input_tokens = "2.50"', 'images = { price = "1", per = 0 }', "per = 0"),
        ('input_tokens = "2.50"', 'images = { price = "1", per = true }', "per = True"),
        ('input_tokens = "2.50"', 'input_tokens = { price = "1", size = "x" }', "key 'size'"),
        (
            'input_tokens = "2.50"',
            'input_tokens = { price = "1", traits = { size = 1 } }',
            "trait size = 1",
        ),
        ('input_tokens = "2.50"', "", "no rates"),
        ('currency = "USD"', 'currency = "usd"', "currency = 'usd'"),
        ('currency = "USD"', "", "currency = ''"),
        ('source = "https://example.com/pricing"', "", "no source"),
        ('currency = "USD"', 'currency = "USD"\nprice = 1', "key 'price'"),
        ('models = ["my-model"]', "models = []", "no models"),
        ('models = ["my-model"]', "models = [1]", "1 in models"),
        ('models = ["my-model"]', 'models = "my-model"', "models = 'my-model'"),
        ('providers = ["openai"]', "", "no providers"),
        ('currency = "USD"', 'currency = "USD"\nchecked = "soon"', "'soon' in checked"),
        (
            'currency = "USD"',
            'currency = "USD"\neffective_from = 2026-01-01',
            "effective_from = datetime.date",
        ),
        (
            'currency = "USD"',
            'currency = "USD"\neffective_from = 2026-01-01T00:00:00',
            "effective_from = datetime.datetime",
        ),
        (
            'currency = "USD"',
            'currency = "USD"\neffective_from = 2026-01-02T00:00:00Z\n'
            "effective_to = 2026-01-01T00:00:00Z",
            "an effective_to that is not after",
        ),
        (
            'currency = "USD"',
            'currency = "USD"\neffective_from = 0001-01-01T00:00:00+14:00',
            "effective_from = 0001-01-01",
        ),
        ('currency = "USD"', 'currency = "USD"\nwithdrawn = true', "withdrawn = true beside"),
        ('currency = "USD"', 'currency = "USD"\nunpriced_units = ["x"]', "unpriced_units ['x']"),
        ('currency = "USD"', 'currency = "USD"\namends = 1', "amends = 1"),
        ("[card.rates.standard]", "[card.rates]", "rates.input_tokens = '2.50'"),
    ],
)
def test_a_fault_names_the_card_and_what_was_found(line, instead, found):
    message = fault(SMALL.replace(line, instead))
    assert message.startswith("rate file x.toml, card 1 (")
    assert found in message
    assert ", expected " in message


@pytest.mark.parametrize(
    ("window", "found"),
    [
        ("end = 02:00:00", "start = None"),
        ("start = 01:00:30\nend = 02:00:00", "start = datetime.time(1, 0, 30)"),
        ("start = 02:00:00\nend = 01:00:00", "found minutes 120 to 60"),
        ("start = 01:00:00\nend = 02:00:00\nweekdays = [0]", "weekdays = [0]"),
        ('start = 01:00:00\nend = 02:00:00\ntz = "Mars"', "'Mars'"),
        ('start = 01:00:00\nend = 02:00:00\nholidays = ["x"]', "'x' in holidays"),
    ],
)
def test_a_fault_in_a_window_names_the_window(window, found):
    rates = '[card.windows.rates.standard]\ninput_tokens = "1"\n'
    message = fault(f"{SMALL}[[card.windows]]\n{window}\n{rates}")
    assert "window 1" in message
    assert found in message


def test_two_cards_for_one_model_at_one_time_are_refused():
    message = fault(SMALL + SMALL.replace("2.50", "9"))
    assert "two cards for openai my-model at the same time" in message


@pytest.mark.parametrize("text", ["", "card = []", "[card", "x = 1", "card = 1", "card = [1]"])
def test_what_is_no_rate_file_is_refused(text):
    assert fault(text).startswith("rate file x.toml ")


def test_a_file_is_read_from_disk(tmp_path: Path):
    path = tmp_path / "rates.toml"
    path.write_text(SMALL)
    assert load_rate_file(path).quotes_for("openai", "my-model")


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot read the rate file .*: No such file"):
        load_rate_file(tmp_path / "none.toml")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        load_rate_file(path)


def test_the_bundled_file_names_its_source_and_day_for_each_price():
    entries = bundled_rates().entries
    assert len(entries) > 30
    for entry in entries:
        if entry.quote.card is not None:
            assert entry.quote.card.source
            assert date.fromisoformat(entry.quote.card.checked) <= date(2026, 11, 22)


def test_the_bundled_file_is_beside_its_reader():
    assert Path(overlay.__file__).with_name("overlay.toml").is_file()
