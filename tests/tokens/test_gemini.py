"""generateContent requests: approximations with what is known of them."""

import pytest

from meter.tokens.counting import count_text
from meter.tokens.gemini import estimate


def tokens(contents=None, **request):
    return estimate({"contents": contents, **request}, "gemini-2.5-flash").tokens


HELLO = {"role": "user", "parts": [{"text": "tiktoken is great!"}]}  # 6 in o200k_base


def test_text():
    # 0.62 + 0.98 * 6 + 0.26 for a mark = 6.76; 6.14 more for as many words.
    assert tokens([HELLO]) == 7
    assert tokens([HELLO], systemInstruction=HELLO) == 13
    assert tokens([HELLO], system_instruction={"parts": {"text": "tiktoken is great!"}}) == 13
    assert tokens("tiktoken is great!") == 7
    assert tokens(HELLO) == 7


def test_functions_and_calls():
    declared = {"name": "now"}
    size = count_text('{"name":"now"}', "o200k_base")
    tools = [{"functionDeclarations": [declared]}]
    assert tokens([HELLO], tools=tools) == round(6.76 + 1.8 + 0.68 * size)
    called = {"parts": [{"functionCall": declared}]}
    # 0.62 + 16.8; 0.92 for each of "now" and "{}", 1.37 for each brace.
    assert tokens([called]) == 22
    # {"t":1} has 5 tokens, "late" before it one: 0.62 + 0.9 * 6.
    given = {"parts": [{"functionResponse": {"name": "late", "response": {"t": 1}}}]}
    assert tokens([given]) == round(0.62 + 0.9 * count_text('late{"t":1}', "o200k_base"))


def test_a_signature_beside_a_call_costs_what_was_thought():
    part = {"functionCall": {"name": "now"}, "thoughtSignature": "x" * 1_000}
    # 22 as above, and 0.06 for each character.
    assert tokens([{"parts": [part]}]) == 82


@pytest.mark.parametrize(
    ("mime", "data", "count"),
    [
        ("image/png", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAA", 258),
        # 48,000 bytes at 128 kbit/s are 3 s of 32 tokens.
        ("audio/mp3", "A" * 64_000, 96),
        ("application/pdf", "JVBERi0xLjQ=", 258),
        ("text/plain", "dGlrdG9rZW4gaXMgZ3JlYXQh", 6),
        ("video/mp4", "AAAA", 3_000),
    ],
)
def test_media(mime, data, count):
    part = {"inlineData": {"mimeType": mime, "data": data}}
    # 0.62 for the request rounds up.
    assert tokens([{"parts": [part]}]) == count + 1


def test_cached_content_is_noted():
    found = estimate({"contents": [HELLO], "cachedContent": "c/1"}, "gemini-2.5-flash")
    assert "cachedContent" in found.notes[1]
    assert not found.exact


@pytest.mark.parametrize("odd", [None, 5, [], [None, 5, {"parts": [None, 5, "x", {"text": 5}]}]])
def test_odd_contents(odd):
    assert 0 <= tokens(odd, tools=odd, systemInstruction=odd) <= 3
