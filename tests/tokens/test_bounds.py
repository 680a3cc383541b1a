"""Bounds come from bytes and hold."""

import base64

from meter.tokens.bounds import MediaBounds, bound_request

MEDIA = MediaBounds(image=1_000, page=2_000, hidden=100)
PNG = "iVBORw0KGgo" + "A" * 100_000


def grown(request, field, value):
    """Return by how much a member raises the bound."""
    return bound_request({**request, field: value}, MEDIA) - bound_request(request, MEDIA)


def test_an_empty_request_has_what_is_hidden():
    assert bound_request({}, MEDIA) == 100


def test_each_byte_counts():
    assert grown({}, "a", "x" * 1_000) == 1_000 + 4
    assert grown({}, "a", "é" * 1_000) == 2_000 + 4


def test_schemas_count_three_times_and_results_twice():
    assert grown({}, "tools", "x" * 1_000) == 3 * (1_000 + 4)
    message = [{"role": "tool", "content": "x" * 1_000}]
    assert 2_000 <= grown({}, "messages", message) < 2_200


def test_an_inline_image_counts_as_an_image_and_not_as_bytes():
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    assert 1_000 <= grown({}, "messages", [part]) < 1_300


def test_media_in_a_gemini_result_may_be_read_as_words():
    result = {"functionResponse": {"response": {"inlineData": {"data": PNG}}}}
    assert grown({}, "contents", [result]) > 100_000


def test_a_text_file_counts_its_bytes():
    encoded = base64.b64encode(b"x" * 3_000).decode()
    part = {"type": "file", "file": {"file_data": f"data:text/plain;base64,{encoded}"}}
    assert 5_000 <= grown({}, "messages", [part]) < 5_300


def test_a_linked_file_counts_as_the_largest():
    assert grown({}, "input", [{"type": "input_file", "file_id": "f"}]) > 400_000


def test_numbers_and_names_count():
    assert grown({}, "a", 12345) == 32
    assert grown({}, "a", {"name": None}) == 24 + 4 + 4 + 32


def test_depth_is_no_matter():
    deep = "x"
    for _ in range(100_000):
        deep = [deep]
    assert bound_request({"a": deep}, MEDIA) > 100_000
