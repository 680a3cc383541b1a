"""Set an invoice as a PDF of A4 pages.

The same invoice makes the same bytes: the dates in the file are the invoice's own. Amounts stand
under each other by their decimal point, each line exact; only the total to pay is rounded, and the
line above it says by how much. Chinese text is set in a bundled subset of Noto Sans SC; a character
that it does not have is shown as □.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Literal, cast

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos
from fpdf.fonts import TTFFont

from meter.core.invoices import Invoice, Line, LineKind, decimals_of
from meter.core.money import NANOS, Quantity, nanos_to_text
from meter.core.monthly import MONEY
from meter.core.rates import datetime_of
from meter.core.units import UNITS
from meter.core.windows import zone

Language = Literal["en", "zh"]

_FONTS = Path(__file__).parent / "fonts"
_FAMILY = "noto"
_MISSING = "□"

_LEFT, _RIGHT, _TOP, _BOTTOM = 18.0, 192.0, 16.0, 24.0
_ITEM_RIGHT, _QUANTITY_RIGHT, _PRICE_RIGHT = 82.0, 112.0, 147.0
_ROW = 5.6
_HEAD = 8.0
_GROUP = 3 * _ROW + 2.3
"""The heights of the table's header, and of a section with its first model and line."""
_INK, _GREY, _PALE = (32, 33, 36), (95, 99, 104), (241, 243, 244)

_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "invoice": "Invoice", "credit_note": "Credit note", "draft": "Draft",
        "number": "Number", "issued": "Issued", "period": "Period", "currency": "Currency",
        "voids": "Takes back", "reason": "Reason", "bill_to": "Bill to", "customer": "Customer",
        "item": "Item", "quantity": "Quantity", "price": "Unit price", "amount": "Amount",
        "usage": "Usage", "monthly": "Monthly terms", "adjustment": "Adjustments for",
        "allowance": "Free: {}", "volume": "Volume price: {}", "money": "amount billed",
        "subtotal": "Subtotal", "rounding": "Rounding", "total": "Total",
        "paid": "Paid from credit", "due": "Amount due", "given_back": "To be given back",
        "page": "Page {} of {}", "other": "(no model)", "free": "free",
    },
    "zh": {
        "invoice": "账单", "credit_note": "冲销单", "draft": "草稿",
        "number": "编号", "issued": "开具日期", "period": "账期", "currency": "货币",
        "voids": "冲销账单", "reason": "原因", "bill_to": "付款方", "customer": "客户",
        "item": "项目", "quantity": "数量", "price": "单价", "amount": "金额",
        "usage": "用量", "monthly": "月度条款", "adjustment": "往期调整",
        "allowance": "免费额度：{}", "volume": "用量阶梯价：{}", "money": "计费金额",
        "subtotal": "小计", "rounding": "舍入", "total": "合计",
        "paid": "预付余额已付", "due": "应付金额", "given_back": "应退金额",
        "page": "第 {} 页，共 {} 页", "other": "（无模型）", "free": "免费",
    },
}  # fmt: skip

_UNITS_ZH = {
    "input_tokens": "输入 token", "cache_read_tokens": "缓存命中输入 token",
    "cache_write_tokens": "缓存写入 token", "cache_write_5m_tokens": "缓存写入 token（5 分钟）",
    "cache_write_30m_tokens": "缓存写入 token（30 分钟）",
    "cache_write_1h_tokens": "缓存写入 token（1 小时）",
    "cache_write_12h_tokens": "缓存写入 token（12 小时）",
    "input_audio_tokens": "音频输入 token", "input_image_tokens": "图像输入 token",
    "input_video_tokens": "视频输入 token", "cache_audio_read_tokens": "缓存音频 token",
    "cache_image_read_tokens": "缓存图像 token", "tool_use_input_tokens": "工具输入 token",
    "output_tokens": "输出 token", "reasoning_tokens": "推理 token",
    "output_audio_tokens": "音频输出 token", "output_image_tokens": "图像输出 token",
    "rejected_prediction_tokens": "被拒预测 token", "trained_tokens": "训练 token",
    "searches": "搜索次数", "sessions": "会话", "pages": "页", "images": "图像",
    "characters": "字符",
    "audio_seconds": "音频秒数", "video_seconds": "视频秒数", "tool_calls": "工具调用",
    "requests": "请求次数",
}  # fmt: skip


def to_pdf(invoice: Invoice, language: Language = "en") -> bytes:
    """Return the pages of an invoice, a credit note or, without a number, a draft."""
    # Set once to learn how many pages there are, which each of them says.
    with _closed(_set(invoice, language, 1)) as page:
        pages = page.pdf.page
    made = BytesIO()
    with _closed(_set(invoice, language, pages)) as page:
        page.pdf.output(made)
    return made.getvalue()


@contextmanager
def _closed(page: "_Page") -> Iterator["_Page"]:
    try:
        yield page
    finally:
        for font in page.pdf.fonts.values():
            cast(TTFFont, font).ttfont.close()


def _set(invoice: Invoice, language: Language, pages: int) -> "_Page":
    page = _Page(invoice, language, pages)
    page.head()
    page.table()
    page.totals()
    page.notes()
    return page


class _Sheet(FPDF):
    """A document with a footer on each page, and a word across it where it is a draft."""

    footer_text = ""
    page_words = "Page {} of {}"
    last_page = 1
    across = ""

    def header(self) -> None:
        """Write the word across the page, below everything else."""
        if self.across:
            self.set_font(_FAMILY, "B", 96)
            self.set_text_color(232, 234, 237)
            width = self.get_string_width(self.across)
            with self.rotation(52, x=105, y=150):
                self.text(105 - width / 2, 160, self.across)

    def footer(self) -> None:
        """Write the number of the document and that of the page."""
        self.set_y(-15)
        self.set_font(_FAMILY, "", 8)
        self.set_text_color(*_GREY)
        self.set_x(_LEFT)
        self.cell(100, 5, self.footer_text)
        self.set_x(_RIGHT - 60)
        paged = self.page_words.format(self.page_no(), self.last_page)
        self.cell(60, 5, paged, align="R")


@dataclass(slots=True)
class _Page:
    """Puts the parts of one invoice onto its pages."""

    invoice: Invoice
    language: Language
    pdf: _Sheet
    point: float
    decimals: int

    def __init__(self, invoice: Invoice, language: Language, pages: int) -> None:
        self.invoice = invoice
        self.language = language
        self.pdf = pdf = _Sheet(format="A4", unit="mm")
        pdf.add_font(_FAMILY, "", _FONTS / "NotoSansSC-Regular.ttf")
        pdf.add_font(_FAMILY, "B", _FONTS / "NotoSansSC-Bold.ttf")
        title = self.word(invoice.kind.value)
        pdf.set_title(f"{title} {invoice.number or ''}".strip())
        pdf.set_producer("meter")
        pdf.set_creator("meter")
        pdf.set_lang("zh-CN" if language == "zh" else "en")
        pdf.set_creation_date(datetime_of(invoice.issued_us))
        pdf.set_margins(_LEFT, _TOP, 210 - _RIGHT)
        pdf.set_auto_page_break(False)
        pdf.c_margin = 0
        pdf.last_page = pages
        pdf.page_words = self.word("page")
        pdf.across = "" if invoice.number else self.word("draft")
        named = invoice.number or self.word("draft")
        pdf.footer_text = self.safe(f"{title} {named} · {invoice.subject}", 8, 100)
        pdf.add_page()
        self.decimals = max(
            [decimals_of(invoice.currency), *(_decimals(nanos) for nanos in _exact(invoice))]
        )
        self.font(9)
        digits = pdf.get_string_width("." + "0" * self.decimals)
        self.point = _RIGHT - 1 - digits

    def word(self, name: str) -> str:
        return _WORDS[self.language][name]

    def font(self, size: float, *, bold: bool = False, grey: bool = False) -> None:
        self.pdf.set_font(_FAMILY, "B" if bold else "", size)
        self.pdf.set_text_color(*(_GREY if grey else _INK))

    def shown(self, text: str, *, bold: bool = False) -> str:
        """Return the text with what the font does not have as boxes."""
        font = cast(TTFFont, self.pdf.fonts[_FAMILY + ("B" if bold else "")])
        known = font.cmap
        return "".join(c if ord(c) in known or c == "\n" else _MISSING for c in text)

    def safe(self, text: str, size: float, width: float) -> str:
        """Return the text on one line, cut where it would be wider than `width` millimetres."""
        self.font(size)
        text = self.shown(" ".join(text.split()))
        if self.pdf.get_string_width(text) <= width:
            return text
        while text and self.pdf.get_string_width(text + "…") > width:
            text = text[:-1]
        return text + "…"

    def head(self) -> None:
        """Write the title, who sells and who buys, and what the document is."""
        invoice, pdf = self.invoice, self.pdf
        self.font(20, bold=True)
        pdf.set_xy(_LEFT, _TOP)
        pdf.cell(100, 10, self.word(invoice.kind.value))
        seller_end = self.block(110, _TOP + 1, 82, invoice.parties.seller, align="R")
        y = max(_TOP + 16, seller_end + 4)
        buyer_end = self.buyer(y)
        facts = [
            ("number", invoice.number or self.word("draft")),
            ("issued", _date(invoice.issued_us, invoice.period.tz)),
            ("period", self.period_text()),
            ("currency", invoice.currency),
        ]
        if invoice.voids is not None:
            facts.append(("voids", invoice.voids))
        if invoice.reason:
            facts.append(("reason", invoice.reason))
        for name, value in facts:
            pdf.set_xy(104, y)
            self.font(9, grey=True)
            pdf.cell(20, _ROW - 0.6, self.word(name))
            y = self.block(124, y, 68, value)
        pdf.set_y(max(y, buyer_end) + 7)

    def buyer(self, y: float) -> float:
        """Write whom the invoice is for; return where that ends."""
        invoice = self.invoice
        self.pdf.set_xy(_LEFT, y)
        self.font(9, grey=True)
        self.pdf.cell(80, _ROW, self.word("bill_to" if invoice.parties.bill_to else "customer"))
        y += _ROW
        if invoice.parties.bill_to:
            y = self.block(_LEFT, y, 84, invoice.parties.bill_to)
        return self.block(_LEFT, y, 84, invoice.subject)

    def block(
        self, x: float, y: float, width: float, text: str, align: Literal["L", "R"] = "L"
    ) -> float:
        """Write a text of several lines; return where it ends."""
        if not text.strip():
            return y
        self.font(9)
        self.pdf.set_xy(x, y)
        self.pdf.multi_cell(
            width, _ROW - 0.6, self.shown(text.strip()), align=align,
            new_x=XPos.LEFT, new_y=YPos.NEXT,
        )  # fmt: skip
        return self.pdf.get_y() + 0.6

    def period_text(self) -> str:
        """Return the first and the last day of the period, and its zone."""
        period = self.invoice.period
        first, last = _date(period.start_us, period.tz), _date(period.end_us - 1, period.tz)
        days = first if first == last else f"{first} – {last}"
        return f"{days} ({period.tz})"

    def table(self) -> None:
        """Write the lines by section and model, with the header again on each page."""
        if self.pdf.get_y() + _HEAD + _GROUP > 297 - _BOTTOM:
            # The header would stand alone at the foot of the page.
            self.next_page()
        self.table_head()
        section: tuple[LineKind, str] | None = None
        title: str | None = None
        fresh = True
        for line in self.invoice.lines:
            if (line.kind, line.period.name) != section:
                section, fresh = (line.kind, line.period.name), True
                self.room(_GROUP)
                self.section(line)
            of_line = line.item.rule or line.item.model
            if fresh or of_line != title:
                title, fresh = of_line, False
                self.room(2 * _ROW)
                self.model(title)
            if self.room(_ROW):
                self.model(title)
            self.line(line)

    def table_head(self) -> None:
        pdf = self.pdf
        y = pdf.get_y()
        pdf.set_fill_color(*_PALE)
        pdf.rect(_LEFT, y, _RIGHT - _LEFT, 7, style="F")
        self.font(8.5, bold=True)
        for name, left, right, align in (
            ("item", _LEFT + 1, _ITEM_RIGHT, "L"),
            ("quantity", _ITEM_RIGHT, _QUANTITY_RIGHT, "R"),
            ("price", _QUANTITY_RIGHT, _PRICE_RIGHT, "R"),
            ("amount", _PRICE_RIGHT, _RIGHT - 1, "R"),
        ):
            pdf.set_xy(left, y)
            pdf.cell(right - left, 7, self.word(name), align=align)
        pdf.set_y(y + _HEAD)

    def room(self, height: float) -> bool:
        """Begin a new page where that much has no room left; return whether it did."""
        if self.pdf.get_y() + height <= 297 - _BOTTOM:
            return False
        self.next_page()
        self.table_head()
        return True

    def next_page(self) -> None:
        self.pdf.add_page()
        self.pdf.set_y(_TOP)

    def section(self, line: Line) -> None:
        pdf = self.pdf
        title = f"{self.word(line.kind.value)} {line.period.name}"
        pdf.set_y(pdf.get_y() + 1.5)
        self.font(9, grey=True)
        pdf.set_x(_LEFT + 1)
        pdf.cell(_RIGHT - _LEFT, _ROW, self.shown(title), new_x=XPos.LEFT, new_y=YPos.NEXT)
        pdf.set_draw_color(218, 220, 224)
        pdf.set_line_width(0.2)
        pdf.line(_LEFT, pdf.get_y(), _RIGHT, pdf.get_y())

    def model(self, name: str | None) -> None:
        text = self.safe(name or self.word("other"), 9, _RIGHT - _LEFT - 2)
        whole = self.shown(text, bold=True) == text
        self.font(9, bold=whole)
        self.pdf.set_y(self.pdf.get_y() + 0.8)
        self.pdf.set_x(_LEFT + 1)
        self.pdf.cell(_RIGHT - _LEFT, _ROW, text, new_x=XPos.LEFT, new_y=YPos.NEXT)

    def line(self, line: Line) -> None:
        pdf, item = self.pdf, line.item
        y = pdf.get_y()
        unit = self.word("money") if item.unit == MONEY else self.unit(item.unit)
        if item.effect is not None:
            unit = self.word(item.effect).format(unit)
        unit = self.safe(unit, 9, _ITEM_RIGHT - _LEFT - 6)
        self.font(9)
        pdf.set_xy(_LEFT + 5, y)
        pdf.cell(_ITEM_RIGHT - _LEFT - 5, _ROW, unit)
        pdf.set_xy(_ITEM_RIGHT, y)
        pdf.cell(_QUANTITY_RIGHT - _ITEM_RIGHT, _ROW, _grouped(line.quantity), align="R")
        price = f"{_money(item.nanos)}{_per(item.per)}" if item.nanos else self.word("free")
        if item.rule is not None:
            price = ""
        pdf.set_xy(_QUANTITY_RIGHT, y)
        pdf.cell(_PRICE_RIGHT - _QUANTITY_RIGHT, _ROW, price, align="R")
        self.amount(y, line.amount_nanos)
        pdf.set_y(y + _ROW)

    def unit(self, name: str) -> str:
        if self.language == "zh" and name in _UNITS_ZH:
            return _UNITS_ZH[name]
        return UNITS[name].label if name in UNITS else name

    def amount(self, y: float, nanos: int, *, decimals: int | None = None) -> None:
        """Write an amount so that its decimal point stands under those above."""
        pdf = self.pdf
        text = _money(nanos, self.decimals if decimals is None else decimals)
        whole, dot, fraction = text.partition(".")
        width = pdf.get_string_width(whole)
        pdf.set_xy(self.point - width, y)
        pdf.cell(width, _ROW, whole)
        pdf.set_xy(self.point, y)
        pdf.cell(_RIGHT - self.point, _ROW, dot + fraction)

    def totals(self) -> None:
        """Write the sum of the lines, the tax, the rounding and what is to be paid."""
        invoice, pdf = self.invoice, self.pdf
        rows = [(self.word("subtotal"), invoice.subtotal_nanos)]
        if invoice.tax is not None:
            label = f"{invoice.tax.label} {invoice.tax.percent.normalize():f} %"
            rows.append((self.safe(label, 9, 55), invoice.tax_nanos))
        if invoice.rounding_nanos:
            rows.append((self.word("rounding"), invoice.rounding_nanos))
        paid = invoice.credit is not None and bool(invoice.paid_nanos)
        if pdf.get_y() + (len(rows) + (4 if paid else 2)) * _ROW + 8 > 297 - _BOTTOM:
            # Without the table's header, which would stand above no line.
            self.next_page()
        y = pdf.get_y() + 3
        pdf.set_draw_color(*_GREY)
        pdf.set_line_width(0.3)
        pdf.line(_QUANTITY_RIGHT - 20, y, _RIGHT, y)
        y += 1.5
        for label, nanos in rows:
            self.font(9, grey=True)
            pdf.set_xy(_QUANTITY_RIGHT - 20, y)
            pdf.cell(55, _ROW, label)
            self.font(9)
            self.amount(y, nanos)
            y += _ROW
        y += 0.8
        pdf.line(_QUANTITY_RIGHT - 20, y, _RIGHT, y)
        y += 1.2
        self.payable(y, "total", invoice.total_nanos)
        if paid:
            y += _ROW
            self.payable(y, "paid", -invoice.paid_nanos, bold=False)
            y += _ROW + 0.8
            self.payable(y, "given_back" if invoice.due_nanos < 0 else "due", invoice.due_nanos)
        pdf.set_y(y + _ROW + 6)

    def payable(self, y: float, word: str, nanos: int, *, bold: bool = True) -> None:
        """Write an amount that can be paid, in whole minor units of the currency."""
        self.font(10, bold=bold)
        self.pdf.set_xy(_QUANTITY_RIGHT - 20, y)
        self.pdf.cell(55, _ROW, f"{self.word(word)} {self.invoice.currency}")
        self.amount(y, nanos, decimals=decimals_of(self.invoice.currency))

    def notes(self) -> None:
        """Write the issuer's note below everything."""
        note = self.invoice.parties.note.strip()
        if not note:
            return
        self.font(9)
        height = self.pdf.multi_cell(
            _RIGHT - _LEFT, _ROW, self.shown(note), dry_run=True, output=MethodReturnValue.HEIGHT
        )
        if self.pdf.get_y() + cast(float, height) > 297 - _BOTTOM:
            self.pdf.add_page()
            self.pdf.set_y(_TOP)
        self.block(_LEFT, self.pdf.get_y(), _RIGHT - _LEFT, note)


def _exact(invoice: Invoice) -> list[int]:
    return [
        *(line.amount_nanos for line in invoice.lines), invoice.tax_nanos, invoice.rounding_nanos,
    ]  # fmt: skip


def _decimals(nanos: int) -> int:
    """Return how many decimals an amount needs to be shown whole."""
    return len(nanos_to_text(nanos).partition(".")[2])


def _money(nanos: int, decimals: int | None = None) -> str:
    """Return an amount with separators, "−" for minus, and at least two decimals."""
    wanted = max(2, _decimals(nanos)) if decimals is None else decimals
    sign, size = ("−", -nanos) if nanos < 0 else ("", nanos)
    whole, fraction = divmod(size, NANOS)
    digits = f"{fraction:09d}"[:wanted]
    return f"{sign}{whole:,}.{digits}" if wanted else f"{sign}{whole:,}"


def _grouped(quantity: Quantity) -> str:
    text = f"{quantity.normalize():,f}" if isinstance(quantity, Decimal) else f"{quantity:,}"
    return text.replace("-", "−")


def _per(per: int) -> str:
    if per == 1:
        return ""
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if per % size == 0 and per // size < 1000:
            return f" / {per // size:,}{letter}"
    return f" / {per:,}"


def _date(at_us: int, tz: str) -> str:
    return datetime_of(at_us).astimezone(zone(tz)).date().isoformat()


__all__ = ["Language", "to_pdf"]
