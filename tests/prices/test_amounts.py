"""What calls cost with the bundled prices: each amount was worked out by hand, beside it.

Prices in the comments are USD for 1,000,000 tokens unless they say otherwise.
"""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from meter.core.money import nanos_to_text
from meter.core.rates import microseconds_of
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.prices.book import PriceBook

BOOK = PriceBook.bundled()
NOV = "2026-11-22T12:00:00"  # a Sunday


def at(moment):
    return microseconds_of(datetime.fromisoformat(moment).replace(tzinfo=UTC))


def charge(provider, model, moment=NOV, tier=None, traits=None, **quantities):
    card = BOOK.card_for(provider, model, at(moment))
    return rate(Usage(quantities), card, at_us=at(moment), tier=tier, traits=traits)


def cost(provider, model, moment=NOV, tier=None, traits=None, **quantities):
    """The amount in USD as text; a sentence beginning with "unpriced" when there is none."""
    rated = charge(provider, model, moment, tier, traits, **quantities)
    if rated.amount_nanos is None:
        return f"unpriced: {rated.unpriced}"
    assert rated.currency == "USD"
    return nanos_to_text(rated.amount_nanos)


PUBLISHED = [
    # The amounts of the facts that came with this product.
    # 300,000 > 200,000: 300,000 × 2.50 + 1,000 × 15 = 0.75 + 0.015
    ("google", "gemini-2.5-pro", {"input_tokens": 300_000, "output_tokens": 1_000}, "0.765"),
    # 200,000 is not above 200,000: 200,000 × 1.25 + 1,000 × 10 = 0.25 + 0.01
    ("google", "gemini-2.5-pro", {"input_tokens": 200_000, "output_tokens": 1_000}, "0.26"),
    # 9 s × 0.36 / 3,600 s
    ("openai", "whisper-1", {"audio_seconds": 9}, "0.0009"),
    # 1,000 × 15 for 1,000,000 characters
    ("openai", "tts-1", {"characters": 1_000}, "0.015"),
    # 1,000 × 1.25 + 100 × 10 + 2 × 10 / 1,000 searches = 0.00125 + 0.001 + 0.02
    ("openai", "gpt-5", {"input_tokens": 1_000, "output_tokens": 100, "searches": 2}, "0.02225"),
    # 10 text × 5 + 40 image × 10 + 50 out × 40 = 0.00005 + 0.0004 + 0.002
    (
        "openai",
        "gpt-image-1",
        {"input_tokens": 50, "input_image_tokens": 40, "output_tokens": 50},
        "0.00245",
    ),
    # xAI's own bill: 9,992 × 1.25 + 128 × 0.20 + 4,308 × 2.50 = 0.01249 + 0.0000256 + 0.01077
    (
        "xai",
        "grok-4.3",
        {
            "input_tokens": 10_120,
            "cache_read_tokens": 128,
            "output_tokens": 4_308,
            "reasoning_tokens": 2_809,
        },
        "0.0232856",
    ),
]


@pytest.mark.parametrize(("provider", "model", "usage", "usd"), PUBLISHED)
def test_amounts_that_are_known_from_outside(provider, model, usage, usd):
    assert cost(provider, model, **usage) == usd


TOKENS = [
    # 1,000 × 2.50 + 500 × 10 = 0.0025 + 0.005
    ("openai", "gpt-4o", 1_000, 500, "0.0075"),
    # 1,000 × 0.15 + 500 × 0.60 = 0.00015 + 0.0003
    ("openai", "gpt-4o-mini", 1_000, 500, "0.00045"),
    # one token in, one out: 0.00000015 + 0.0000006
    ("openai", "gpt-4o-mini", 1, 1, "0.00000075"),
    # 1,000 × 2 + 500 × 8
    ("openai", "gpt-4.1", 1_000, 500, "0.006"),
    # 1,000 × 0.05 + 500 × 0.40 = 0.00005 + 0.0002
    ("openai", "gpt-5-nano", 1_000, 500, "0.00025"),
    # 272,000 × 10 + 1,000 × 50 = 2.72 + 0.05: the threshold itself is short context
    ("openai", "gpt-6-astra", 272_000, 1_000, "2.77"),
    # 272,001 × 20 + 1,000 × 75 = 5.44002 + 0.075: one more token, and all of them cost double
    ("openai", "gpt-6-astra", 272_001, 1_000, "5.51502"),
    # 272,000 × 4 + 1,000 × 20 = 1.088 + 0.02
    ("openai", "gpt-5.6-sol", 272_000, 1_000, "1.108"),
    # 300,000 × 8 + 1,000 × 30 = 2.4 + 0.03
    ("openai", "gpt-5.6-sol", 300_000, 1_000, "2.43"),
    # 1,000 × 2 + 500 × 12
    ("openai", "gpt-5.6-terra", 1_000, 500, "0.008"),
    # 1,000 × 0.20 + 500 × 1.20
    ("openai", "gpt-5.6-luna", 1_000, 500, "0.0008"),
    # 1,000 × 5 + 500 × 30
    ("openai", "gpt-5.5", 1_000, 500, "0.02"),
    # 1,000 × 15 + 500 × 60
    ("openai", "o1", 1_000, 500, "0.045"),
    # 1,000 × 0.50 + 500 × 1.50
    ("openai", "gpt-3.5-turbo", 1_000, 500, "0.00125"),
    # legacy completions: 1,000 × 1.50 + 500 × 2
    ("openai", "gpt-3.5-turbo-instruct", 1_000, 500, "0.0025"),
    # embeddings: 1,000 × 0.02, 1,000 × 0.13, 1,000 × 0.10
    ("openai", "text-embedding-3-small", 1_000, 0, "0.00002"),
    ("openai", "text-embedding-3-large", 1_000, 0, "0.00013"),
    ("openai", "text-embedding-ada-002", 1_000, 0, "0.0001"),
    # Azure bills OpenAI's models at OpenAI's price: 1,000 × 2.50 + 500 × 10
    ("azure", "gpt-4o", 1_000, 500, "0.0075"),
    # 1,000 × 5 + 500 × 25
    ("anthropic", "claude-opus-5", 1_000, 500, "0.0175"),
    # 1,000 × 0.50 + 500 × 1.50; genai-prices has 2 and 6
    ("mistral", "mistral-large-latest", 1_000, 500, "0.00125"),
    # 1,000 × 0.60 + 500 × 2.20 = 0.0006 + 0.0011
    ("zai", "glm-4.6", 1_000, 500, "0.0017"),
    # 1,000 × 2.50 + 500 × 10
    ("cohere", "command-a", 1_000, 500, "0.0075"),
    # 1,000,000 × 0.0375 + 1,000,000 × 0.15
    ("cohere", "command-r7b-12-2024", 1_000_000, 1_000_000, "0.1875"),
    # 3 × 0.0375 = 112.5 nanos, to the even 112; 1 × 0.15 = 150 nanos
    ("cohere", "command-r7b-12-2024", 3, 1, "0.000000262"),
    # fine-tuned: 1,000 × 0.30 + 500 × 1.20, twice the base
    ("openai", "ft:gpt-4o-mini:org::id", 1_000, 500, "0.0009"),
    # 1,000 × 3.75 + 500 × 15
    ("openai", "ft:gpt-4o-2024-08-06:org:name:id", 1_000, 500, "0.01125"),
]


@pytest.mark.parametrize(("provider", "model", "input_tokens", "output_tokens", "usd"), TOKENS)
def test_plain_token_amounts(provider, model, input_tokens, output_tokens, usd):
    assert cost(provider, model, input_tokens=input_tokens, output_tokens=output_tokens) == usd


CACHES = [
    # 600 × 2.50 + 400 × 1.25 + 100 × 10 = 0.0015 + 0.0005 + 0.001
    (
        "openai",
        "gpt-4o",
        {"input_tokens": 1_000, "cache_read_tokens": 400, "output_tokens": 100},
        "0.003",
    ),
    # reasoning is inside output: 1,000 × 1.25 + 500 × 10, not 700 × 10
    (
        "openai",
        "gpt-5",
        {"input_tokens": 1_000, "output_tokens": 500, "reasoning_tokens": 200},
        "0.00625",
    ),
    # 500 × 10 + 300 read × 1 + 200 written × 12.50 = 0.005 + 0.0003 + 0.0025
    (
        "openai",
        "gpt-6-astra",
        {"input_tokens": 1_000, "cache_read_tokens": 300, "cache_write_tokens": 200},
        "0.0078",
    ),
    # the same, written for 12 hours: 0.005 + 0.0003 + 200 × 25 = 0.0053 + 0.005
    (
        "openai",
        "gpt-6-astra",
        {
            "input_tokens": 1_000,
            "cache_read_tokens": 300,
            "cache_write_tokens": 200,
            "cache_write_12h_tokens": 200,
        },
        "0.0103",
    ),
    # 10 × 5 + 5 read × 0.50 + 10 five-minute × 6.25 + 20 one-hour × 10 + 7 out × 25
    # = 0.00005 + 0.0000025 + 0.0000625 + 0.0002 + 0.000175
    (
        "anthropic",
        "claude-opus-5",
        {
            "input_tokens": 45,
            "cache_read_tokens": 5,
            "cache_write_tokens": 30,
            "cache_write_5m_tokens": 10,
            "cache_write_1h_tokens": 20,
            "output_tokens": 7,
        },
        "0.00049",
    ),
    # reads of Fable 5.1 cost 0.25, a fortieth of its input: 1,000 × 0.25
    (
        "anthropic",
        "claude-fable-5-1",
        {"input_tokens": 1_000, "cache_read_tokens": 1_000},
        "0.00025",
    ),
    # two searches at 10 for 1,000, and 100 × 5 + 10 × 25 = 0.02 + 0.0005 + 0.00025
    (
        "anthropic",
        "claude-opus-5",
        {"input_tokens": 100, "output_tokens": 10, "searches": 2},
        "0.02075",
    ),
    # 900 text × 4 + 64 cached × 0.40 + 36 audio × 32 + 30 text out × 24 + 91 audio out × 64
    # = 0.0036 + 0.0000256 + 0.001152 + 0.00072 + 0.005824
    (
        "openai",
        "gpt-realtime-2.1",
        {
            "input_tokens": 1_000,
            "cache_read_tokens": 64,
            "input_audio_tokens": 36,
            "output_tokens": 121,
            "output_audio_tokens": 91,
        },
        "0.0113216",
    ),
    # no cache price is published for gpt-3.5-turbo: cached input is input, 1,000 × 0.50
    (
        "openai",
        "gpt-3.5-turbo",
        {"input_tokens": 1_000, "cache_read_tokens": 400, "output_tokens": 0},
        "0.0005",
    ),
    # audio at 40 and 80, which genai-prices lacks: 80 × 2.50 + 20 × 40 + 50 × 10 + 50 × 80
    # = 0.0002 + 0.0008 + 0.0005 + 0.004
    (
        "openai",
        "gpt-4o-audio-preview",
        {
            "input_tokens": 100,
            "input_audio_tokens": 20,
            "output_tokens": 100,
            "output_audio_tokens": 50,
        },
        "0.0055",
    ),
    # transcription by tokens: 14 audio × 3 + 45 × 5 = 0.000042 + 0.000225
    (
        "openai",
        "gpt-4o-mini-transcribe",
        {"input_tokens": 14, "input_audio_tokens": 14, "output_tokens": 45},
        "0.000267",
    ),
]


@pytest.mark.parametrize(("provider", "model", "usage", "usd"), CACHES)
def test_buckets_inside_others_are_billed_once(provider, model, usage, usd):
    assert cost(provider, model, **usage) == usd


TIERS = [
    # (model, tier): 1,000 in and 500 out
    # 1,000 × 1.25 + 500 × 5
    ("openai", "gpt-4o", "batch", "0.00375"),
    # 1,000 × 4.25 + 500 × 17
    ("openai", "gpt-4o", "priority", "0.01275"),
    # gpt-4o is not offered in flex: unpriced, not standard
    ("openai", "gpt-4o", "flex", None),
    # 1,000 × 0.625 + 500 × 5
    ("openai", "gpt-5", "flex", "0.003125"),
    # 1,000 × 2.50 + 500 × 20
    ("openai", "gpt-5", "priority", "0.0125"),
    # 1,000 × 0.45 + 500 × 3.60: priority is 1.8 times the standard here
    ("openai", "gpt-5-mini", "priority", "0.00225"),
    # 1,000 × 3.50 + 500 × 14: and 1.75 times here
    ("openai", "gpt-4.1", "priority", "0.0105"),
    # 1,000 × 20 + 500 × 100
    ("openai", "gpt-6-astra", "priority", "0.07"),
    # 1,000 × 5 + 500 × 25
    ("openai", "gpt-6-astra", "flex", "0.0175"),
    # six times the standard, by hearsay: unpriced, above all not 0.035
    ("openai", "gpt-6-astra", "ultrafast", None),
    # the batch table has the standard prices here: 1,000 × 1 + 500 × 2
    ("openai", "gpt-3.5-turbo-1106", "batch", "0.002"),
    # 1,000 × 2.50 + 500 × 12.50
    ("anthropic", "claude-opus-5", "batch", "0.00875"),
    # 1,000 × 10 + 500 × 50
    ("anthropic", "claude-opus-5", "fast", "0.035"),
    # bought in advance, so there is no price for a token
    ("anthropic", "claude-opus-5", "priority", None),
    # 1,000 × 0.625 + 500 × 5
    ("google", "gemini-2.5-pro", "batch", "0.003125"),
    # Azure's own tiers are not OpenAI's
    ("azure", "gpt-4o", "batch", None),
    # 1,000 × 0.25 + 500 × 0.75
    ("mistral", "mistral-large-latest", "batch", "0.000625"),
]


@pytest.mark.parametrize(("provider", "model", "tier", "usd"), TIERS)
def test_tiers_have_prices_of_their_own(provider, model, tier, usd):
    found = cost(provider, model, tier=tier, input_tokens=1_000, output_tokens=500)
    if usd is None:
        assert found.startswith("unpriced") and repr(tier) in found
    else:
        assert found == usd


@pytest.mark.parametrize("tier", [None, "standard"])
def test_a_call_without_a_tier_is_standard(tier):
    assert cost("openai", "gpt-4.1", tier=tier, input_tokens=1_000, output_tokens=500) == "0.006"


DATES = [
    # o3 cost 10 / 2.50 / 40 until 2025-06-10: 600 × 10 + 400 × 2.50 + 100 × 40
    # = 0.006 + 0.001 + 0.004
    ("o3", "2025-06-09T23:59:59", "0.011"),
    # and 2 / 0.50 / 8 since: 600 × 2 + 400 × 0.50 + 100 × 8 = 0.0012 + 0.0002 + 0.0008
    ("o3", "2025-06-10T00:00:00", "0.0022"),
    # a snapshot has the price of its day, too
    ("o3-2025-04-16", "2025-06-09T23:59:59", "0.011"),
    # gpt-5.6-sol was 5 / 0.50 / 30 until 2026-08-21: 0.003 + 0.0002 + 0.003
    ("gpt-5.6-sol", "2026-08-20T23:59:59", "0.0062"),
    # and is 4 / 0.40 / 20 since: 0.0024 + 0.00016 + 0.002
    ("gpt-5.6-sol", "2026-08-21T00:00:00", "0.00456"),
    # the first gpt-4o cost 5 and 15, without a cached price: 1,000 × 5 + 100 × 15
    ("gpt-4o-2024-05-13", NOV, "0.0065"),
]


@pytest.mark.parametrize(("model", "moment", "usd"), DATES)
def test_the_price_of_the_day_counts(model, moment, usd):
    usage = {"input_tokens": 1_000, "cache_read_tokens": 400, "output_tokens": 100}
    assert cost("openai", model, moment, **usage) == usd


DEEPSEEK = [
    # 60 missed, 40 hit, 20 out. v4-pro off-peak: 60 × 0.66 + 40 × 0.022 + 20 × 1.98
    # = 39.6 + 0.88 + 39.6 = 80.08 millionths; peak is twice that
    ("deepseek-v4-pro", "2026-11-20T00:59:59", "0.00008008"),  # Friday
    ("deepseek-v4-pro", "2026-11-20T01:00:00", "0.00016016"),
    ("deepseek-v4-pro", "2026-11-20T03:59:59", "0.00016016"),
    ("deepseek-v4-pro", "2026-11-20T04:00:00", "0.00008008"),
    ("deepseek-v4-pro", "2026-11-20T06:00:00", "0.00016016"),
    ("deepseek-v4-pro", "2026-11-20T10:00:00", "0.00008008"),
    # Saturday and Sunday at 02:00 are off-peak
    ("deepseek-v4-pro", "2026-11-21T02:00:00", "0.00008008"),
    ("deepseek-v4-pro", "2026-11-22T02:00:00", "0.00008008"),
    # National Day, a Thursday, is a holiday; the Thursday after is none
    ("deepseek-v4-pro", "2026-10-01T02:00:00", "0.00008008"),
    ("deepseek-v4-pro", "2026-10-08T02:00:00", "0.00016016"),
    # before 2026-08-16 16:00 UTC: 60 × 0.435 + 40 × 0.003625 + 20 × 0.87
    # = 26.1 + 0.145 + 17.4 = 43.645 millionths, at every hour
    ("deepseek-v4-pro", "2026-08-14T02:00:00", "0.000043645"),
    ("deepseek-v4-pro", "2026-08-16T15:59:59", "0.000043645"),
    ("deepseek-v4-pro", "2026-08-16T16:00:00", "0.00008008"),
    ("deepseek-v4-pro", "2026-08-17T01:00:00", "0.00016016"),  # Monday
    # the one Saturday before weekends became off-peak
    ("deepseek-v4-pro", "2026-08-22T02:00:00", "0.00016016"),
    # flash off-peak: 60 × 0.15 + 40 × 0.003 + 20 × 0.60 = 9 + 0.12 + 12 millionths
    ("deepseek-flash", "2026-11-20T12:00:00", "0.00002112"),
    ("deepseek-flash", "2026-11-20T09:59:59", "0.00004224"),
    # under its old name, before: 60 × 0.22 + 40 × 0.007 + 20 × 0.66 = 13.2 + 0.28 + 13.2
    ("deepseek-v4-flash", "2026-09-09T12:00:00", "0.00002668"),
    ("deepseek-v4-flash", "2026-09-10T12:00:00", "0.00002112"),
    # V3.2: 60 × 0.28 + 40 × 0.028 + 20 × 0.42 = 16.8 + 1.12 + 8.4
    ("deepseek-chat", "2026-01-15T02:00:00", "0.00002632"),
    # then V4 Flash under the old name: 60 × 0.14 + 40 × 0.0028 + 20 × 0.28 = 8.4 + 0.112 + 5.6
    ("deepseek-chat", "2026-07-24T15:58:59", "0.000014112"),
]


@pytest.mark.parametrize(("model", "moment", "usd"), DEEPSEEK)
def test_deepseek_peak_hours(model, moment, usd):
    usage = {"input_tokens": 100, "cache_read_tokens": 40, "output_tokens": 20}
    assert cost("deepseek", model, moment, **usage) == usd


PIECES = [
    ("openai", "dall-e-3", {"size": "1024x1024", "quality": "standard"}, {"images": 1}, "0.04"),
    ("openai", "dall-e-3", {"size": "1792x1024", "quality": "standard"}, {"images": 1}, "0.08"),
    ("openai", "dall-e-3", {"size": "1024x1024", "quality": "hd"}, {"images": 1}, "0.08"),
    # 2 × 0.12
    ("openai", "dall-e-3", {"size": "1024x1792", "quality": "hd"}, {"images": 2}, "0.24"),
    # 3 × 0.016, 4 × 0.018, 10 × 0.02
    ("openai", "dall-e-2", {"size": "256x256"}, {"images": 3}, "0.048"),
    ("openai", "dall-e-2", {"size": "512x512"}, {"images": 4}, "0.072"),
    ("openai", "dall-e-2", {"size": "1024x1024"}, {"images": 10}, "0.2"),
    # 8 s × 0.10, 12 s × 0.50
    ("openai", "sora-2", {"size": "1280x720"}, {"video_seconds": 8}, "0.8"),
    ("openai", "sora-2-pro", {"size": "1792x1024"}, {"video_seconds": 12}, "6"),
    # 27.4 s × 0.36 / 3,600 s
    ("openai", "whisper-1", {}, {"audio_seconds": Decimal("27.4")}, "0.00274"),
    # 60 s × 0.27 / 3,600 s: the published 0.0045 a minute
    ("openai", "gpt-transcribe", {}, {"audio_seconds": 60}, "0.0045"),
    # 2,000 characters × 30 for a million
    ("openai", "tts-1-hd", {}, {"characters": 2_000}, "0.06"),
    # 14 × 0.60 + 101 audio × 12 = 0.0000084 + 0.001212
    (
        "openai",
        "gpt-4o-mini-tts",
        {},
        {"input_tokens": 14, "output_tokens": 101},
        "0.0012204",
    ),
    # Groq bills a clip as 10 s at least: 10 × 0.111 / 3,600 = 0.000308333…
    ("groq", "whisper-large-v3", {}, {"audio_seconds": 3}, "0.000308333"),
    # 3,600 s × 0.111 / 3,600
    ("groq", "whisper-large-v3", {}, {"audio_seconds": 3_600}, "0.111"),
    # 1,000,000 trained tokens × 25, and 20,000 × 3
    ("openai", "gpt-4.1-2025-04-14", {}, {"trained_tokens": 1_000_000}, "25"),
    ("openai", "gpt-4o-mini-2024-07-18", {}, {"trained_tokens": 20_000}, "0.06"),
    # each call of a search model is one search: 25 / 1,000 + 100 × 2.50 + 100 × 10
    # = 0.025 + 0.00025 + 0.001
    (
        "openai",
        "gpt-4o-search-preview",
        {},
        {"input_tokens": 100, "output_tokens": 100},
        "0.02625",
    ),
    # 500 pages at 1 for 1,000
    ("mistral", "mistral-ocr-2503", {}, {"pages": 500}, "0.5"),
]


@pytest.mark.parametrize(("provider", "model", "traits", "usage", "usd"), PIECES)
def test_what_is_not_billed_by_the_token(provider, model, traits, usage, usd):
    assert cost(provider, model, traits=traits, **usage) == usd


def test_perplexity_bills_the_request_by_how_much_was_searched():
    usage = {"input_tokens": 1_000, "output_tokens": 1_000}
    # 1,000 × 1 + 1,000 × 1 = 0.002, and 0.005, 0.008 or 0.012 for the request
    for size, usd in (("low", "0.007"), ("medium", "0.01"), ("high", "0.014")):
        traits = {"search_context_size": size}
        assert cost("perplexity", "sonar", "2026-09-01T00:00:00", traits=traits, **usage) == usd


UNPRICED = [
    ("openai", "gpt-6.2-sol", NOV, {}, {"input_tokens": 1}),
    ("openai", "no-such-model", NOV, {}, {"input_tokens": 1}),
    ("ollama", "llama3.3", NOV, {}, {"input_tokens": 1}),
    ("zhizengzeng", "gpt-4o", NOV, {}, {"input_tokens": 1}),
    ("dashscope", "qwen-max", NOV, {}, {"input_tokens": 1}),
    # a fine-tuned model without a price is not its base model
    ("openai", "ft:gpt-4.1-2025-04-14:org::id", NOV, {}, {"input_tokens": 1}),
    # a size that is not on the list, or was not said
    ("openai", "dall-e-3", NOV, {"size": "64x64", "quality": "standard"}, {"images": 1}),
    ("openai", "dall-e-3", NOV, {}, {"images": 1}),
    # seconds, where only tokens have a price
    ("openai", "gpt-4o-mini-transcribe", NOV, {}, {"audio_seconds": 9}),
    # which snapshot the name stood for, and so the price of its audio, was not found
    (
        "openai",
        "gpt-4o-audio-preview",
        "2025-01-01T00:00:00",
        {},
        {"input_tokens": 10, "input_audio_tokens": 5},
    ),
    # a 12-hour cache write whose price was not found is not a 30-minute one
    (
        "openai",
        "gpt-5.6-sol",
        NOV,
        {},
        {"input_tokens": 10, "cache_write_tokens": 5, "cache_write_12h_tokens": 5},
    ),
    # the fee for the request is not known
    ("perplexity", "sonar", "2026-09-01T00:00:00", {}, {"input_tokens": 1, "output_tokens": 1}),
    # no longer sold
    ("perplexity", "sonar", NOV, {"search_context_size": "low"}, {"input_tokens": 1}),
    ("deepseek", "deepseek-chat", "2026-07-24T15:59:00", {}, {"input_tokens": 1}),
    ("deepseek", "deepseek-chat", "2025-10-01T00:00:00", {}, {"input_tokens": 1}),
]


@pytest.mark.parametrize(("provider", "model", "moment", "traits", "usage"), UNPRICED)
def test_unknown_prices_are_unknown_and_not_zero(provider, model, moment, traits, usage):
    assert cost(provider, model, moment, traits=traits, **usage).startswith("unpriced")


def test_audio_of_a_price_that_is_not_known_leaves_text_calls_priced():
    # 1,000 × 2.50
    moment = "2025-01-01T00:00:00"
    assert cost("openai", "gpt-4o-audio-preview", moment, input_tokens=1_000) == "0.0025"
    assert (
        cost("openai", "gpt-4o-audio-preview", moment, input_tokens=1_000, input_audio_tokens=0)
        == "0.0025"
    )


def test_a_charge_line_shows_unit_quantity_price_and_amount():
    lines = charge("openai", "gpt-4o", input_tokens=1_000, cache_read_tokens=400).lines
    assert [(x.unit, x.quantity, x.nanos, x.per, x.amount_nanos) for x in lines] == [
        ("input_tokens", 600, 2_500_000_000, 1_000_000, 1_500_000),
        ("cache_read_tokens", 400, 1_250_000_000, 1_000_000, 500_000),
    ]
