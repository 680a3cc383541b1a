"""Compare counted tokens with what providers reported, over recorded exchanges.

    python benchmarks/accuracy.py [CORPUS.jsonl.gz] [--wrong CATEGORY] [--write docs/accuracy.md]

Reads the corpus that may lie beside the checkout (`../shared/corpus/dev.jsonl.gz`), takes one
sample of each (request, model), and prints for each category how often the input estimate is
exact, and how far off it is. Streams are recounted from the delivered content alone. Corrections
are learnt from one half of the requests and judged by the other, both ways round. `--wrong` lists
the exchanges of one category that are not exact, `--write` puts the tables into a page.
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

from meter.config import Settings
from meter.core.calibrating import Sample as Pair
from meter.core.calibrating import calibrate
from meter.pipeline import Pipeline
from meter.prices.book import PriceBook
from meter.reports.replay import NoStore, replay_exchange
from meter.tokens.estimates import estimate_input
from meter.tokens.models import encoding_for

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
    "bedrock.converse": "converse",
    "bedrock.converse-stream": "converse",
    "bedrock.invoke": "invoke",
    "bedrock.invoke-with-response-stream": "invoke",
    "cohere.chat": "cohere.chat",
    "ollama.chat": "ollama.chat",
    "ollama.generate": "ollama.generate",
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
MAKERS = {
    "anthropic": "Anthropic",
    "bedrock": "Bedrock",
    "cohere": "Cohere",
    "deepseek": "DeepSeek",
    "google": "Gemini",
    "vertex": "Gemini",
    "mistral": "Mistral",
    "openrouter": "OpenRouter",
    "perplexity": "Perplexity",
    "xai": "xAI",
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


def category(row: dict[str, Any], model: str) -> str:
    """Name the kind of request."""
    tags = set(row["tags"])
    endpoint = ENDPOINTS[row["endpoint"]]
    of_openai = row["provider"] in ("openai", "azure") and OPENAI_MODEL.match(model.lower())
    if not of_openai:
        return f"{row['provider']} {kind_of_content(tags)}"
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


def kind_of_content(tags: set[str]) -> str:
    """Name the kind of request to another maker's model, coarsely."""
    if tags & {"files", "audio-in", "video-in", "images"}:
        return "media"
    if tags & {"hosted-tools", "server-state"}:
        return "hosted tools, stored state"
    return "tools" if tags & {"tools", "legacy-functions", "tool-history"} else "text"


def inline_only(request: dict[str, Any]) -> bool:
    """Tell whether no image is only linked."""
    return not re.search(r'"(?:url|image_url)": "https?:|"file_id"', json.dumps(request))


def inputs(
    rows: list[dict[str, Any]], results: dict[str, dict[str, Any]]
) -> dict[str, list[Sample]]:
    """Compare the estimated input of each exchange with what was reported."""
    found: dict[str, list[Sample]] = collections.defaultdict(list)
    for row in rows:
        result = results[row["id"]]
        reported = (result["usage"] or {}).get("input_tokens")
        if not reported or result["basis"] != "reported":
            continue
        endpoint, model = ENDPOINTS[row["endpoint"]], model_of(row)
        estimate = estimate_input(endpoint, row["request"], model, row["provider"])
        assert estimate is not None, "every endpoint of the benchmark has formulas"
        sample = Sample(row["id"], model, estimate.tokens, estimate.upper_bound, int(reported))
        found[category(row, model)].append(sample)
    return found


def replayed(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Send the exchanges through the real pipeline; return what it made of each, by id."""
    pipeline = Pipeline(NoStore(), PriceBook.bundled(), Settings())
    return {row["id"]: replay_exchange(row, pipeline) for row in rows}


def streams(
    rows: list[dict[str, Any]], results: dict[str, dict[str, Any]]
) -> dict[str, list[Sample]]:
    """Compare the count of each OpenAI stream; what the model thought is taken off the report."""
    found: dict[str, list[Sample]] = collections.defaultdict(list)
    for row in rows:
        events, model = row.get("response_sse"), model_of(row)
        of_openai = row["provider"] in ("openai", "azure") and OPENAI_MODEL.match(model.lower())
        usage = results[row["id"]]["usage"] or {}
        if not events or not of_openai or not usage.get("output_tokens"):
            continue
        thought = usage.get("reasoning_tokens") or 0
        calls = re.search(
            r'"tool_calls": ?\[|"function_call": ?\{|"type": ?"function_call"', events
        )
        kind = "tool calls" if calls else "text"
        after = ", after reasoning" if thought else ""
        counted = results[row["id"]]["counted_output_tokens"] or 0
        sample = Sample(row["id"], model, counted, None, usage["output_tokens"] - thought)
        found[f"stream of {ENDPOINTS[row['endpoint']]} {kind}{after}"].append(sample)
    return found


def corrected(
    rows: list[dict[str, Any]], results: dict[str, dict[str, Any]]
) -> dict[str, tuple[list[float], list[float]]]:
    """Return the relative errors of other makers' estimates, as they are and corrected.

    A correction is learnt for each provider, model and kind of content from the requests of one
    half, told by their hash, and judged by those of the other.
    """
    places: dict[tuple[str, str, str], tuple[list[Pair], list[Pair]]] = {}
    for row in rows:
        result = results[row["id"]]
        estimated, usage = result["estimated_input_tokens"], result["usage"] or {}
        kind = kind_of_content(set(row["tags"]))
        if row["provider"] not in MAKERS or result["basis"] != "reported" or not estimated:
            continue
        if kind not in ("text", "tools") or not usage.get("input_tokens"):
            continue
        halves = places.setdefault((row["provider"], result["model"] or "", kind), ([], []))
        pair = Pair(estimated, int(usage["input_tokens"]))
        halves[int(row["request_hash"], 16) % 2].append(pair)
    found: dict[str, tuple[list[float], list[float]]] = {}
    for (provider, _, kind), halves in places.items():
        before, after = found.setdefault(f"{MAKERS[provider]}, {kind}", ([], []))
        for learnt, judged in (halves, halves[::-1]):
            correction = calibrate(learnt)
            for pair in judged:
                off = abs(pair.estimated - pair.reported)
                before.append(off / pair.reported)
                off = abs(correction.corrected(pair.estimated) - pair.reported)
                after.append(off / pair.reported)
    return found


def table(samples: dict[str, list[Sample]]) -> Iterator[str]:
    """Yield a line for each category: size, exact share, errors, bounds that did not hold."""
    head = ("category", "n", "exact", "cookbook", "error p50", "p95", "p95 %", "over bound")
    yield "{:44} {:>5} {:>8} {:>8} {:>9} {:>6} {:>7} {:>10}".format(*head)
    for name in sorted(samples):
        group = samples[name]
        errors = sorted(sample.error for sample in group)
        shares = sorted(sample.error / sample.reported for sample in group)
        exact = sum(error == 0 for error in errors) / len(group)
        last = min(int(len(group) * 0.95), len(group) - 1)
        over = sum(s.bound is not None and s.bound < s.reported for s in group)
        yield (
            f"{name:44} {len(group):5} {exact:8.1%} {COOKBOOK.get(name, ''):>8} "
            f"{errors[len(group) // 2]:9} {errors[last]:6} {shares[last]:7.1%} {over:10}"
        )


def table_of_errors(errors: dict[str, tuple[list[float], list[float]]]) -> Iterator[str]:
    """Yield a line for each maker and kind: relative errors, uncorrected and corrected."""
    yield f"{'estimates of other makers':34} {'n':>5} {'uncorrected p50':>16} {'p90':>7} " + (
        f"{'corrected p50':>14} {'p90':>7}"
    )
    for name, (before, after) in sorted(errors.items()):
        last = min(int(len(before) * 0.9), len(before) - 1)
        before.sort()
        after.sort()
        yield (
            f"{name:34} {len(before):5} {before[len(before) // 2]:16.1%} {before[last]:7.1%} "
            f"{after[len(after) // 2]:14.1%} {after[last]:7.1%}"
        )


def write(page: Path, lines: list[str]) -> None:
    """Put the lines into the first fenced block of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition("```\n")
    _, _, after = rest.partition("```\n")
    text = "\n".join(line.rstrip() for line in lines)
    page.write_text(f"{before}```\n{text}\n```\n{after}", encoding="utf-8")


def main() -> None:
    """Read the corpus and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="?", type=Path, default=CORPUS)
    parser.add_argument("--wrong", metavar="CATEGORY")
    parser.add_argument("--write", metavar="PAGE", type=Path)
    asked = parser.parse_args()
    started = time.perf_counter()
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for row in load(asked.corpus):
        if usable(row):
            first.setdefault((row["request_hash"], row["model"] or row["path"]), row)
    rows = list(first.values())
    results = replayed(rows)
    found = inputs(rows, results)
    recounted = streams(rows, results)
    if asked.wrong:
        for sample in found.get(asked.wrong, []) + recounted.get(asked.wrong, []):
            if sample.error:
                print(sample)
        return
    ours = {name: group for name, group in found.items() if is_openai_category(name)}
    lines = [*table(ours), "", *table(recounted), ""]
    lines += table_of_errors(corrected(rows, results))
    print("\n".join(lines))
    print(f"\n{len(rows)} requests in {time.perf_counter() - started:.0f} s")
    if asked.write:
        write(asked.write, lines)


def is_openai_category(name: str) -> bool:
    """Tell whether a category is one of OpenAI's own models."""
    return name.split()[0] in ("chat", "completions", "embeddings", "responses")


if __name__ == "__main__":
    main()
