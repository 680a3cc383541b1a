"""Counted tokens against those that providers reported, over the recorded exchanges beside us."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import accuracy  # noqa: E402  (a script, found beside the tests)

# The least exact share of each category; what each is today is a few points above.
INPUTS = {
    "chat text": 0.99,
    "chat tools": 0.90,
    "chat response_format": 0.98,
    "chat text, reasoning models": 0.85,
    "chat tools, reasoning models": 0.95,
    "chat inline images": 0.80,
    "responses text": 0.90,
    "responses text, reasoning models": 0.95,
    "responses tools": 0.80,
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
def rows(shared_folder):
    first = {}
    for row in accuracy.load(shared_folder / "corpus" / "dev.jsonl.gz"):
        if accuracy.usable(row) and row["provider"] in ("openai", "azure"):
            first.setdefault((row["request_hash"], row["model"]), row)
    return list(first.values())


@pytest.fixture(scope="module")
def inputs(rows):
    return accuracy.inputs(rows)


@pytest.fixture(scope="module")
def streams(rows):
    return accuracy.streams(rows)


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
    assert over == [] or all("other makers" in category for category, _ in over)
