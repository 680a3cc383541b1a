"""Recorded exchanges read by the dialects, against a normaliser written here from the facts.

No row is excepted.
"""

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from meter.providers.dialect import ProviderDialect
from meter.providers.registry import dialect_for, dialect_named
from tests.shared import SHARED, needs_shared

CORPUS = SHARED / "corpus" / "dev.jsonl.gz"
ENDPOINTS = {
    "chat.completions": "chat",
    "completions": "completions",
    "embeddings": "embeddings",
    "gemini.generateContent": "generateContent",
    "gemini.streamGenerateContent": "generateContent",
    "messages": "messages",
    "responses": "responses",
}
# Units that are counted from the answer's items, not from its usage object.
NOT_COMPARED = {"searches", "tool_calls"}

pytestmark = needs_shared


def rows() -> Iterator[dict[str, Any]]:
    """Yield the rows that report usage and are no suspects."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if (
                row["endpoint"] in ENDPOINTS
                and row["status"] < 400
                and row["usage"]
                and not row["synthetic_suspect"]
            ):
                yield row


def dialect_of(row: dict[str, Any]) -> ProviderDialect:
    """Return the dialect by host, by name where the host is a placeholder."""
    if "<" in row["provider_host"]:
        return dialect_named(row["provider"])
    return dialect_for(row["provider_host"], row["path"])


def answer_of(row: dict[str, Any]) -> bytes:
    """Return the answer's bytes: the raw stream, or the body written out."""
    if row.get("response_sse") is not None:
        return row["response_sse"].encode()
    return json.dumps(row["response"]).encode()


def observed(dialect: ProviderDialect, row: dict[str, Any], chance: random.Random) -> Any:
    """Send the row through the dialect in pieces cut at random."""
    body = json.dumps(row["request"]).encode()
    reading = dialect.read(row["method"], row["path"], "application/json", body)
    assert reading.endpoint == ENDPOINTS[row["endpoint"]], row["id"]
    assert reading.defects == (), row["id"]
    observer = dialect.observe(reading)
    answer = answer_of(row)
    observer.start(200, {"content-type": row["response_content_type"]})
    at = 0
    while at < len(answer):
        end = at + chance.randint(1, 4000)
        observer.feed(answer[at:end])
        at = end
    observer.finish()
    return observer.result()


def first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next((value for value in values if value is not None), None)


def from_openai(usage: dict[str, Any], generates: bool) -> dict[str, int]:
    """Write OpenAI-shaped usage as inclusive buckets, after FACTS §1.2 and §2.1."""
    p = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    p = p or usage.get("prompt_token_details") or {}
    c = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    c = c or usage.get("completion_token_details") or {}
    taken = first(usage.get("prompt_tokens"), usage.get("input_tokens"))
    given = first(usage.get("completion_tokens"), usage.get("output_tokens"))
    total = usage.get("total_tokens")
    if taken is None:
        taken = total
    if generates and total is not None and total > taken + given:
        if "prompt_audio_seconds" in usage:  # Mistral: the audio's tokens are beside the prompt
            taken += p["audio_tokens"]
        given = total - taken
    read = first(
        p.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"),
        usage.get("num_cached_tokens"), usage.get("cache_read_input_tokens"),
    )  # fmt: skip
    return {
        "input_tokens": taken,
        "cache_read_tokens": read if read is None else min(read, taken),
        "cache_write_tokens": first(
            p.get("cache_write_tokens"), usage.get("cache_creation_input_tokens")
        ),
        "input_audio_tokens": p.get("audio_tokens"),
        "input_image_tokens": p.get("image_tokens"),
        "input_video_tokens": p.get("video_tokens"),
        "output_tokens": given,
        "reasoning_tokens": first(c.get("reasoning_tokens"), usage.get("reasoning_tokens")),
        "output_audio_tokens": c.get("audio_tokens"),
        "output_image_tokens": c.get("image_tokens"),
        "rejected_prediction_tokens": c.get("rejected_prediction_tokens"),
    }


def from_anthropic(usage: dict[str, Any]) -> dict[str, int]:
    """Write Anthropic's usage as inclusive buckets, after FACTS §2."""
    messages = [usage]
    messages += [i for i in usage.get("iterations") or [] if i["type"] == "compaction"]
    buckets: Counter[str] = Counter()
    for message in messages:
        split = message.get("cache_creation") or {}
        read = message.get("cache_read_input_tokens") or 0
        written = message.get("cache_creation_input_tokens") or 0
        buckets["input_tokens"] += message["input_tokens"] + read + written
        buckets["cache_read_tokens"] += read
        buckets["cache_write_tokens"] += written
        buckets["cache_write_5m_tokens"] += split.get("ephemeral_5m_input_tokens", 0)
        buckets["cache_write_1h_tokens"] += split.get("ephemeral_1h_input_tokens", 0)
        buckets["output_tokens"] += message["output_tokens"]
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    return {**buckets, "reasoning_tokens": thinking}


def from_gemini(usage: dict[str, Any]) -> dict[str, int]:
    """Write Gemini's usageMetadata as inclusive buckets, after FACTS §2."""

    def of(modality: str, *names: str) -> int:
        return sum(
            item.get("tokenCount", 0)
            for name in names
            for item in usage.get(name) or []
            if item["modality"] == modality
        )

    prompts = ("promptTokensDetails", "toolUsePromptTokensDetails")
    thoughts = usage.get("thoughtsTokenCount", 0)
    tool_use = usage.get("toolUsePromptTokenCount", 0)
    return {
        "input_tokens": usage["promptTokenCount"] + tool_use,
        "cache_read_tokens": usage.get("cachedContentTokenCount", 0),
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


def expected(row: dict[str, Any]) -> dict[str, int]:
    """Return the row's usage in buckets, those that are zero left out."""
    usage = row["usage"]
    if row["endpoint"].startswith("gemini"):
        buckets = from_gemini(usage)
    elif row["endpoint"] == "messages":
        buckets = from_anthropic(usage)
    else:
        buckets = from_openai(usage, row["endpoint"] != "embeddings")
    return {unit: quantity for unit, quantity in buckets.items() if quantity}


def test_recorded_usage_is_read_exactly() -> None:
    chance = random.Random(7)
    seen: Counter[str] = Counter()
    wrong = []
    for row in rows():
        seen[row["endpoint"]] += 1
        result = observed(dialect_of(row), row, chance)
        usage = result.usage or {}
        got = {u: q for u, q in usage.items() if q and u not in NOT_COMPARED}
        if got != expected(row) or not result.finished:
            wrong.append((row["id"], row["provider"], got, expected(row), result))
    assert wrong == []
    assert set(seen) == set(ENDPOINTS)
    assert seen.total() > 9000
