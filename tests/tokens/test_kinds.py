"""Kinds of content: told from a request of any API."""

import pytest

from meter.tokens.kinds import kind_of

WORDS = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("request_body", "kind"),
    [
        ({"messages": [WORDS]}, "text"),
        ({"contents": [{"parts": [{"text": "hello"}]}]}, "text"),
        ({"input": "hello"}, "text"),
        ({}, "text"),
        ({"messages": [WORDS], "tools": [{"type": "function", "function": {}}]}, "tools"),
        ({"messages": [WORDS], "tools": [{"name": "f", "input_schema": {}}]}, "tools"),
        ({"messages": [WORDS], "toolConfig": {"tools": [{"toolSpec": {}}]}}, "tools"),
        ({"contents": [WORDS], "tools": [{"functionDeclarations": []}]}, "tools"),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {}}]}]}, "media"),
        ({"messages": [{"content": [{"image": {"source": {}}}]}]}, "media"),
        ({"contents": [{"parts": [{"inlineData": {"data": "x"}}]}]}, "media"),
        ({"input": [{"output": [{"type": "input_image"}]}]}, "media"),
        ({"messages": [WORDS], "tools": [{"type": "web_search_20250305"}]}, None),
        ({"contents": [WORDS], "tools": [{"googleSearch": {}}]}, None),
        ({"input": "hello", "previous_response_id": "r"}, None),
        ({"contents": [WORDS], "cachedContent": "c"}, None),
        ({"messages": [None, 5, "x", {"content": [None, 5, "x", [[]]]}], "tools": "x"}, "tools"),
    ],
)
def test_the_kind_of_a_request(request_body, kind):
    assert kind_of(request_body) == kind
