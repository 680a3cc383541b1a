"""Raw usage objects and the buckets they become; the arithmetic stands beside them."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.usage import Usage
from meter.providers.normalising import from_anthropic, from_gemini, from_openai
from tests.shared import SHARED, needs_shared

FIXTURES = SHARED / "facts_fixtures.json"


def openai(**raw: Any) -> Usage | None:
    return from_openai(raw).usage


def test_openai_chat_has_inclusive_buckets() -> None:
    usage = openai(
        prompt_tokens=100, completion_tokens=20, total_tokens=120,
        prompt_tokens_details={"cached_tokens": 40, "audio_tokens": 5, "cache_write_tokens": 10},
        completion_tokens_details={
            "reasoning_tokens": 7, "audio_tokens": 3, "rejected_prediction_tokens": 2,
        },
    )  # fmt: skip
    assert usage == Usage(
        input_tokens=100, cache_read_tokens=40, cache_write_tokens=10, input_audio_tokens=5,
        output_tokens=20, reasoning_tokens=7, output_audio_tokens=3,
        rejected_prediction_tokens=2,
    )  # fmt: skip


def test_openai_responses_has_inclusive_buckets_with_cache_lifetimes() -> None:
    usage = openai(
        input_tokens=50, output_tokens=11, total_tokens=61,
        input_tokens_details={
            "cached_tokens": 8, "cache_write_tokens": 30,
            "cache_write_tokens_details": {"ttl_30m_tokens": 10, "ttl_12h_tokens": 20},
        },
        output_tokens_details={"reasoning_tokens": 0},
    )  # fmt: skip
    assert usage == Usage(
        input_tokens=50, cache_read_tokens=8, cache_write_tokens=30, cache_write_30m_tokens=10,
        cache_write_12h_tokens=20, output_tokens=11, reasoning_tokens=0,
    )  # fmt: skip


def test_what_is_not_reported_is_absent_and_a_reported_zero_is_zero() -> None:
    usage = openai(prompt_tokens=6, completion_tokens=5, total_tokens=11)
    assert dict(usage or {}) == {"input_tokens": 6, "output_tokens": 5}
    usage = openai(prompt_tokens=6, completion_tokens=0, total_tokens=6)
    assert dict(usage or {}) == {"input_tokens": 6, "output_tokens": 0}


def test_reasoning_outside_completion_is_added_by_the_total() -> None:
    # 14,428 - 10,120 = 4,308 = 1,499 + 2,809
    usage = openai(
        prompt_tokens=10120, completion_tokens=1499, total_tokens=14428,
        prompt_tokens_details={"cached_tokens": 128},
        completion_tokens_details={"reasoning_tokens": 2809},
    )  # fmt: skip
    assert usage == Usage(
        input_tokens=10120, cache_read_tokens=128, output_tokens=4308, reasoning_tokens=2809
    )


def test_reasoning_inside_completion_is_not_added() -> None:
    usage = openai(
        prompt_tokens=10, completion_tokens=30, total_tokens=40,
        completion_tokens_details={"reasoning_tokens": 25},
    )  # fmt: skip
    assert usage == Usage(input_tokens=10, output_tokens=30, reasoning_tokens=25)


def test_thoughts_missing_from_completion_are_output() -> None:
    # 1,016 - 20 = 996
    assert openai(prompt_tokens=20, completion_tokens=424, total_tokens=1016) == Usage(
        input_tokens=20, output_tokens=996
    )


def test_audio_beside_the_prompt_is_input() -> None:
    # 632 - 9 - 248 = 375, exactly the audio: 9 + 375 = 384 in
    usage = openai(
        prompt_audio_seconds=3, prompt_tokens=9, completion_tokens=248, total_tokens=632,
        prompt_tokens_details={"cached_tokens": 0, "audio_tokens": 375},
    )  # fmt: skip
    assert usage == Usage(
        input_tokens=384, cache_read_tokens=0, input_audio_tokens=375, output_tokens=248
    )


def test_a_total_below_its_parts_is_ignored() -> None:
    assert openai(prompt_tokens=9, completion_tokens=5, total_tokens=3) == Usage(
        input_tokens=9, output_tokens=5
    )


@pytest.mark.parametrize(
    ("raw", "output"),
    [
        ({"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 9}}, 14),
        ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}}, 9),
    ],
)
def test_without_a_total_reasoning_is_added_only_where_it_cannot_be_inside(
    raw: dict[str, Any], output: int
) -> None:
    assert openai(prompt_tokens=1, **raw) == Usage(
        input_tokens=1,
        output_tokens=output,
        reasoning_tokens=raw["completion_tokens_details"]["reasoning_tokens"],
    )


def test_a_provider_known_for_it_has_reasoning_added_without_a_total() -> None:
    raw = {
        "prompt_tokens": 1,
        "completion_tokens": 9,
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    assert from_openai(raw, reasoning_apart=True).usage == Usage(
        input_tokens=1, output_tokens=14, reasoning_tokens=5
    )


def test_a_missing_side_follows_from_the_total() -> None:
    assert openai(prompt_tokens=6, total_tokens=6) == Usage(input_tokens=6, output_tokens=0)
    assert openai(completion_tokens=4, total_tokens=6) == Usage(input_tokens=2, output_tokens=4)


def test_a_total_alone_cannot_be_used() -> None:
    normalised = from_openai({"total_tokens": 9})
    assert normalised.usage is None
    assert normalised.defects == ("found a total without input or output tokens, expected both",)


def test_embeddings_have_input_only() -> None:
    raw = {"prompt_tokens": 5, "total_tokens": 5}
    assert from_openai(raw, generates=False).usage == Usage(input_tokens=5)
    assert from_openai({"total_tokens": 7}, generates=False).usage == Usage(input_tokens=7)


@pytest.mark.parametrize(
    ("members", "read"),
    [
        ({"prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 60}, 40),  # DeepSeek
        ({"cached_tokens": 40}, 40),  # Moonshot
        ({"num_cached_tokens": 40}, 40),  # Mistral
        ({"cache_read_input_tokens": 40}, 40),  # Databricks
        ({"prompt_token_details": {"cached_tokens": 40}}, 40),  # Writer
        ({"input_token_details": {"cached_tokens": 40}}, 40),  # OpenAI realtime
    ],
)
def test_cache_reads_are_found_under_every_name(members: dict[str, Any], read: int) -> None:
    usage = openai(prompt_tokens=100, completion_tokens=20, total_tokens=120, **members)
    assert usage == Usage(input_tokens=100, cache_read_tokens=read, output_tokens=20)


def test_deepseek_input_is_hit_and_miss_where_no_prompt_is_named() -> None:
    usage = openai(prompt_cache_hit_tokens=40, prompt_cache_miss_tokens=60, completion_tokens=1)
    assert usage == Usage(input_tokens=100, cache_read_tokens=40, output_tokens=1)


def test_searches_of_openrouter_perplexity_and_xai() -> None:
    roots = {"prompt_tokens": 1, "completion_tokens": 1}
    expected = Usage(input_tokens=1, output_tokens=1, searches=3)
    assert openai(**roots, server_tool_use_details={"web_search_requests": 3}) == expected
    assert openai(**roots, num_search_queries=3) == expected
    usage = openai(
        **roots,
        num_server_side_tools_used=4,
        server_side_tool_usage_details={"web_search_calls": 2, "x_search_calls": 1},
    )
    assert usage == Usage(input_tokens=1, output_tokens=1, searches=3, tool_calls=4)


def test_cohere_is_billed_by_its_billed_units() -> None:
    usage = openai(
        billed_units={"input_tokens": 12.0, "output_tokens": 5.0, "search_units": 1},
        tokens={"input_tokens": 80, "output_tokens": 7},
        cached_tokens=4,
    )
    assert usage == Usage(input_tokens=12, cache_read_tokens=4, output_tokens=5, searches=1)


def test_a_duration_is_seconds() -> None:
    assert openai(type="duration", seconds=9) == Usage(audio_seconds=9)
    assert openai(type="duration", seconds=27.4) == Usage(audio_seconds=Decimal("27.4"))
    assert openai(type="duration", seconds="9") is None


def test_contained_quantities_are_cut_to_their_containers() -> None:
    usage = openai(
        input_tokens=127, output_tokens=148, total_tokens=275,
        input_token_details={"cached_tokens": 384, "audio_tokens": 8},
    )  # fmt: skip
    assert usage == Usage(
        input_tokens=127, cache_read_tokens=127, input_audio_tokens=8, output_tokens=148
    )


def test_cache_reads_and_writes_together_fit_into_the_input() -> None:
    usage = openai(
        prompt_tokens=100, completion_tokens=1,
        prompt_tokens_details={
            "cached_tokens": 70, "cache_write_tokens": 60,
            "cache_write_tokens_details": {"ttl_30m_tokens": 50, "ttl_12h_tokens": 10},
        },
    )  # fmt: skip
    # 100 - 70 = 30 left for writes, all of them with the first lifetime
    assert usage == Usage(
        input_tokens=100, cache_read_tokens=70, cache_write_tokens=30,
        cache_write_30m_tokens=30, cache_write_12h_tokens=0, output_tokens=1,
    )  # fmt: skip


def test_anthropic_input_includes_the_cache() -> None:
    normalised = from_anthropic({
        "input_tokens": 10, "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "cache_read_input_tokens": 5, "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 4},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    })  # fmt: skip
    # 10 + 30 + 5 = 45
    assert normalised.usage == Usage(
        input_tokens=45, cache_read_tokens=5, cache_write_tokens=30, cache_write_5m_tokens=10,
        cache_write_1h_tokens=20, output_tokens=7, reasoning_tokens=4, searches=2,
    )  # fmt: skip
    assert normalised.defects == ()


def test_anthropic_compaction_is_added_and_message_iterations_are_not() -> None:
    normalised = from_anthropic({
        "input_tokens": 162, "output_tokens": 11, "cache_read_input_tokens": 0,
        "iterations": [
            {"type": "compaction", "input_tokens": 99195, "output_tokens": 81,
             "cache_read_input_tokens": 0},
            {"type": "message", "input_tokens": 162, "output_tokens": 11},
        ],
    })  # fmt: skip
    # 162 + 99,195 and 11 + 81
    assert normalised.usage == Usage(input_tokens=99357, cache_read_tokens=0, output_tokens=92)


def test_anthropic_advice_of_another_model_is_told() -> None:
    normalised = from_anthropic({
        "input_tokens": 1, "output_tokens": 1,
        "iterations": [{"type": "advisor_message", "model": "m", "input_tokens": 9}],
    })  # fmt: skip
    assert normalised.usage == Usage(input_tokens=1, output_tokens=1)
    assert normalised.defects == ("another model advised: its tokens are not in this record",)


def test_gemini_output_includes_thoughts_and_input_tool_use() -> None:
    normalised = from_gemini({
        "promptTokenCount": 100, "candidatesTokenCount": 20, "thoughtsTokenCount": 30,
        "cachedContentTokenCount": 40, "toolUsePromptTokenCount": 7, "totalTokenCount": 157,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 60}, {"modality": "IMAGE", "tokenCount": 40},
        ],
        "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 2}],
        "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}],
    })  # fmt: skip
    assert normalised.usage == Usage(
        input_tokens=107, cache_read_tokens=40, input_image_tokens=42,
        cache_image_read_tokens=9, tool_use_input_tokens=7, output_tokens=50,
        reasoning_tokens=30, output_audio_tokens=6,
    )  # fmt: skip


def test_gemini_leaves_zeros_out_and_the_total_tells() -> None:
    assert from_gemini({"promptTokenCount": 5, "totalTokenCount": 5}).usage == Usage(
        input_tokens=5, output_tokens=0
    )
    # 50 - 5 - 9 = 36 thoughts that are not named
    raw = {"promptTokenCount": 5, "candidatesTokenCount": 9, "totalTokenCount": 50}
    assert from_gemini(raw).usage == Usage(input_tokens=5, output_tokens=45)
    raw = {"candidatesTokenCount": 9, "totalTokenCount": 50}
    assert from_gemini(raw).usage == Usage(input_tokens=41, output_tokens=9)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1, "-1"),
        ("12", "a str"),
        (1.5, "1.5"),
        (True, "a bool"),
        (10**30, "a number above 10^15"),
        (10**15 + 1, "1000000000000001"),
        ([], "a list"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (Decimal("1E+400"), "1e+400"),
    ],
)
def test_a_root_that_cannot_be_believed_leaves_no_usage(value: Any, shown: str) -> None:
    normalised = from_openai({"prompt_tokens": value, "completion_tokens": 3})
    assert normalised.usage is None
    assert normalised.defects[0].startswith(f"found {shown}")
    assert from_anthropic({"input_tokens": 3, "output_tokens": value}).usage is None
    assert from_gemini({"promptTokenCount": 3, "totalTokenCount": value}).usage is None


@pytest.mark.parametrize("value", [-1, "12", 1.5, True, 10**30])
def test_a_part_that_cannot_be_believed_is_left_out(value: Any) -> None:
    normalised = from_openai({
        "prompt_tokens": 9, "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": value},
    })  # fmt: skip
    assert normalised.usage == Usage(input_tokens=9, output_tokens=3)
    assert len(normalised.defects) == 1


def test_a_whole_number_written_as_a_fraction_is_taken() -> None:
    assert openai(prompt_tokens=9.0, completion_tokens=Decimal("3.0")) == Usage(
        input_tokens=9, output_tokens=3
    )


def test_zeros_alone_are_no_report() -> None:
    assert openai(prompt_tokens=0, completion_tokens=0, total_tokens=0) is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = st.sampled_from([
    "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens",
    "prompt_tokens_details", "cached_tokens", "cache_creation", "iterations", "billed_units",
    "cache_read_input_tokens", "promptTokenCount", "candidatesTokenCount", "totalTokenCount",
    "promptTokensDetails", "type", "seconds", "server_tool_use", "reasoning_tokens",
])  # fmt: skip


@given(st.dictionaries(NAMES, JSON_VALUES))
def test_no_report_makes_normalising_raise(raw: dict[str, Any]) -> None:
    for normalise in (from_openai, from_anthropic, from_gemini):
        usage = normalise(raw).usage
        assert usage is None or usage == usage.clamped()


# Which function reads which fixture, and what the fixture's short names stand for.
READERS = {"anthropic": from_anthropic, "gemini native": from_gemini}
SHORT = {
    "input": "input_tokens", "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens", "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens", "input_audio": "input_audio_tokens",
    "input_image": "input_image_tokens", "output": "output_tokens",
    "reasoning": "reasoning_tokens", "output_audio": "output_audio_tokens",
    "audio_seconds": "audio_seconds", "web_searches": "searches",
    "cache_read_max": "cache_read_tokens",
}  # fmt: skip


@needs_shared
def test_every_fixture_of_the_facts() -> None:
    fixtures = json.loads(FIXTURES.read_text())["usage"]
    assert len(fixtures) >= 15
    for fixture in fixtures:
        usage = READERS.get(fixture["name"], from_openai)(fixture["raw"]).usage or {}
        # The fixtures name fewer units than the registry has, and leave zeros out.
        expected = {SHORT[name]: number for name, number in fixture["norm"].items() if number}
        assert expected.items() <= dict(usage).items(), fixture["name"]
