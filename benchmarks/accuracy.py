"""Compare counted tokens with what providers reported, over recorded exchanges.

    python benchmarks/accuracy.py [CORPUS.jsonl.gz] [--wrong CATEGORY]

Reads the corpus that may lie beside the checkout (`../shared/corpus/dev.jsonl.gz`), takes one
sample of each (request, model), and prints for each category how often the input estimate is exact,
and how far off it is. Streams are recounted from the delivered content alone. `--wrong` lists the
exchanges of one category that are not exact.
"""

import argparse
import collections
import gzip
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meter.tokens.estimates import estimate_input
from meter.tokens.models import encoding_for
from meter.tokens.outputs import OutputTally

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "dev.jsonl.gz"
REFERENCE = re.compile(r"<<b64:([0-9a-f]{16}):\d+>>")
ENDPOINTS = {
    "chat.completions": "chat",
    "responses": "responses",
    "completions": "completions",
    "embeddings": "embeddings",
    "messages": "messages",
    "gemini.generateContent": "generateContent",
    "gemini.streamGenerateContent": "generateContent",
}
# Exact shares of OpenAI's cookbook formulas on the same data, from the corpus's own page.
COOKBOOK = {
    "chat text": "99.3 %",
    "chat tools": "3.6 %",
    "chat response_format": "4.1 %",
    "chat inline images": "68 %",
    "chat text, reasoning models": "1.2 %",
    "chat tools, reasoning models": "0 %",
    "responses text": "89.7 %",
    "responses tools": "0 %",
    "responses text, reasoning models": "1.9 %",
    "responses tools, reasoning models": "2.6 %",
    "completions": "73 %",
    "embeddings": "98 %",
}
REASONING = re.compile(r"(openai/)?(o\d|gpt-5|gpt-6)")
OPENAI_MODEL = re.compile(r"(openai/|ft:)?(gpt|o\d|chatgpt|text-|davinci|babbage|code-)")


@dataclass(frozen=True)
class Sample:
    """One comparison: the counted and the reported tokens of an exchange."""

    id: str
    model: str
    counted: int
    bound: int | None
    reported: int

    @property
    def error(self) -> int:
        """How far the count is off, in tokens."""
        return abs(self.counted - self.reported)


def load(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the corpus's rows, with the base64 that several share put back."""
    shared = path.with_name(path.name.replace(".jsonl.gz", ".blobs.json.gz"))
    blobs: dict[str, str] = {}
    if shared.is_file():
        with gzip.open(shared, "rt") as file:
            blobs = json.load(file)
    with gzip.open(path, "rt") as file:
        for line in file:
            row = json.loads(line)
            if row.get("blob_refs"):
                row = json.loads(REFERENCE.sub(lambda match: blobs[match.group(1)], line))
            yield row


def usable(row: dict[str, Any]) -> bool:
    """Tell whether a provider answered this request as it stands here, with usage."""
    return (
        row["status"] < 400
        and not row["synthetic_suspect"]
        and not row["dropped"]
        and not row["redacted_in_request"]
        and isinstance(row["request"], dict)
        and row["endpoint"] in ENDPOINTS
        and bool(row["usage"])
    )


def model_of(row: dict[str, Any]) -> str:
    """Return the model asked for; of a deployment whose name hides it, the one that answered."""
    asked = row["model"] or ""
    if asked and (row["provider"] != "azure" or not encoding_for(asked).assumed):
        return asked
    found = re.search(r'models/([^:/]+):|"model":\s*"([^"]+)"', row["path"] + answer_text(row))
    return (found.group(1) or found.group(2)) if found else asked


def answer_text(row: dict[str, Any]) -> str:
    """Return the answer as text, whatever its kind."""
    return row.get("response_sse") or json.dumps(row.get("response"))


def reported_input(usage: dict[str, Any]) -> int | None:
    """Return the input tokens that were billed, caches included."""
    for name in ("prompt_tokens", "promptTokenCount"):
        if isinstance(usage.get(name), int):
            return usage[name]
    if not isinstance(usage.get("input_tokens"), int):
        return None
    cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
    return usage["input_tokens"] + sum(usage.get(name) or 0 for name in cached)


def category(row: dict[str, Any], model: str) -> str:
    """Name the kind of request."""
    tags = set(row["tags"])
    endpoint = ENDPOINTS[row["endpoint"]]
    of_openai = row["provider"] in ("openai", "azure") and OPENAI_MODEL.match(model.lower())
    if not of_openai:
        return f"other makers, {endpoint}"
    if endpoint in ("completions", "embeddings"):
        return endpoint
    if tags & {"files", "audio-in", "video-in"}:
        kind = "files and audio"
    elif "images" in tags:
        kind = "inline images" if inline_only(row["request"]) else "linked images"
    elif tags & {"hosted-tools", "server-state"}:
        kind = "hosted tools, stored state"
    elif tags & {"tools", "legacy-functions", "tool-history"}:
        kind = "tools"
    elif "response-format" in tags:
        kind = "response_format"
    else:
        kind = "text"
    if "reasoning-history" in tags and endpoint == "responses" and kind == "tools":
        return "responses tools, sealed reasoning"
    suffix = ", reasoning models" if REASONING.match(model) and kind in ("text", "tools") else ""
    return f"{endpoint} {kind}{suffix}"


def inline_only(request: dict[str, Any]) -> bool:
    """Tell whether no image is only linked."""
    return not re.search(r'"(?:url|image_url)": "https?:|"file_id"', json.dumps(request))


def inputs(rows: list[dict[str, Any]]) -> dict[str, list[Sample]]:
    """Estimate the input of each exchange."""
    found: dict[str, list[Sample]] = collections.defaultdict(list)
    for row in rows:
        reported = reported_input(row["usage"])
        if not reported:
            continue
        model = model_of(row)
        estimate = estimate_input(
            ENDPOINTS[row["endpoint"]], row["request"], model, row["provider"]
        )
        assert estimate is not None, "every endpoint of the benchmark has formulas"
        sample = Sample(row["id"], model, estimate.tokens, estimate.upper_bound, reported)
        found[category(row, model)].append(sample)
    return found


def streams(rows: list[dict[str, Any]]) -> dict[str, list[Sample]]:
    """Recount the output of each OpenAI stream; what the model thought is taken off the report."""
    found: dict[str, list[Sample]] = collections.defaultdict(list)
    for row in rows:
        endpoint = ENDPOINTS[row["endpoint"]]
        model = model_of(row)
        events = row.get("response_sse")
        if not events or row["provider"] not in ("openai", "azure"):
            continue
        if not OPENAI_MODEL.match(model.lower()):
            continue
        tally = OutputTally(encoding_for(model), endpoint, request=row["request"])
        calls = deliver(events, tally)
        usage = row["usage"]
        reported = usage.get("completion_tokens", usage.get("output_tokens"))
        if not reported:
            continue
        details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
        thought = (details or {}).get("reasoning_tokens") or 0
        kind = "tool calls" if calls else "text"
        after = ", after reasoning" if thought else ""
        sample = Sample(row["id"], model, tally.tokens(), None, reported - thought)
        found[f"stream of {endpoint} {kind}{after}"].append(sample)
    return found


def deliver(events: str, tally: OutputTally) -> int:
    """Feed the content of a stream to the tally; return how many calls of functions it had."""
    calls = 0
    for line in events.splitlines():
        if not line.startswith("data:") or line[5:].strip() == "[DONE]":
            continue
        event = json.loads(line[5:])
        for choice in event.get("choices") or []:
            calls += deliver_delta(choice.get("index", 0), choice.get("delta") or {}, tally)
            tally.text(choice.get("index", 0), "content", choice.get("text") or "")
        kind = event.get("type") or ""
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            tally.text(0, "content", event["delta"])
        elif kind == "response.function_call_arguments.delta":
            tally.text(0, "tool_arguments", event["delta"])
        elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            calls += 1
            tally.tool_call(0)
            tally.text(0, "tool_name", event["item"]["name"])
    return calls


def deliver_delta(index: int, delta: dict[str, Any], tally: OutputTally) -> int:
    """Feed one delta of a chat stream."""
    calls = 0
    tally.text(index, "content", delta.get("content") or "")
    tally.text(index, "refusal", delta.get("refusal") or "")
    for call in delta.get("tool_calls") or []:
        function = call.get("function") or {}
        if function.get("name"):
            calls += 1
            tally.tool_call(index)
            tally.text(index, "tool_name", function["name"])
        if function.get("arguments"):
            tally.text(index, "tool_arguments", function["arguments"])
    return calls


def print_table(samples: dict[str, list[Sample]]) -> None:
    """Print a line for each category: size, exact share, errors, bounds that did not hold."""
    head = ("category", "n", "exact", "cookbook", "error p50", "p95", "p95 %", "over bound")
    print("{:44} {:>5} {:>8} {:>8} {:>9} {:>6} {:>7} {:>10}".format(*head))
    for name in sorted(samples):
        group = samples[name]
        errors = sorted(sample.error for sample in group)
        shares = sorted(sample.error / sample.reported for sample in group)
        exact = sum(error == 0 for error in errors) / len(group)
        last = min(int(len(group) * 0.95), len(group) - 1)
        over = sum(s.bound is not None and s.bound < s.reported for s in group)
        print(
            f"{name:44} {len(group):5} {exact:8.1%} {COOKBOOK.get(name, ''):>8} "
            f"{errors[len(group) // 2]:9} {errors[last]:6} {shares[last]:7.1%} {over:10}"
        )


def main() -> None:
    """Read the corpus and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="?", type=Path, default=CORPUS)
    parser.add_argument("--wrong", metavar="CATEGORY")
    asked = parser.parse_args()
    started = time.perf_counter()
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for row in load(asked.corpus):
        if usable(row):
            first.setdefault((row["request_hash"], row["model"] or ""), row)
    rows = list(first.values())
    found = inputs(rows)
    recounted = streams(rows)
    if asked.wrong:
        for sample in found.get(asked.wrong, []) + recounted.get(asked.wrong, []):
            if sample.error:
                print(sample)
        return
    print_table(found)
    print()
    print_table(recounted)
    print(f"\n{len(rows)} requests in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
