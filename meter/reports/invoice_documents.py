"""Write an invoice as JSON, and read it back: the form in which it is stored and handed out.

Amounts, prices and quantities are decimal texts, exact. Times are ISO 8601 with the offset of the
invoice's zone. The form is described in `docs/invoices.md`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from meter.core.invoices import (
    Invoice,
    Item,
    Kind,
    Line,
    LineKind,
    Parties,
    Period,
    Tax,
)
from meter.core.money import Quantity, nanos_from_text, nanos_to_text
from meter.core.rates import datetime_of, microseconds_of
from meter.core.windows import zone

SCHEMA = "meter-invoice/1"


def to_json(invoice: Invoice) -> str:
    """Return the document: the same invoice always makes the same text."""
    return msgspec.json.format(msgspec.json.encode(_record(invoice)), indent=2).decode() + "\n"


def from_json(text: str) -> Invoice:
    """Return the invoice that `to_json` wrote."""
    record = msgspec.json.decode(text)
    period = _period_from(record["period"])
    tax = record["tax"]
    return Invoice(
        kind=Kind(record["kind"]),
        subject=record["subject"],
        currency=record["currency"],
        period=period,
        issued_us=_moment(record["issued"]),
        lines=tuple(_line_from(line) for line in record["lines"]),
        number=record["number"],
        voids=record["voids"],
        reason=record["reason"],
        tax=None if tax is None else Tax(tax["label"], Decimal(tax["percent"])),
        parties=Parties(record["seller"], record["bill_to"], record["note"]),
        portion=record["portion"],
        unpriced_calls=record["unpriced_calls"],
    )


def _record(invoice: Invoice) -> dict[str, Any]:
    tax = invoice.tax
    return {
        "schema": SCHEMA,
        "kind": invoice.kind.value,
        "number": invoice.number,
        "voids": invoice.voids,
        "reason": invoice.reason,
        "issued": _text_of(invoice.issued_us, invoice.period.tz),
        "seller": invoice.parties.seller,
        "subject": invoice.subject,
        "bill_to": invoice.parties.bill_to,
        "period": _period(invoice.period),
        "currency": invoice.currency,
        "lines": [_line(line) for line in invoice.lines],
        "subtotal": nanos_to_text(invoice.subtotal_nanos),
        "tax": None
        if tax is None
        else {
            "label": tax.label,
            "percent": f"{tax.percent:f}",
            "amount": nanos_to_text(invoice.tax_nanos),
        },
        "rounding": nanos_to_text(invoice.rounding_nanos),
        "total": nanos_to_text(invoice.total_nanos),
        "unpriced_calls": invoice.unpriced_calls,
        "portion": invoice.portion,
        "note": invoice.parties.note,
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind.value,
        "period": _period(line.period),
        "model": line.item.model,
        "unit": line.item.unit,
        "quantity": f"{line.quantity:f}" if isinstance(line.quantity, Decimal)
        else str(line.quantity),
        "price": nanos_to_text(line.item.nanos),
        "per": line.item.per,
        "amount": nanos_to_text(line.amount_nanos),
    }  # fmt: skip


def _line_from(record: dict[str, Any]) -> Line:
    item = Item(record["model"], record["unit"], nanos_from_text(record["price"]), record["per"])
    return Line(
        LineKind(record["kind"]), _period_from(record["period"]), item,
        _quantity(record["quantity"]), nanos_from_text(record["amount"]),
    )  # fmt: skip


def _quantity(text: str) -> Quantity:
    return int(text) if text.lstrip("-").isdecimal() else Decimal(text)


def _period(period: Period) -> dict[str, str]:
    return {
        "name": period.name,
        "tz": period.tz,
        "start": _text_of(period.start_us, period.tz),
        "end": _text_of(period.end_us, period.tz),
    }


def _period_from(record: dict[str, str]) -> Period:
    return Period(record["name"], record["tz"], _moment(record["start"]), _moment(record["end"]))


def _text_of(at_us: int, tz: str) -> str:
    return datetime_of(at_us).astimezone(zone(tz)).isoformat(timespec="auto")


def _moment(text: str) -> int:
    return microseconds_of(datetime.fromisoformat(text))
