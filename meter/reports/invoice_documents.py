"""Write an invoice as JSON, and read it back: the form in which it is stored and handed out.

Amounts, prices and quantities are decimal texts, exact. Times are ISO 8601 with the offset of the
invoice's zone. The form is described in `docs/invoices.md`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from meter.core.invoices import (
    FromCredit,
    Invoice,
    Item,
    Kind,
    Line,
    LineKind,
    Parties,
    Period,
    Tax,
    quantity_from_text,
    quantity_to_text,
)
from meter.core.money import nanos_from_text, nanos_to_text
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
        rules=tuple(
            (_period_from(each["period"]), each["fingerprint"]) for each in record.get("rules", ())
        ),
        credit=_credit_from(record.get("credit")),
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
        "credit": _credit(invoice),
        "due": nanos_to_text(invoice.due_nanos),
        "unpriced_calls": invoice.unpriced_calls,
        "portion": invoice.portion,
        "rules": [
            {"period": _period(period), "fingerprint": fingerprint}
            for period, fingerprint in invoice.rules
        ],
        "note": invoice.parties.note,
    }


def _line(line: Line) -> dict[str, Any]:
    item = line.item
    is_priced = item.rule is None
    return {
        "kind": line.kind.value,
        "period": _period(line.period),
        "model": item.model,
        "unit": item.unit,
        "rule": item.rule,
        "effect": item.effect,
        "quantity": quantity_to_text(line.quantity),
        "price": nanos_to_text(item.nanos) if is_priced else None,
        "per": item.per if is_priced else None,
        "amount": nanos_to_text(line.amount_nanos),
    }  # fmt: skip


def _line_from(record: dict[str, Any]) -> Line:
    # Documents from before monthly rules were on invoices do not name them.
    item = Item(
        record["model"], record["unit"], nanos_from_text(record["price"] or "0"),
        record["per"] or 1, record.get("rule"), record.get("effect"),
    )  # fmt: skip
    return Line(
        LineKind(record["kind"]), _period_from(record["period"]), item,
        quantity_from_text(record["quantity"]), nanos_from_text(record["amount"]),
    )  # fmt: skip


def _credit(invoice: Invoice) -> dict[str, Any] | None:
    credit = invoice.credit
    if credit is None:
        return None
    return {
        "used": [
            {"period": _period(period), "amount": nanos_to_text(nanos)}
            for period, nanos in credit.used
        ],
        "overrun": nanos_to_text(credit.overrun_nanos),
        "paid": nanos_to_text(invoice.paid_nanos),
    }


def _credit_from(record: dict[str, Any] | None) -> FromCredit | None:
    if record is None:
        return None
    used = [
        (_period_from(each["period"]), nanos_from_text(each["amount"])) for each in record["used"]
    ]
    return FromCredit(tuple(used), nanos_from_text(record["overrun"]))


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
