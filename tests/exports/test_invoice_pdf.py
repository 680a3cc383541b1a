"""The pages of an invoice say what the invoice says, and are the same bytes each time."""

import io
from dataclasses import replace
from decimal import Decimal

import pytest
from pypdf import PdfReader

from meter.core.invoices import (
    FromCredit,
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


def a_rule_line(effect, unit, quantity, amount):
    return Line(LineKind.MONTHLY, NOVEMBER, Item(None, unit, 0, 1, "黄金 gold", effect), quantity,
                amount)  # fmt: skip


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("Monthly terms 2026-11", "Free: input tokens", "Volume price: amount billed")),
        ("zh", ("月度条款 2026-11", "免费额度：输入 token", "用量阶梯价：计费金额")),
    ],
)
def test_what_depends_on_the_month_stands_under_its_rule(language, words):
    lines = (
        INVOICE.lines[0],
        a_rule_line("allowance", "input_tokens", 1_000_000, -2_500_000_000),
        a_rule_line("volume", "money", Decimal("0.5"), -250_000_000),
    )
    (page,) = pages_of(to_pdf(replace(INVOICE, lines=lines), language))
    for text in (*words, "黄金 gold", "1,000,000", "−2", "0.5", "−0"):
        assert text in page
    assert "free\n" not in page


def test_what_credit_has_paid_and_what_is_due_stand_under_the_total():
    invoice = replace(INVOICE, tax=None, credit=FromCredit(((NOVEMBER, 500_000_000),)))
    # The lines: 3.0864175 + 0.00004 - 0.01 = 3.0764575, to pay 3.08; less 0.50 is 2.58.
    (page,) = pages_of(to_pdf(invoice))
    flat = page.replace("\n", " ")
    for word, amount in (
        ("Total CNY", "3 .08"), ("Paid from credit CNY", "−0 .50"), ("Amount due CNY", "2 .58"),
    ):  # fmt: skip
        assert f"{word} {amount}" in flat or f"{word} {amount.replace(' ', '')}" in flat
    assert "Paid from credit" not in pages_of(to_pdf(INVOICE))[0]


def test_what_is_to_be_given_back_says_so():
    invoice = replace(INVOICE, tax=None, credit=FromCredit(((NOVEMBER, 5_000_000_000),)))
    (page,) = pages_of(to_pdf(invoice))
    assert "To be given back CNY" in page
    assert "Amount due" not in page


@pytest.mark.parametrize("lines_of_address", [36, 39, 40, 41, 42, 43])
def test_the_table_s_header_never_stands_alone_at_the_foot_of_a_page(lines_of_address):
    parties = Parties("Seller", "\n".join(f"line {n}" for n in range(lines_of_address)))
    pages = pages_of(to_pdf(replace(INVOICE, parties=parties)))
    for page in pages:
        # Behind the header stand a section, a model and a line, on the same page.
        quantities = ("1,234,567", "\n10\n", "−4,000")
        assert "Unit price" not in page or any(each in page for each in quantities), page
