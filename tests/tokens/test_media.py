"""Media in requests is recognised however it is written."""

import pytest

from meter.tokens.media import Media, is_media_text, media_of

PNG = "iVBORw0KGgoAAAANSUhEUg=="


@pytest.mark.parametrize(
    ("part", "media"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            Media("image", PNG),
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://x.org/a", "detail": "low"}},
            Media("image", "", "low"),
        ),
        (
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "high"},
            Media("image", PNG, "high"),
        ),
        ({"type": "input_image", "file_id": "file-1"}, Media("image")),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg", "format": "wav"}},
            Media("audio", "UklGRg"),
        ),
        (
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi"},
            },
            Media("file", "JVBERi", "", "a.pdf"),
        ),
        ({"type": "input_file", "file_id": "file-1"}, Media("file")),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            Media("image", PNG),
        ),
        (
            {
                "type": "image",
                "source": {"type": "url", "media_type": "image/png", "url": "https://x"},
            },
            Media("image"),
        ),
        ({"inlineData": {"mimeType": "audio/wav", "data": "UklGRg"}}, Media("audio", "UklGRg")),
        ({"inline_data": {"mime_type": "video/mp4", "data": "AAAA"}}, Media("video", "AAAA")),
        ({"fileData": {"mimeType": "application/pdf", "fileUri": "https://x"}}, Media("file")),
        ({"inlineData": {"data": PNG}}, Media("image", PNG)),
    ],
)
def test_forms(part, media):
    assert media_of(part) == media


@pytest.mark.parametrize("part", [{}, {"type": "text", "text": "x"}, {"source": 3}, {"data": "x"}])
def test_words_are_no_media(part):
    assert media_of(part) is None


def test_inline_bytes():
    media = Media("file", "aGVsbG8gd29ybGQ=")
    assert media.decoded() == b"hello world"
    assert media.size_bytes == 12
    assert Media("file", "a-_b").decoded() == b"k\xef\xdb"
    assert Media("file", "!").decoded() == b""
    assert Media("file").decoded() == b""


def test_media_text():
    assert is_media_text("url", "data:image/png;base64,xx")
    assert is_media_text("data", "x" * 300)
    assert not is_media_text("data", "x" * 200)
    assert not is_media_text("text", "x" * 300)
