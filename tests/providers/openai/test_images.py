"""Pictures: tokens where they are reported, else each by its size and quality."""

import json
from typing import Any

import pytest

from meter.core.call import Observation
from meter.core.usage import Usage
from meter.providers.registry import dialect_for, dialect_named
from tests.providers.answers import JSON, SSE, asking, event, observe
from tests.providers.forms import form, sending

OPENAI = dialect_named("openai")
PATH = "/v1/images/generations"
USAGE = {
    "input_tokens": 431, "input_tokens_details": {"image_tokens": 388, "text_tokens": 43},
    "output_tokens": 1364, "output_tokens_details": {"image_tokens": 1056, "text_tokens": 308},
    "total_tokens": 1795,
}  # fmt: skip
TOKENS = Usage(
    input_tokens=431, input_image_tokens=388, output_tokens=1364, output_image_tokens=1056
)


def drawn(answer: Any, **fields: Any) -> Observation:
    """Ask for pictures and answer with a body."""
    reading = asking(OPENAI, PATH, prompt="a cat", **fields)
    seen, _ = observe(OPENAI, reading, [json.dumps(answer).encode()], headers=JSON)
    return seen


def test_reported_tokens_are_read_with_their_traits() -> None:
    answer = {"data": [{"b64_json": "AAAA"}], "size": "1024x1024", "quality": "medium",
              "usage": USAGE}  # fmt: skip
    seen = drawn(answer, model="gpt-image-1.5", size="auto", quality="auto")
    assert seen.usage == TOKENS
    assert seen.traits == (("quality", "medium"), ("size", "1024x1024"))
    assert (seen.model_served, seen.finished, seen.defects) == ("gpt-image-1.5", True, ())


@pytest.mark.parametrize(
    ("fields", "traits"),
    [
        ({"model": "dall-e-2", "size": "256x256"}, (("size", "256x256"),)),
        ({"model": "dall-e-2"}, (("size", "1024x1024"),)),
        ({"model": "dall-e-3"}, (("quality", "standard"), ("size", "1024x1024"))),
        (
            {"model": "dall-e-3", "quality": "hd", "size": "1024x1792"},
            (("quality", "hd"), ("size", "1024x1792")),
        ),
        ({"model": "flux", "size": 7}, ()),
    ],
)
def test_pictures_are_counted_with_what_prices_them(
    fields: dict[str, Any], traits: tuple[tuple[str, str], ...]
) -> None:
    seen = drawn({"created": 1, "data": [{"url": "u"}, {"url": "v"}]}, **fields)
    assert seen.usage == Usage(images=2)
    assert (seen.traits, seen.model_served) == (traits, fields["model"])
    assert seen.finished


def test_a_request_without_a_model_is_the_oldest_ones() -> None:
    seen = drawn({"data": [{"url": "u"}]}, model=None)
    assert (seen.model_served, seen.traits) == ("dall-e-2", (("size", "1024x1024"),))
    assert drawn({"data": [{"url": "u"}], "usage": USAGE}, model=None).model_served is None
    other = dialect_named("xai")
    reading = other.read("POST", PATH, None, b"{}")
    seen, _ = observe(other, reading, [b'{"data": [{"url": "u"}]}'], headers=JSON)
    assert (seen.model_served, seen.usage) == (None, Usage(images=1))


def test_what_the_issuer_charges_is_kept_beside_the_pictures() -> None:
    seen = drawn({"data": [{"url": "u"}], "usage": {"cost_in_usd_ticks": 200_000_000}})
    assert (seen.usage, seen.provider_cost_nanos) == (Usage(images=1), 20_000_000)


def test_a_stream_reports_at_the_end_of_the_picture() -> None:
    stream = event({"type": "image_generation.partial_image", "b64_json": "AAAA"})
    done = {"type": "image_generation.completed", "b64_json": "BBBB", "quality": "low",
            "size": "1024x1536", "usage": USAGE}  # fmt: skip
    reading = asking(OPENAI, PATH, model="gpt-image-1.5", stream=True, partial_images=1)
    assert reading.streaming
    seen, _ = observe(OPENAI, reading, [stream, event(done)])
    assert (seen.usage, seen.finished) == (TOKENS, True)
    assert seen.traits == (("quality", "low"), ("size", "1024x1536"))
    early, _ = observe(OPENAI, reading, [stream], finish=False)
    assert (early.usage, early.counted) == (None, Usage(images=1))


def test_what_a_stream_reports_as_output_is_the_picture() -> None:
    usage = {key: value for key, value in USAGE.items() if key != "output_tokens_details"}
    done = {"type": "image_generation.completed", "usage": usage}
    reading = asking(OPENAI, PATH, model="gpt-image-1.5", stream=True)
    seen, _ = observe(OPENAI, reading, [event(done)])
    assert seen.usage == Usage(
        input_tokens=431, input_image_tokens=388, output_tokens=1364, output_image_tokens=1364
    )
    assert "output_image_tokens" not in (drawn({"data": [{}], "usage": usage}).usage or {})


def test_an_answer_that_cannot_be_read_is_counted_by_the_request() -> None:
    reading = asking(OPENAI, PATH, model="dall-e-2", n=3)
    seen, _ = observe(OPENAI, reading, [b"not JSON"], headers=JSON)
    assert (seen.usage, seen.counted) == (None, Usage(images=3))


def test_no_picture_is_no_picture() -> None:
    assert drawn({"data": []}).usage == Usage(images=0)
    seen = drawn({"error": {"code": "moderation_blocked"}})
    assert (seen.usage, seen.counted, seen.error_in_body) == (None, None, True)


def test_another_models_tokens_are_told() -> None:
    svg = {"input_tokens": 5, "output_tokens": 6, "model": "gpt-6", "total_tokens": 11}
    seen = drawn({"data": [{}], "usage": USAGE, "svg_usage": svg})
    assert seen.usage == TOKENS
    assert seen.defects == ("another model drew: its tokens are not in this record",)


def test_two_reports_in_a_stream_are_told() -> None:
    done = event({"type": "image_edit.completed", "usage": USAGE})
    reading = asking(OPENAI, "/v1/images/edits", stream=True)
    seen, _ = observe(OPENAI, reading, [done, done], headers=SSE)
    assert seen.usage == TOKENS
    assert seen.defects == ("2 pictures reported usage: the last one's holds",)


def test_edits_and_variations_are_forms() -> None:
    reading = sending(OPENAI, "/v1/images/variations", form(n=2, size="256x256"))
    assert (reading.endpoint, reading.model) == ("images.variations", None)
    body = b'{"data": [{"url": "u"}, {"url": "v"}]}'
    seen, _ = observe(OPENAI, reading, [body], headers=JSON)
    assert (seen.usage, seen.traits) == (Usage(images=2), (("size", "256x256"),))
    reading = sending(OPENAI, "/v1/images/edits", form(model="gpt-image-1", user="alice"))
    assert (reading.endpoint, reading.model) == ("images.edits", "gpt-image-1")
    assert reading.hint.subject == "alice"


def test_azure_names_the_deployment_in_the_path() -> None:
    path = "/openai/deployments/my-dalle/images/generations?api-version=2024-06-01"
    reading = dialect_for("r.openai.azure.com").read("POST", path, None, b'{"n": 1}')
    assert (reading.endpoint, reading.model) == ("images.generations", "my-dalle")
