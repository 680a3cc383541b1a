"""Voyage's embeddings beyond plain text."""

import pytest

from meter.core.usage import Usage
from tests.providers.native_answers import answer, ask, body

HOST = "api.voyageai.com"


@pytest.mark.parametrize("path", ["/v1/multimodalembeddings", "/v1/contextualizedembeddings"])
def test_the_total_is_input(path: str) -> None:
    reading = ask(HOST, path, model="voyage-multimodal-3", inputs=[])
    assert (reading.provider, reading.model, reading.max_output_tokens) == (
        "voyage", "voyage-multimodal-3", 0,
    )  # fmt: skip
    seen, _ = answer(HOST, reading, body({"data": [], "usage": {"total_tokens": 60}}))
    assert seen.usage == Usage(input_tokens=60)


def test_what_is_no_text_is_images() -> None:
    reading = ask(HOST, "/v1/multimodalembeddings", model="m")
    usage = {"text_tokens": 5, "image_pixels": 2_000_000, "total_tokens": 3576}
    seen, _ = answer(HOST, reading, body({"usage": usage}))
    assert seen.usage == Usage(input_tokens=3576, input_image_tokens=3571)
