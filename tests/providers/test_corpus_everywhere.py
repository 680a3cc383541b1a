"""Every recorded exchange with a usage object, of every provider and endpoint.

The answer is written as bytes again, cut at random, and read by the dialect; what comes out is
compared with the usage that the recording found, normalised here from the facts, independently of
the meter. What is not equal stands in `EXCEPTIONS`, each with its reason.
"""

import gzip
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from meter.providers.dialect import ProviderDialect
from meter.providers.registry import dialect_for, dialect_named
from meter.reports.recorded import answer_of, headers_of
from tests.shared import SHARED, needs_shared

CORPUS = SHARED / "corpus" / "dev.jsonl.gz"

# The recorded name of an endpoint, and that of the reading.
NAMES = {
    "bedrock.converse": "converse",
    "bedrock.converse-stream": "converse",
    "bedrock.invoke": "invoke",
    "bedrock.invoke-with-response-stream": "invoke",
    "chat.completions": "chat",
    "cohere.embed": "embed",
    "cohere.rerank": "rerank",
    "gemini.batchEmbedContents": "embedContent",
    "gemini.cachedContents": "cachedContents",
    "gemini.generateContent": "generateContent",
    "gemini.streamGenerateContent": "generateContent",
}
# Counting is free: its answer is a number, not a use of tokens.
COUNTING = {"messages.count_tokens", "gemini.countTokens", "responses.input_tokens"}
# Units that are counted from the answer's items, not from its usage object.
NOT_COMPARED = {"searches", "tool_calls"}
# xAI reports nothing of a picture but its price.
PRICE_ONLY = {"cost_in_usd_ticks"}

# Single exchanges whose recorded usage is not the whole of what the provider said.
EXCEPTIONS = {
    "1419d1fc37f73f9c": "a guardrail rewrote the body's usage: Amazon's header has its output",
    "4938780a69b2956f": "the recording left `totalOutputTextTokenCount` out",
}

pytestmark = needs_shared


def rows() -> Iterator[dict[str, Any]]:
    """Yield the rows that report usage and are no suspects."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["status"] < 400 and row["usage"] and not row["synthetic_suspect"]:
                yield row


def dialect_of(row: dict[str, Any]) -> ProviderDialect:
    """Return the dialect by host, by name where the host is a placeholder."""
    if "<" in row["provider_host"]:
        return dialect_named(row["provider"])
    return dialect_for(row["provider_host"], row["path"])


def observed(row: dict[str, Any], chance: random.Random) -> tuple[str, Any]:
    """Send the row through its dialect in pieces cut at random; return endpoint and result."""
    dialect = dialect_of(row)
    body = json.dumps(row["request"]).encode()
    reading = dialect.read(row["method"], row["path"], "application/json", body)
    observer = dialect.observe(reading)
    answer = answer_of(row)
    observer.start(row["status"], headers_of(row))
    at = 0
    while at < len(answer):
        end = at + chance.randint(1, 6000)
        assert observer.feed(answer[at:end]) is not None
        at = end
    observer.finish()
    return reading.endpoint, observer.result()


def first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next((value for value in values if value is not None), None)


def of_openai(usage: dict[str, Any], generates: bool = True) -> dict[str, Any]:
    """Write OpenAI-shaped usage as inclusive buckets, after FACTS §1.2 and §2.1."""
    inner = first(*(usage.get(f"{a}_token{s}_details") or None for a in ("prompt", "input")
                    for s in ("s", ""))) or {}  # fmt: skip
    outer = first(*(usage.get(f"{a}_token{s}_details") or None for a in ("completion", "output")
                    for s in ("s", ""))) or {}  # fmt: skip
    taken = first(usage.get("prompt_tokens"), usage.get("input_tokens"))
    given = first(usage.get("completion_tokens"), usage.get("output_tokens"))
    total = usage.get("total_tokens")
    if taken is None:
        taken = total
    if generates and total is not None and total > taken + given:
        if "prompt_audio_seconds" in usage:  # Mistral: the audio's tokens are beside the prompt
            taken += inner["audio_tokens"]
        given = total - taken
    read = first(
        inner.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"),
        usage.get("num_cached_tokens"), usage.get("cache_read_input_tokens"),
    )  # fmt: skip
    return {
        "input_tokens": taken,
        "cache_read_tokens": None if read is None else min(read, taken),
        "cache_write_tokens": first(
            inner.get("cache_write_tokens"), usage.get("cache_creation_input_tokens")
        ),
        "input_audio_tokens": inner.get("audio_tokens"),
        "input_image_tokens": inner.get("image_tokens"),
        "input_video_tokens": inner.get("video_tokens"),
        "output_tokens": given,
        "reasoning_tokens": first(outer.get("reasoning_tokens"), usage.get("reasoning_tokens")),
        "output_audio_tokens": outer.get("audio_tokens"),
        "output_image_tokens": outer.get("image_tokens"),
        "rejected_prediction_tokens": outer.get("rejected_prediction_tokens"),
    }


def of_anthropic(usage: dict[str, Any]) -> dict[str, Any]:
    """Write Anthropic's usage as inclusive buckets: its input excludes the cache."""
    buckets: Counter[str] = Counter()
    for part in [usage, *(usage.get("iterations") or [])]:
        if part.get("type", "compaction") != "compaction":
            continue
        split = part.get("cache_creation") or {}
        read = part.get("cache_read_input_tokens") or 0
        written = part.get("cache_creation_input_tokens") or 0
        buckets["input_tokens"] += part["input_tokens"] + read + written
        buckets["cache_read_tokens"] += read
        buckets["cache_write_tokens"] += written
        buckets["cache_write_5m_tokens"] += split.get("ephemeral_5m_input_tokens", 0)
        buckets["cache_write_1h_tokens"] += split.get("ephemeral_1h_input_tokens", 0)
        buckets["output_tokens"] += part["output_tokens"]
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    return {**buckets, "reasoning_tokens": thinking}


def of_amazon(usage: dict[str, Any]) -> dict[str, Any]:
    """Write Bedrock's own counts as inclusive buckets: the total is the sum of all four."""
    taken = first(usage.get("inputTokens"), usage.get("inputTokenCount"))
    read = first(usage.get("cacheReadInputTokens"), usage.get("cacheReadInputTokenCount"), 0)
    written = first(usage.get("cacheWriteInputTokens"), usage.get("cacheWriteInputTokenCount"), 0)
    given = first(usage.get("outputTokens"), usage.get("outputTokenCount"))
    if "totalTokens" in usage:
        assert usage["totalTokens"] == taken + read + written + given
    ttl = {detail["ttl"]: detail["inputTokens"] for detail in usage.get("cacheDetails", ())}
    return {
        "input_tokens": taken + read + written,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "cache_write_5m_tokens": ttl.get("5m"),
        "cache_write_1h_tokens": ttl.get("1h"),
        "output_tokens": given,
    }


def of_gemini(usage: dict[str, Any]) -> dict[str, Any]:
    """Write usageMetadata as inclusive buckets, after FACTS §2."""

    def of(modality: str, *names: str) -> int:
        items = [item for name in names for item in usage.get(name) or []]
        return sum(i.get("tokenCount", 0) for i in items if i["modality"] == modality)

    prompts = ("promptTokensDetails", "promptTokenDetails", "toolUsePromptTokensDetails")
    thoughts = usage.get("thoughtsTokenCount", 0)
    tool_use = usage.get("toolUsePromptTokenCount", 0)
    return {
        "input_tokens": usage.get("promptTokenCount", usage.get("totalTokenCount")) + tool_use,
        "cache_read_tokens": usage.get("cachedContentTokenCount"),
        "tool_use_input_tokens": tool_use,
        "input_audio_tokens": of("AUDIO", *prompts),
        "input_image_tokens": of("IMAGE", *prompts),
        "input_video_tokens": of("VIDEO", *prompts),
        "cache_audio_read_tokens": of("AUDIO", "cacheTokensDetails"),
        "cache_image_read_tokens": of("IMAGE", "cacheTokensDetails"),
        "output_tokens": usage.get("candidatesTokenCount", 0) + thoughts,
        "reasoning_tokens": thoughts,
        "output_audio_tokens": of("AUDIO", "candidatesTokensDetails"),
        "output_image_tokens": of("IMAGE", "candidatesTokensDetails"),
    }


def of_invoke(usage: dict[str, Any]) -> dict[str, Any]:
    """Write what a maker's body reports to Bedrock, or Amazon where it does not."""
    if "input_tokens" in usage:
        return of_anthropic(usage)
    if "inputTokens" in usage or "inputTokenCount" in usage:
        return of_amazon(usage)
    return {
        "input_tokens": first(usage.get("inputTextTokenCount"), usage.get("prompt_token_count")),
        "output_tokens": first(usage.get("results.tokenCount"),
                               usage.get("generation_token_count")),
    }  # fmt: skip


def of_cohere(usage: dict[str, Any]) -> dict[str, Any]:
    """Write billed units: `tokens` beside them are not what is billed."""
    billed = usage["billed_units"]
    images = billed.get("image_tokens") or 0
    return {
        "input_tokens": (billed.get("input_tokens") or 0) + images,
        "input_image_tokens": images,
        "output_tokens": billed.get("output_tokens"),
        "images": billed.get("images"),
    }


def expected(row: dict[str, Any]) -> dict[str, int]:
    """Return the row's usage in buckets, those that are zero left out."""
    usage, endpoint = row["usage"], row["endpoint"]
    if set(usage) == PRICE_ONLY:
        buckets: dict[str, Any] = {"images": len(row["response"]["data"])}
    elif usage.get("type") == "duration":
        buckets = {"audio_seconds": usage["seconds"]}
    elif "billed_units" in usage:
        buckets = of_cohere(usage)
    elif endpoint.startswith("bedrock.converse"):
        buckets = of_amazon(usage)
    elif endpoint.startswith("bedrock.invoke"):
        buckets = of_invoke(usage)
    elif endpoint.startswith("gemini"):
        buckets = of_gemini(usage)
    elif endpoint.startswith("ollama"):
        buckets = {
            "input_tokens": usage.get("prompt_eval_count"),
            "output_tokens": usage.get("eval_count"),
        }
    elif endpoint == "complete":
        buckets = {
            "input_tokens": usage["num_tokens_prompt_total"],
            "output_tokens": usage["num_tokens_generated"],
        }
    elif endpoint == "messages":
        buckets = of_anthropic(usage)
    else:
        buckets = of_openai(usage, endpoint not in ("embeddings", "rerank"))
    return {unit: quantity for unit, quantity in buckets.items() if quantity}


def test_recorded_usage_is_read_exactly_everywhere() -> None:
    chance = random.Random(11)
    read: Counter[tuple[str, str]] = Counter()
    wrong = []
    for row in rows():
        place = (row["provider"], row["endpoint"])
        endpoint, result = observed(row, chance)
        if row["endpoint"] in COUNTING:
            assert (endpoint, result.usage) == ("count_tokens", None), row["id"]
            continue
        read[place] += 1
        usage = result.usage or {}
        got = {u: q for u, q in usage.items() if q and u not in NOT_COMPARED}
        named = endpoint == NAMES.get(row["endpoint"], endpoint) and endpoint != "unmetered"
        if named and result.finished and got == expected(row):
            assert row["id"] not in EXCEPTIONS, row["id"]
        elif row["id"] not in EXCEPTIONS:
            wrong.append((row["id"], place, endpoint, got, expected(row), result.defects))
    if os.environ.get("METER_CORPUS") == "tell":
        for place, number in sorted(read.items()):
            print(*place, number)
    assert wrong == []
    assert read.total() > 9000


def test_billed_searches_are_read() -> None:
    chance = random.Random(11)
    searches = [
        (observed(row, chance)[1].usage["searches"], row["usage"]["billed_units"]["search_units"])
        for row in rows()
        if row["endpoint"] == "cohere.rerank"
    ]
    assert searches and all(got == reported for got, reported in searches)


def test_header_counts_serve_where_a_body_has_none() -> None:
    chance = random.Random(11)
    read = 0
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            headers = row.get("usage_headers")
            if not headers or row["usage"] or row["status"] >= 400:
                continue
            read += 1
            usage = observed(row, chance)[1].usage
            counts = {name.split("-")[-3]: int(text) for name, text in headers.items()}
            assert usage["input_tokens"] == counts["input"], row["id"]
            assert usage.get("output_tokens") == counts.get("output"), row["id"]
    assert read > 0
