"""The pages of an invoice say what the invoice says, and are the same bytes each time."""

import io
from dataclasses import replace
from decimal import Decimal

import pytest
from pypdf import PdfReader

from meter.core.invoices import (
    Invoice,
    Item,
    Kind,
    Line,
    LineKind,
    Parties,
    Tax,
    credit_note,
    period_named,
)
from meter.exports.invoice_pdf import to_pdf

NOVEMBER = period_named("2026-11", "Asia/Shanghai")
OCTOBER = period_named("2026-10", "Asia/Shanghai")


def a_line(model, unit, quantity, nanos, amount, kind=LineKind.USAGE, period=NOVEMBER):
    return Line(kind, period, Item(model, unit, nanos, 10**6), quantity, amount)


INVOICE = Invoice(
    kind=Kind.INVOICE,
    subject="陈静",
    currency="CNY",
    period=NOVEMBER,
    issued_us=1_796_083_200_000_000,
    lines=(
        # 1,234,567 x 2.50 / 10⁶ = 3.0864175; 10 x 4 / 10⁶; -4,000 x 2.50 / 10⁶ = -0.01.
        a_line("gpt-4o", "input_tokens", 1_234_567, 2_500_000_000, 3_086_417_500),
        a_line("通义千问", "output_tokens", 10, 4_000_000_000, 40_000),
        a_line("gpt-4o", "input_tokens", -4000, 2_500_000_000, -10_000_000,
               LineKind.ADJUSTMENT, OCTOBER),
    ),
    number="INV-000012",
    tax=Tax("增值税 VAT", Decimal("6")),
    parties=Parties("北京某某科技有限公司", "上海示例贸易有限公司\n财务部", "请在 30 天内付款。"),
)  # fmt: skip


def pages_of(pdf):
    return [page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages]


def test_everything_on_the_invoice_is_on_the_page():
    (page,) = pages_of(to_pdf(INVOICE))
    for text in (
        "Invoice", "INV-000012", "2026-12-01", "2026-11-01 – 2026-11-30 (Asia/Shanghai)", "CNY",
        "北京某某科技有限公司", "上海示例贸易有限公司", "财务部", "陈静", "请在 30 天内付款。",
        "gpt-4o", "通义千问", "1,234,567", "2.50 / 1M", "Adjustments for 2026-10", "−4,000",
        "增值税 VAT 6 %", "Rounding", "Total CNY", "Page 1 of 1",
    ):  # fmt: skip
        assert text in page, text
    # 3.0864175 + 0.00004 - 0.01 = 3.0764575; 6 % of it is 0.18458745; together 3.26104495.
    together = page.replace(" ", "").replace("\n", "")
    for amount in ("3.08641750", "0.00004000", "−0.01000000", "3.07645750", "0.18458745"):
        assert amount in together, amount
    assert "−0.00104495" in together, "what rounding to 3.26 takes"
    assert "3.26" in page


def test_the_same_invoice_makes_the_same_bytes():
    assert to_pdf(INVOICE) == to_pdf(replace(INVOICE))
    assert to_pdf(INVOICE) != to_pdf(replace(INVOICE, number="INV-000013"))


def test_chinese_words_for_chinese_readers():
    (page,) = pages_of(to_pdf(INVOICE, "zh"))
    for text in ("账单", "账期", "输入 token", "往期调整 2026-10", "合计 CNY", "第 1 页，共 1 页"):
        assert text in page, text


def test_a_long_invoice_repeats_its_header_and_counts_its_pages():
    lines = tuple(
        a_line(f"model-{number:03d}", unit, 10**9, 10**9, 10**12)
        for number in range(60) for unit in ("input_tokens", "output_tokens")
    )  # fmt: skip
    pages = pages_of(to_pdf(replace(INVOICE, lines=lines)))
    assert len(pages) > 3
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page
    with_lines = [page for page in pages if "model-" in page]
    assert all("Unit price" in page for page in with_lines)
    assert sum(page.count("input tokens") for page in pages) == 60
    assert "Total CNY" in pages[-1]


def test_a_model_goes_on_under_its_name_on_the_next_page():
    lines = tuple(a_line("gpt-4o", "input_tokens", 1, n, n) for n in range(1, 80))
    pages = pages_of(to_pdf(replace(INVOICE, lines=lines)))
    assert all("gpt-4o" in page for page in pages if "input tokens" in page)


def test_a_draft_says_so_on_every_page():
    (page,) = pages_of(to_pdf(replace(INVOICE, number=None)))
    assert "Draft" in page and "INV-" not in page


def test_a_credit_note_names_what_it_takes_back_and_why():
    note = credit_note(INVOICE, issued_us=INVOICE.issued_us, reason="wrong address")
    (page,) = pages_of(to_pdf(replace(note, number="INV-000013")))
    for text in ("Credit note", "INV-000013", "Takes back", "INV-000012", "wrong address", "−3"):
        assert text in page, text
    assert (note.total_nanos, note.rounding_nanos) == (-3_260_000_000, 1_044_950)


@pytest.mark.parametrize("text", ["😀" * 3, "x" * 500, "a\nb\n" * 30])
def test_strange_texts_are_set_somehow(text, caplog):
    parties = Parties(seller=text, bill_to=text, note=text)
    lines = (a_line(text, "input_tokens", 1, 1, 1),)
    pdf = to_pdf(replace(INVOICE, subject=text, parties=parties, lines=lines))
    assert PdfReader(io.BytesIO(pdf)).pages
    assert caplog.records == []


def test_currencies_have_their_own_decimals():
    yen = replace(INVOICE, currency="JPY", tax=None)
    assert (yen.total_nanos, yen.rounding_nanos) == (3_000_000_000, -76_457_500)
    (page,) = pages_of(to_pdf(yen))
    assert "Total JPY" in page
    dinar = replace(INVOICE, currency="KWD", tax=None)
    assert dinar.total_nanos == 3_076_000_000
