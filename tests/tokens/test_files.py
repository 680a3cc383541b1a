"""PDF files: pages and text, from whatever can be read."""

import zlib

from fpdf import FPDF
from hypothesis import given
from hypothesis import strategies as st

from meter.tokens.files import pdf_outline


def written(*pages):
    document = FPDF()
    document.set_font("Helvetica")
    for text in pages:
        document.add_page()
        document.cell(text=text)
    return bytes(document.output())


def test_pages_and_text_of_a_real_file():
    outline = pdf_outline(written("Apples are tasty", "Pears too"))
    assert outline.pages == 2
    assert outline.text.split("\n") == ["Apples are tasty", "Pears too"]
    assert outline.content_bytes > 20


def test_kerned_text_is_joined():
    shown = zlib.compress(b"BT [ (Lor) 17 (em) -91 ( ip) (sum) ] TJ ET")
    content = b"%PDF-1.4 1 0 obj << /Length 5 >>\nstream\n" + shown + b"\nendstream"
    assert pdf_outline(content).text == "Lorem ipsum"


def test_images_and_fonts_are_left_out():
    noise = zlib.compress(b"(secret) Tj" * 10)
    for kind in (b"/Subtype /Image", b"/FontFile2 3 0 R", b"/Length1 5"):
        content = b"%PDF 1 0 obj << " + kind + b" >>\nstream\n" + noise
        outline = pdf_outline(content)
        assert (outline.text, outline.content_bytes) == ("", 0)


def test_a_stream_is_inflated_to_a_limit():
    bomb = zlib.compress(b"\0" * 50_000_000)
    outline = pdf_outline(b"%PDF 1 0 obj <<>>\nstream\n" + bomb)
    assert outline.content_bytes == 4_000_000


@given(st.binary(max_size=200))
def test_no_bytes_raise(content):
    assert pdf_outline(content).pages >= 1
    assert pdf_outline(b"%PDF stream\n" + content).pages >= 1
