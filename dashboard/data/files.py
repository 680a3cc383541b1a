"""Make files of a view, and show invoices."""

import csv
import shlex
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from zoneinfo import ZoneInfo

from data.asking import Question, Viewer, book_of, ledger, require_all
from meter.core.money import nanos_to_decimal
from meter.core.rates import datetime_of
from meter.reports.invoicing import Document

EXPORTS = ("usage", "calls", "lines", "entries", "focus")
FOCUS_VERSIONS = ("1.2", "1.3", "1.4")
FORMATS = ("csv", "xlsx", "jsonl", "parquet")
GROUPS = ("day", "subject", "model", "provider", "endpoint", "key", "outcome", "basis", "month",
          "week", "hour")  # fmt: skip


MOST_EXPORTED = 200_000
"""More calls than this are for the command line, which streams them."""


@dataclass(frozen=True)
class Export:
    """What is to be exported: `of` one of EXPORTS, sums grouped `by`, in one of FORMATS.

    `version` is that of FOCUS.
    """

    of: str
    format: str
    by: tuple[str, ...]
    version: str = FOCUS_VERSIONS[0]


class _EnoughRows(Exception):
    """Stops an export whose first rows are enough."""


def _exported(
    viewer: Viewer, question: Question, wanted: Export, *, format: str, enough: int | None = None
) -> bytes:
    require_all(viewer)
    filters = () if wanted.of == "entries" else question.filters()
    written = BytesIO()

    def stop(rows: int) -> None:
        if enough is not None and rows >= enough:
            raise _EnoughRows

    if wanted.of == "focus":
        return _focus(question, wanted, format)
    with suppress(_EnoughRows):
        ledger().export(
            format, written, of=wanted.of, by=wanted.by, book=book_of(viewer, question),
            since=question.since, until=question.until, tz=question.tz, progress=stop,
            **dict(filters),
        )  # fmt: skip
    return written.getvalue()


def _focus(question: Question, wanted: Export, format: str) -> bytes:
    with TemporaryDirectory(prefix="meter-focus-") as folder:
        path = Path(folder, f"focus.{format}")
        ledger().export_focus(
            path, version=wanted.version, side=_side(question), since=question.since,
            until=question.until, tz=question.tz, **dict(question.filters()),
        )  # fmt: skip
        return path.read_bytes()


def _side(question: Question) -> Literal["cost", "billed"]:
    """Return whose charges a FOCUS file has: the published price is one of its columns."""
    return "billed" if question.book == "billed" else "cost"


def export_bytes(viewer: Viewer, question: Question, wanted: Export) -> bytes:
    """Return the file: the bytes that `meter export` writes for the same question."""
    return _exported(viewer, question, wanted, format=wanted.format)


def export_preview(
    viewer: Viewer, question: Question, wanted: Export, rows: int
) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the first rows of a file, as texts."""
    text = _exported(viewer, question, wanted, format="csv", enough=rows).decode()
    lines = list(islice(csv.reader(StringIO(text)), rows + 1))
    return lines[0] if lines else [], lines[1:]


def export_command(question: Question, wanted: Export) -> str:
    """Return the command that writes the same file."""
    zone = ZoneInfo(question.tz)
    file_name = f"{wanted.of}.{wanted.format}"
    if wanted.of == "focus":
        parts = ["meter", "export", "focus", "--focus-version", wanted.version]
        parts += ["--book", _side(question)]
    else:
        parts = ["meter", "export", wanted.format, "--of", wanted.of]
    if wanted.of == "usage":
        parts += ["--by", ",".join(wanted.by)]
    if wanted.of == "lines" and question.book != "cost":
        parts += ["--book", question.book]
    parts += ["--since", question.since.astimezone(zone).date().isoformat()]
    parts += ["--until", question.until.astimezone(zone).date().isoformat(), "--tz", question.tz]
    if wanted.of != "entries":
        for name, text in question.filters():
            parts += [f"--{name}", text]
    parts += ["-o", file_name]
    return shlex.join(parts)


@dataclass(frozen=True)
class InvoiceView:
    """An invoice, a credit note or a draft; exact amounts."""

    number: str | None
    kind: str
    subject: str
    period: str
    issued: datetime
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    paid: Decimal | None
    """What prepaid credit has paid; None where the subject has none in this currency."""
    due: Decimal
    currency: str
    voided_by: str | None
    unpriced_calls: int
    lines: tuple[tuple[str, str, str | None, str, Decimal | None, int | None, Decimal], ...]
    """Model or monthly rule, unit, the rule's effect ("allowance", "volume"), quantity, price, per
    how many, amount; a rule has no price.
    """
    document: Document


def invoices(viewer: Viewer, *, subject: str | None = None) -> list[InvoiceView]:
    """Return the issued invoices that this viewer may see, the latest first."""
    wanted = subject if viewer.sees_everything else viewer.subject
    if wanted is None and not viewer.sees_everything:
        raise PermissionError("found a viewer without a subject, expected one to narrow to")
    return [_invoice_view(one) for one in reversed(ledger().invoices(subject=wanted))]


def invoice_draft(viewer: Viewer, subject: str, period: str, tz: str) -> list[InvoiceView]:
    """Return what would be issued to a subject for a period such as "2026-11"; nothing is."""
    require_all(viewer)
    return [_invoice_view(one) for one in ledger().invoice(subject, period, tz=tz, draft=True)]


def invoice_command(subject: str, period: str, tz: str) -> str:
    """Return the command that issues the invoice."""
    parts = ["meter", "invoice", "--subject", subject, "--period", period, "--tz", tz]
    return shlex.join([*parts, "-o", f"{period}.pdf"])


def invoice_file(view: InvoiceView, format: str, language: str) -> bytes:
    """Return an invoice as "json", as it was issued, or as "pdf"."""
    if format == "json":
        return view.document.content.encode()
    # What sets a page takes longer to load than the rest of the dashboard.
    from meter.exports.invoice_pdf import to_pdf

    return to_pdf(view.document.invoice, "zh" if language == "zh" else "en")


def _invoice_view(document: Document) -> InvoiceView:
    invoice = document.invoice
    return InvoiceView(
        number=invoice.number,
        kind=str(invoice.kind),
        subject=invoice.subject,
        period=invoice.period.name,
        issued=datetime_of(invoice.issued_us).astimezone(ZoneInfo(invoice.period.tz)),
        subtotal=nanos_to_decimal(invoice.subtotal_nanos),
        tax=nanos_to_decimal(invoice.tax_nanos),
        total=nanos_to_decimal(invoice.total_nanos),
        paid=None if invoice.credit is None else nanos_to_decimal(invoice.paid_nanos),
        due=nanos_to_decimal(invoice.due_nanos),
        currency=invoice.currency,
        voided_by=document.voided_by,
        unpriced_calls=invoice.unpriced_calls,
        lines=tuple(
            (
                line.item.rule or line.item.model or "",
                line.item.unit,
                line.item.effect,
                f"{line.quantity:,}",
                None if line.item.rule else nanos_to_decimal(line.item.nanos),
                None if line.item.rule else line.item.per,
                nanos_to_decimal(line.amount_nanos),
            )
            for line in invoice.lines
        ),
        document=document,
    )
