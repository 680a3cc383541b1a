"""Rate files in other formats than TOML: the same cards, as strictly."""

import json
from datetime import UTC, datetime

import pytest

from meter.core.money import nanos_to_text
from meter.core.rates import microseconds_of
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.errors import InputError
from meter.prices.book import PriceBook
from meter.prices.formats import format_of, load_rate_file, read_text
from meter.prices.litellm import read_price_map

NOW = microseconds_of(datetime(2026, 11, 22, 12, tzinfo=UTC))  # a Sunday

CSV = """\
provider,model,tier,unit,price,per,currency,source,checked,traits,above_input_tokens
openai,my-model,,input_tokens,2.50,,USD,https://example.com,2026-11-22,,
openai,my-model,,input_tokens,5,,USD,https://example.com,2026-11-22,,200000
openai,my-model,,output_tokens,10,,USD,https://example.com,2026-11-22,,
openai,my-model,batch,output_tokens,5,,USD,https://example.com,2026-11-22,,
openai,画图,,images,0.04,1,CNY,https://example.com,2026-11-22,size=1024x1024;quality=hd,
"""

TOML = """
[[card]]
providers = ["openai"]
models = ["my-model"]
currency = "USD"
source = "https://example.com"
checked = "2026-11-22"
[card.rates.standard]
input_tokens = [{ price = "2.50" }, { price = "5", above_input_tokens = 200000 }]
output_tokens = "10"
[card.rates.batch]
output_tokens = "5"
"""

YAML = """
card:
  - providers: [openai]
    models: [my-model]
    currency: USD
    source: https://example.com
    checked: "2026-11-22"
    rates:
      standard:
        input_tokens: [{price: "2.50"}, {price: "5", above_input_tokens: 200000}]
        output_tokens: "10"
      batch: {output_tokens: "5"}
"""


def card(text, format, model="my-model", provider="openai"):
    book = PriceBook([read_text(text, format, "x")])
    return book.card_for(provider, model, NOW)


def test_all_formats_make_the_same_card():
    made = card(TOML, "toml")
    assert card(CSV, "csv") == made
    assert card(YAML, "yaml") == made
    assert card(CSV, "csv").id == made.id


def test_a_trait_of_a_spreadsheet():
    (found,) = card(CSV, "csv", "画图").rates["standard"]
    assert (found.traits, found.nanos, found.per) == (
        (("quality", "hd"), ("size", "1024x1024")), 40_000_000, 1,
    )  # fmt: skip


def test_a_spreadsheet_may_say_whose_price_it_is_and_when():
    text = (
        "provider,model,unit,price,currency,source,book,subject,effective_from\n"
        "openai,m,output_tokens,3,CNY,contract 17,resale,alice,2026-11-01T00:00:00+08:00\n"
    )
    (entry,) = read_text(text, "csv", "x").entries
    assert (entry.book, entry.parties.subjects) == ("resale", {"alice"})
    assert entry.quote.from_us == microseconds_of(datetime(2026, 10, 31, 16, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no column 'provider'"),
        ("a,b\n", "the column 'a'"),
        ("provider,model,unit,price,currency\n", "no column 'source'"),
        (CSV.replace("2.50,,USD", "2.50,,USD,more"), "line 2 has not as many fields"),
        (CSV.replace("2.50", "2;50"), "price = '2;50'"),
        (CSV.replace("0.04,1,", "0.04,one,"), "line 6 has per = 'one'"),
        (CSV.replace("CNY", "yuan"), "currency = 'yuan'"),
        (CSV.replace(",input_tokens,2", ",tokens,2"), "the unit 'tokens'"),
        ("provider,provider,model,unit,price,currency,source\n", "a column twice"),
        ('provider,model,unit,price,currency,source\n"a', "is not CSV"),
    ],
)
def test_a_fault_in_a_spreadsheet_names_its_place(text, found):
    with pytest.raises(InputError) as raised:
        read_text(text, "csv", "rate file x.csv")
    assert str(raised.value).startswith("rate file x.csv")
    assert found in str(raised.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("card: [", "is not YAML"),
        ("- 1", "is a list, expected a mapping"),
        (YAML.replace('"10"', "10.0"), "price = 10.0"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_fault_in_yaml_is_named(text, found):
    with pytest.raises(InputError, match=r"x\.yaml") as raised:
        read_text(text, "yaml", "rate file x.yaml")
    assert found in str(raised.value)


def test_the_name_of_a_file_says_its_format(tmp_path):
    assert [format_of(name) for name in ("a.toml", "a.YML", "a.csv", "a.json")] == [
        "toml", "yaml", "csv", "litellm",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"found the rate file a\.txt"):
        format_of("a.txt")
    path = tmp_path / "rates.csv"
    path.write_bytes(b"\xef\xbb\xbf" + CSV.encode())  # as a spreadsheet writes it
    assert len(load_rate_file(path).entries) == 2


# --- LiteLLM's price map ------------------------------------------------------------------------

MAP = {
    "sample_spec": {"litellm_provider": "one of", "input_cost_per_token": 0.0},
    "gpt-x": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": 1050000,
        "max_output_tokens": 128000,
        "input_cost_per_token": 2.5e-06,
        "input_cost_per_token_above_272k_tokens": 5e-06,
        "input_cost_per_token_batches": 1.25e-06,
        "output_cost_per_token": 1.5e-05,
        "output_cost_per_token_above_272k_tokens": 2.25e-05,
        "output_cost_per_token_batches": 7.5e-06,
        "cache_read_input_token_cost": 2.5e-07,
        "search_context_cost_per_query": {
            "search_context_size_low": 0.01, "search_context_size_medium": 0.01,
        },
        "source": "https://example.com/gpt-x",
    },
    "anthropic/claude-x": {
        "litellm_provider": "anthropic",
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_creation_input_token_cost_above_1hr": 6e-06,
        "cache_read_input_token_cost": 3e-07,
    },
    "1024-x-1024/dall-e-2": {
        "litellm_provider": "openai", "mode": "image_generation",
        "input_cost_per_pixel": 1.9e-08, "output_cost_per_pixel": None,
    },
    "hd/1024-x-1792/dall-e-3": {
        "litellm_provider": "openai", "mode": "image_generation", "input_cost_per_pixel": 6.539e-08,
    },
    "standard/1024-x-1024/dall-e-3": {
        "litellm_provider": "openai", "mode": "image_generation",
        "input_cost_per_pixel": 3.81469e-08,
    },
    "whisper-1": {
        "litellm_provider": "openai", "mode": "audio_transcription",
        "input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001,
    },
    "azure/speech/tts": {
        "litellm_provider": "azure", "mode": "audio_speech", "input_cost_per_character": 1.5e-05,
    },
    "deepseek/deepseek-flash": {
        "litellm_provider": "deepseek",
        "input_cost_per_token": 3e-07,
        "input_cost_per_token_cache_hit": 6e-09,
        "cache_read_input_token_cost": 6e-09,
        "output_cost_per_token": 1.2e-06,
        "off_peak_pricing": {
            "hours_utc": "16:30-00:30",
            "input_cost_per_token": 1.5e-07,
            "output_cost_per_token": 6e-07,
        },
    },
    "strange": {"litellm_provider": "openai", "input_cost_per_token": 1e-6,
                "input_cost_per_video_per_second_above_8s_interval": 0.1},
    "several": {"litellm_provider": "openai", "input_cost_per_token": 1e-6,
                "search_context_cost_per_query": {"low": 0.03, "high": 0.05}},
    "negative": {"litellm_provider": "openai", "input_cost_per_token": -1e-6},
    "unpriced": {"litellm_provider": "openai", "mode": "chat"},
    "gpt-*": {"litellm_provider": "openai", "input_cost_per_token": 1e-6},
    " ": {"litellm_provider": "openai", "input_cost_per_token": 1e-6},
    "tiny": {"litellm_provider": "openai", "input_cost_per_token": 1e-30},
    "nobody": {"input_cost_per_token": 1e-6},
    "openai/gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 9e-6},
}  # fmt: skip


def cost(provider, model, at_us=NOW, tier=None, traits=None, **quantities):
    found = card(json.dumps(MAP), "litellm", model, provider)
    charge = rate(Usage(quantities), found, at_us=at_us, tier=tier, traits=traits)
    return nanos_to_text(charge.amount_nanos)


def test_a_price_map_is_read_exactly():
    # 600 × 2.50 + 400 × 0.25 + 100 × 15 for 1,000,000 = 0.0015 + 0.0001 + 0.0015
    assert cost(
        "openai", "gpt-x", input_tokens=1000, cache_read_tokens=400, output_tokens=100
    ) == "0.0031"  # fmt: skip
    # 272,001 × 5 + 100 × 22.5 = 1.360005 + 0.00225
    assert cost("openai", "gpt-x", input_tokens=272_001, output_tokens=100) == "1.362255"
    # batch: 1,000 × 1.25 + 100 × 7.5
    assert cost("openai", "gpt-x", tier="batch", input_tokens=1000, output_tokens=100) == "0.002"
    # 2 searches × 0.01
    assert cost("openai", "gpt-x", input_tokens=0, searches=2) == "0.02"
    # 100 × 3 + 500 × 6 (one hour) + 400 × 0.30
    assert cost(
        "anthropic", "claude-x", input_tokens=1000, cache_write_tokens=500,
        cache_write_1h_tokens=500, cache_read_tokens=400,
    ) == "0.00342"  # fmt: skip
    # 2 × 1024 × 1024 × 0.000000019
    traits = {"size": "1024x1024"}
    assert cost("openai", "dall-e-2", traits=traits, images=2) == "0.039845888"
    # 1024 × 1024 × 0.0000000381469 = 0.0399999238144: 39,999,924 nanos
    traits = {"size": "1024x1024", "quality": "standard"}
    assert cost("openai", "dall-e-3", traits=traits, images=1) == "0.039999924"
    assert cost("openai", "whisper-1", audio_seconds=9) == "0.0009"
    assert cost("azure", "speech/tts", characters=1000) == "0.015"


def test_off_peak_hours_past_midnight_are_two_windows():
    def at(hour, minute):
        return microseconds_of(datetime(2026, 11, 22, hour, minute, tzinfo=UTC))

    spent = {"input_tokens": 1_000_000, "output_tokens": 1_000_000, "cache_read_tokens": 0}
    for moment, usd in [
        (at(16, 29), "1.5"), (at(16, 30), "0.75"), (at(23, 59), "0.75"), (at(0, 0), "0.75"),
        (at(0, 29), "0.75"), (at(0, 30), "1.5"),
    ]:  # fmt: skip
        assert cost("deepseek", "deepseek-flash", moment, **spent) == usd
    # Cached tokens have no price of their own off peak: 1,000,000 × 0.006
    assert cost("deepseek", "deepseek-flash", at(20, 0), input_tokens=10**6,
                cache_read_tokens=10**6) == "0.006"  # fmt: skip


def test_weekdays_of_off_peak_windows():
    block = {
        "windows": [{"hours_utc": ["01:00-04:00", "06:00-10:00"], "weekdays": ["Mon", "fri"]}],
        "input_cost_per_token": 1e-6,
    }
    entry = {"litellm_provider": "openai", "input_cost_per_token": 2e-6, "off_peak_pricing": block}
    windows = card(json.dumps({"m": entry}), "litellm", "m").windows
    assert [(w.start_minute, w.end_minute, sorted(w.weekdays)) for w in windows] == [
        (60, 240, [1, 5]), (360, 600, [1, 5]),
    ]  # fmt: skip


def test_what_cannot_be_told_apart_is_left_out_and_named():
    assert read_price_map(json.dumps(MAP), "x").left_out == {
        "strange": "input_cost_per_video_per_second_above_8s_interval is not read",
        "several": "a search has several prices, and a call does not show which",
        "negative": "input_cost_per_token is Decimal('-0.000001'), not a price",
        "unpriced": "it has no price",
        "gpt-*": "it is the name of no single model",
        " ": "it is the name of no single model",
        "tiny": "the price 0.000000000000000000000001 has more digits than a price can have",
        "nobody": "it names no provider",
        "openai/gpt-x": "openai gpt-x is listed twice",
    }


def test_limits_and_sources_are_kept():
    found = card(json.dumps(MAP), "litellm", "gpt-x")
    assert (found.context_tokens, found.max_output_tokens) == (1_050_000, 128_000)
    assert found.source == "LiteLLM price map (https://example.com/gpt-x)"


@pytest.mark.parametrize("text", ["", "[", "[1]", "1", '{"a": {"x": 1}}'])
def test_what_is_no_price_map_is_refused(text):
    with pytest.raises(InputError, match=r"rate file x\.json"):
        read_text(text, "litellm", "rate file x.json")
