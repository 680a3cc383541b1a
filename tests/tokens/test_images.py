"""Images: published tokens, and sizes read from headers."""

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meter.tokens.images import (
    claude_image_tokens,
    gemini_image_tokens,
    image_size,
    inline_image_size,
    openai_image_bound,
    openai_image_tokens,
    other_image_tokens,
)


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # The guide's own examples.
        ("gpt-4o", (1024, 1024), "high", 765),
        ("gpt-4o", (2048, 4096), "high", 1105),
        ("gpt-4o", (4096, 8192), "low", 85),
        ("gpt-5", (1024, 1024), "", 630),
        ("gpt-4o-mini", (1024, 1024), "", 25501),
        # One tile: 75 + 150.
        ("o1", (512, 512), "", 225),
        ("gpt-4o", (1, 1), "", 255),
        # 20 x 15 patches of 32 pixels, the factor, and one more; recorded usage.
        ("gpt-4.1-mini", (640, 480), "", 488),
        ("o4-mini", (640, 480), "", 517),
        ("gpt-5-mini", (640, 480), "", 361),
        ("gpt-5-nano", (640, 480), "", 451),
        ("gpt-5.4", (60, 30), "", 4),
        # 4 x 4 patches * 2.46 = 39.36
        ("gpt-4.1-nano", (128, 128), "", 41),
        # 1800 x 2400 is shrunk to 1056 x 1408: 33 * 44 = 1452 patches; * 1.72 = 2497.44.
        ("o4-mini", (1800, 2400), "", 2499),
    ],
)
def test_openai(model, size, detail, tokens):
    assert openai_image_tokens(model, size, detail) == tokens


def test_an_unknown_size_is_taken_for_1024_squared():
    assert openai_image_tokens("gpt-4o", None, "") == 765


@given(
    st.sampled_from(["gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-nano", "gpt-5.4", "o4-mini", "x"]),
    st.integers(1, 30_000),
    st.integers(1, 30_000),
)
def test_no_image_costs_more_than_the_bound(model, width, height):
    assert 0 < openai_image_tokens(model, (width, height), "") <= openai_image_bound(model)


def test_claude():
    # 28-pixel patches: 1092 / 28 = 39 squared is 1521; more is shrunk to 1568 at most; 3 around.
    assert claude_image_tokens((1092, 1092)) == 1524
    assert claude_image_tokens((200, 200)) == 67
    assert claude_image_tokens((8000, 8000)) == 1571


def test_other_makers():
    # 128 / 28 = 4.6: 5 rows of 5, and one more for each row of Mistral's.
    assert other_image_tokens("mistral-small-latest", (128, 128)) == 30
    assert other_image_tokens("qwen3", (128, 128)) == 27
    assert other_image_tokens("anthropic/claude-haiku-4.5", (128, 128)) == 28
    assert other_image_tokens("google/gemini-2.5-flash", (128, 128)) == 258
    assert other_image_tokens("a-model", (128, 128)) == 85 + 170


def test_gemini():
    assert gemini_image_tokens((384, 384)) == 258
    # 960 x 540: units of 360 pixels, 3 x 2 of them.
    assert gemini_image_tokens((960, 540)) == 6 * 258


def picture(kind, size=(37, 21), **options):
    held = io.BytesIO()
    Image.new("RGB", size).save(held, kind, **options)
    return held.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
    ],
)
def test_sizes_of_real_files(kind, options):
    assert image_size(picture(kind, **options)) == (37, 21)


def test_a_jpeg_with_much_before_its_size():
    body = picture("JPEG")
    segment = b"\xff\xe1" + (65_535).to_bytes(2, "big") + b"\0" * 65_533
    assert image_size(body[:2] + segment * 3 + body[2:]) == (37, 21)


def test_inline_addresses():
    encoded = base64.b64encode(picture("PNG")).decode()
    assert inline_image_size(f"data:image/png;base64,{encoded}") == (37, 21)
    assert inline_image_size(encoded) == (37, 21)
    assert inline_image_size("https://example.com/x.png") is None
    assert inline_image_size("data:image/svg+xml,<svg/>") is None
    assert inline_image_size("data:image/png;base64") is None
    assert inline_image_size("") is None


@given(st.binary(max_size=64))
def test_no_bytes_raise(head):
    for mark in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF0000WEBPVP8X"):
        size = image_size(mark + head)
        assert size is None or min(size) > 0


@given(st.text(max_size=64))
def test_no_text_raises(text):
    inline_image_size(text)
    inline_image_size("data:image/png;base64," + text)
