"""Counted tokens against those that providers reported, over the recorded exchanges beside us."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import accuracy  # noqa: E402  (a script, found beside the tests)

# The largest median error of the estimates of other makers' prompts, uncorrected and corrected.
MAKERS = {
    "Anthropic, text": 0.03,
    "Bedrock, text": 0.04,
    "Cohere, text": 0.05,
    "DeepSeek, text": 0.02,
    "Gemini, text": 0.03,
    "Mistral, text": 0.04,
    "OpenRouter, text": 0.02,
    "Perplexity, text": 0.01,
}
# The least exact share of each category; what each is today is a few points above.
INPUTS = {
    "chat text": 0.99,
    "chat tools": 0.90,
    "chat response_format": 0.98,
    "chat text, reasoning models": 0.85,
    "chat tools, reasoning models": 0.95,
    "chat inline images": 0.90,
    "responses text": 0.90,
    "responses text, reasoning models": 0.95,
    "responses tools": 0.90,
    "responses tools, reasoning models": 0.95,
    "responses response_format": 0.95,
    "completions": 0.95,
    "embeddings": 0.99,
}
STREAMS = {
    "stream of chat text": 0.85,
    "stream of chat tool calls": 0.75,
    "stream of responses text": 0.95,
    "stream of responses tool calls": 0.95,
}


@pytest.fixture(scope="module")
def all_rows(shared_folder):
    first = {}
    for row in accuracy.load(shared_folder / "corpus" / "dev.jsonl.gz"):
        if accuracy.usable(row):
            first.setdefault((row["request_hash"], row["model"] or row["path"]), row)
    return list(first.values())


@pytest.fixture(scope="module")
def rows(all_rows):
    return [row for row in all_rows if row["provider"] in ("openai", "azure")]


@pytest.fixture(scope="module")
def others(all_rows):
    # Of text only: the benchmark takes those with tools too.
    chosen = [
        row
        for row in all_rows
        if row["provider"] in accuracy.MAKERS
        and accuracy.kind_of_content(set(row["tags"])) == "text"
    ]
    return accuracy.corrected(chosen, accuracy.replayed(chosen))


@pytest.fixture(scope="module")
def results(rows):
    return accuracy.replayed(rows)


@pytest.fixture(scope="module")
def inputs(rows, results):
    return accuracy.inputs(rows, results)


@pytest.fixture(scope="module")
def streams(rows, results):
    return accuracy.streams(rows, results)


def exact_share(samples):
    return sum(sample.error == 0 for sample in samples) / len(samples)


@pytest.mark.parametrize("category", INPUTS)
def test_inputs_are_exact(inputs, category):
    assert exact_share(inputs[category]) >= INPUTS[category]


@pytest.mark.parametrize("category", STREAMS)
def test_streams_are_recounted(streams, category):
    assert exact_share(streams[category]) >= STREAMS[category]


def test_functions_are_never_far_off(inputs):
    shares = sorted(s.error / s.reported for s in inputs["chat tools"])
    assert shares[int(len(shares) * 0.95)] <= 0.03


def test_no_bound_is_exceeded_but_for_what_is_not_in_the_request(inputs):
    over = [
        (category, sample)
        for category, samples in inputs.items()
        for sample in samples
        if sample.bound < sample.reported and "hosted tools" not in category
    ]
    assert over == []


@pytest.mark.parametrize("maker", MAKERS)
def test_estimates_of_other_makers_are_close_with_and_without_corrections(others, maker):
    for errors in others[maker]:
        assert sorted(errors)[len(errors) // 2] <= MAKERS[maker]
