"""Cohere's embed, generate, classify and parse."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.native_answers import NDJSON, answer, ask, body, lines

HOST = "api.cohere.com"


def billed(**units: float) -> dict[str, Any]:
    return {"id": "e1", "meta": {"api_version": {"version": "2"}, "billed_units": units}}


EMBEDDED: dict[str, tuple[dict[str, float], Usage]] = {
    "text": (
        {"input_tokens": 7, "image_tokens": 0}, Usage(input_tokens=7, input_image_tokens=0)
    ),
    # The tokens of an image are beside those of text.
    "image": (
        {"input_tokens": 3, "image_tokens": 258}, Usage(input_tokens=261, input_image_tokens=258)
    ),
    "image by the piece": ({"images": 2.0}, Usage(images=2)),
    "text tokens by their other name": ({"text_tokens": 4}, Usage(input_tokens=4)),
}  # fmt: skip


@pytest.mark.parametrize("case", EMBEDDED)
@pytest.mark.parametrize("path", ["/v2/embed", "/v1/embed"])
def test_embeddings_are_billed_by_their_units(path: str, case: str) -> None:
    units, usage = EMBEDDED[case]
    reading = ask(HOST, path, model="embed-v4.0", texts=["x"])
    assert (reading.endpoint, reading.model, reading.max_output_tokens) == (
        "embed",
        "embed-v4.0",
        0,
    )
    seen, _ = answer(HOST, reading, body({"embeddings": [[0.1]], **billed(**units)}))
    assert (seen.usage, seen.response_id, seen.finished) == (usage, "e1", True)


def test_pages_are_billed_and_classifications_are_told() -> None:
    seen, _ = answer(HOST, ask(HOST, "/v2/parse", model="m"), body(billed(pages=3.0)))
    assert (seen.usage, seen.defects) == (Usage(pages=3), ())
    seen, _ = answer(HOST, ask(HOST, "/v1/classify", model="m"), body(billed(classifications=4)))
    assert (seen.usage, seen.defects) == (
        None,
        ("found billed classifications, which have no unit",),
    )


def test_generations_are_billed_together() -> None:
    reading = ask(HOST, "/v1/generate", model="command", max_tokens=20, num_generations=3)
    assert (reading.endpoint, reading.max_output_tokens) == ("cohere.generate", 60)
    seen, _ = answer(HOST, reading, body(billed(input_tokens=7, output_tokens=69)))
    assert seen.usage == Usage(input_tokens=7, output_tokens=69)


def test_streamed_generations_without_units_are_handed_out() -> None:
    stream = lines(
        {"event_type": "text-generation", "text": "Ar", "index": 0, "is_finished": False},
        {"event_type": "text-generation", "text": "Ho", "index": 1, "is_finished": False},
        {"event_type": "stream-end", "is_finished": True, "response": {"id": "g"}},
    )
    reading = ask(HOST, "/v1/generate", model="command", stream=True)
    seen, sink = answer(HOST, reading, stream, NDJSON)
    assert (seen.usage, seen.finished) == (None, True)
    assert (sink.joined("content", 0), sink.joined("content", 1)) == ("Ar", "Ho")
