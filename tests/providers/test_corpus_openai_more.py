"""Recorded answers of OpenAI's endpoints beyond text, of every host that serves them.

Each request, forms included, and each answer is written as bytes again, cut at random and read by
the dialect; the result is compared with the recorded usage, normalised here from the facts.
Chat, responses, embeddings and the like have tests of their own.
"""

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from meter.core.call import Observation
from meter.providers.dialect import ProviderDialect
from meter.providers.registry import dialect_for, dialect_named
from meter.reports.recorded import answer_of, headers_of
from meter.reports.recorded_forms import CONTENT_TYPE, form_of
from tests.shared import SHARED, needs_shared

CORPUS = SHARED / "corpus" / "dev.jsonl.gz"
# The recorded name of an endpoint begins with one of these.
BEGINNINGS = ("audio.", "batches", "decisions", "edits", "images.", "moderations", "threads.",
              "videos")  # fmt: skip

pytestmark = needs_shared


def rows() -> Iterator[dict[str, Any]]:
    """Yield the good answers of these endpoints that are no suspects."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        for line in lines:
            if not any(f'"endpoint": "{each}' in line for each in BEGINNINGS):
                continue
            row = json.loads(line)
            if row["status"] < 400 and not row["synthetic_suspect"]:
                yield row


def dialect_of(row: dict[str, Any]) -> ProviderDialect:
    """Return the dialect by host, by name where the host is a placeholder."""
    if "<" in row["provider_host"]:
        return dialect_named(row["provider"])
    return dialect_for(row["provider_host"], row["path"])


def observed(row: dict[str, Any], chance: random.Random) -> Observation:
    """Send the row through its dialect in pieces cut at random."""
    request = row["request"] or {}
    kind, body = "application/json", json.dumps(request).encode()
    if request.get("multipart"):
        kind, body = CONTENT_TYPE, form_of(request)
    dialect = dialect_of(row)
    reading = dialect.read(row["method"], row["path"], kind, body)
    assert reading.endpoint == row["endpoint"], row["id"]
    assert reading.defects == (), row["id"]
    if row["model"] is not None and "model" in str(request):
        assert reading.model == row["model"], row["id"]
    observer = dialect.observe(reading)
    observer.start(row["status"], headers_of(row))
    answer = answer_of(row)
    at = 0
    while at < len(answer):
        end = at + chance.randint(1, 4000)
        assert observer.feed(answer[at:end]) == answer[at:end]
        at = end
    observer.finish()
    return observer.result()


def expected(row: dict[str, Any]) -> dict[str, int]:
    """Return the recorded usage in inclusive buckets, after FACTS §1.2; zeros are left out."""
    usage = row["usage"]
    if "cost_in_usd_ticks" in usage:
        # xAI's pictures: the report is an amount, and each picture is a unit.
        return {"images": len(row["response"]["data"])}
    if usage.get("type") == "duration":
        return {"audio_seconds": usage["seconds"]}
    taken = usage["prompt_tokens"] if "prompt_tokens" in usage else usage["input_tokens"]
    given = usage["completion_tokens"] if "prompt_tokens" in usage else usage["output_tokens"]
    inner: dict[str, int] = {}
    outer: dict[str, int] = {}
    for name, details in usage.items():
        if name.endswith("_details"):
            (inner if name.startswith(("prompt", "input")) else outer).update(details)
    if "prompt_audio_seconds" in usage:
        taken += inner["audio_tokens"]  # Mistral: the sound is beside the prompt
    assert taken + given == usage["total_tokens"], row["id"]
    buckets = {
        "input_tokens": taken,
        "cache_read_tokens": inner.get("cached_tokens", 0),
        "input_audio_tokens": inner.get("audio_tokens", 0),
        "input_image_tokens": inner.get("image_tokens", 0),
        "output_tokens": given,
        "reasoning_tokens": outer.get("reasoning_tokens", 0),
        "output_image_tokens": outer.get("image_tokens", 0),
    }
    return {unit: quantity for unit, quantity in buckets.items() if quantity}


def test_recorded_usage_is_read_exactly() -> None:
    chance = random.Random(7)
    seen: Counter[str] = Counter()
    wrong = []
    for row in rows():
        if not row["usage"]:
            continue
        seen[row["endpoint"]] += 1
        result = observed(row, chance)
        got = None if result.usage is None else {u: q for u, q in result.usage.items() if q}
        if got != expected(row) or not result.finished:
            wrong.append((row["id"], row["provider"], got, expected(row), result))
    assert wrong == []
    assert seen == {
        "audio.transcriptions": 28, "batches": 3, "edits": 3, "images.edits": 10,
        "images.generations": 2, "threads.runs": 13,
    }  # fmt: skip


def test_answers_without_usage_are_counted_or_left_open() -> None:
    chance = random.Random(7)
    found: Counter[tuple[str, str]] = Counter()
    for row in rows():
        if row["usage"]:
            continue
        result = observed(row, chance)
        kind = "usage" if result.usage else "counted" if result.counted else "open"
        found[row["endpoint"], "nothing" if result.usage == {} else kind] += 1
        if row["endpoint"].startswith("images."):
            # Each names the size that prices it.
            assert result.usage == {"images": len(row["response"]["data"])}
            assert "size" in dict(result.traits)
    assert found == {
        ("audio.speech", "counted"): 4,
        # The sound of nine recordings was not kept; one is a WAV of a known length.
        ("audio.transcriptions", "counted"): 1,
        ("audio.transcriptions", "open"): 6,
        ("audio.translations", "open"): 3,
        # Receipts for work that goes on.
        ("batches", "open"): 7,
        ("images.edits", "usage"): 3,
        ("images.generations", "usage"): 10,
        ("images.variations", "usage"): 2,
        ("moderations", "open"): 13,
        ("threads.runs", "open"): 49,
        ("threads.runs.submit", "nothing"): 3,
        ("videos", "open"): 1,
    }
